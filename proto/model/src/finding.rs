//! What is wrong, since when, and how to fix it.

use serde::Serialize;

use crate::Time;
use crate::words::words;

words! {
    /// How well the daemon works.
    pub enum Health {
        /// Everything works.
        Healthy = "healthy",
        /// Something does not; see `status`.
        Degraded = "degraded",
        /// The daemon itself does not work as it should.
        Unhealthy = "unhealthy",
    }
}

words! {
    /// How bad a finding is.
    pub enum Severity {
        /// As it should be.
        Ok = "ok",
        /// Worth knowing.
        Note = "note",
        /// Works, but not as it could.
        Warning = "warning",
        /// Does not work.
        Error = "error",
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was checked, e.g. `hosts file`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// The command that fixes it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

// === impl Finding ===

impl Finding {
    /// A finding without a hint and a time.
    pub fn new(severity: Severity, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity,
            subject: subject.into(),
            message: message.into(),
            hint: String::new(),
            since: None,
        }
    }

    /// Adds how to fix it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds when it began, where that is known.
    #[must_use]
    pub fn since(mut self, since: Option<impl Into<Time>>) -> Self {
        self.since = since.map(Into::into);
        self
    }
}
