//! The daemon's log.

use std::collections::BTreeMap;

use kubefwd_model::Time;
use kubefwd_telemetry::logs::LogLine;
use serde::{Deserialize, Deserializer, Serialize};
use tracing::Level;
use utoipa::ToSchema;

/// A line.
#[derive(Serialize, ToSchema)]
pub(crate) struct Log {
    /// When.
    timestamp: Time,
    /// Level.
    level: LogLevel,
    /// What.
    message: String,
    /// The service that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// All other fields.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'static str, String>,
}

/// The level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// For developers.
    Trace,
    /// For developers.
    Debug,
    /// Normal operation.
    Info,
    /// Works, but not as it should.
    Warn,
    /// Not working.
    Error,
}

/// Lines, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogList {
    /// The lines.
    pub(crate) logs: Vec<Log>,
}

/// Lines of the daemon as a whole, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SystemLogs {
    /// The lines.
    pub(crate) logs: Vec<Log>,
    /// Count.
    pub(crate) total_count: usize,
}

/// The log was cleared.
#[derive(Serialize, ToSchema)]
pub(crate) struct Cleared {
    /// Always true.
    pub(crate) cleared: bool,
    /// The same as a sentence.
    pub(crate) message: &'static str,
}

// === impl LogLevel ===

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::TRACE => Self::Trace,
            Level::DEBUG => Self::Debug,
            Level::INFO => Self::Info,
            Level::WARN => Self::Warn,
            Level::ERROR => Self::Error,
        }
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_ascii_lowercase().as_str() {
            "trace" => Ok(Self::Trace),
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            // The second is what kubefwd's clients write.
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            _ => Err(serde::de::Error::custom(format!(
                "{text:?} is not one of trace, debug, info, warn, error"
            ))),
        }
    }
}

impl From<&LogLine> for Log {
    fn from(line: &LogLine) -> Self {
        let uid = line.uid.map(|uid| ("uid", uid.to_string()));
        Self {
            timestamp: line.time.into(),
            level: line.level.into(),
            message: line.message.clone(),
            service: line.service.clone(),
            fields: line.fields.iter().cloned().chain(uid).collect(),
        }
    }
}
