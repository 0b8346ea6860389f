//! A failure as a person should read it, and its form on gRPC: a status with `google.rpc.ErrorInfo`.

use std::collections::HashMap;
use std::fmt;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::common::v1::{self, Reason};

/// The `domain` of every `ErrorInfo` that the daemon sends.
pub const ERROR_DOMAIN: &str = "kubefwd";
const HINT: &str = "hint";

/// What went wrong, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub reason: Reason,
    /// What went wrong and why, for people.
    pub message: String,
    /// The next step; empty where there is none.
    pub hint: String,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            hint: String::new(),
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The reason as it stands in `ErrorInfo` and REST: `NOT_FOUND`.
    pub fn reason_name(&self) -> &'static str {
        reason_name(self.reason)
    }

    /// The gRPC status that carries all of it.
    pub fn into_status(self) -> Status {
        let mut metadata = HashMap::new();
        if !self.hint.is_empty() {
            metadata.insert(HINT.to_owned(), self.hint);
        }
        let details =
            ErrorDetails::with_error_info(reason_name(self.reason), ERROR_DOMAIN, metadata);
        Status::with_error_details(code(self.reason), self.message, details)
    }

    /// Reads a status back; one that did not come from the daemon's own code keeps its message.
    pub fn from_status(status: &Status) -> Self {
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == ERROR_DOMAIN);
        let reason = info
            .as_ref()
            .and_then(|info| Reason::from_str_name(&format!("REASON_{}", info.reason)))
            .unwrap_or_else(|| reason_of(status.code()));
        let hint = info
            .and_then(|mut info| info.metadata.remove(HINT))
            .unwrap_or_default();
        Self {
            reason,
            message: status.message().to_owned(),
            hint,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.hint.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.hint)
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            reason: failure.reason.into(),
            message: failure.message,
            hint: failure.hint,
        }
    }
}

impl From<v1::Failure> for Failure {
    fn from(failure: v1::Failure) -> Self {
        Self {
            reason: failure.reason(),
            message: failure.message,
            hint: failure.hint,
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.into_status()
    }
}

/// `NOT_FOUND` for [`Reason::NotFound`].
pub fn reason_name(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name)
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidArgument | Reason::KubeconfigInvalid => Code::InvalidArgument,
        Reason::NotFound
        | Reason::ContextNotFound
        | Reason::NamespaceNotFound
        | Reason::ServiceNotFound => Code::NotFound,
        Reason::AlreadyExists => Code::AlreadyExists,
        Reason::Conflict => Code::FailedPrecondition,
        Reason::PermissionDenied | Reason::ForbiddenByCluster => Code::PermissionDenied,
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::ClusterUnreachable
        | Reason::ClusterUntrusted
        | Reason::CredentialsNeeded
        | Reason::WorkerUnavailable => Code::Unavailable,
        Reason::LimitExceeded => Code::ResourceExhausted,
        Reason::Timeout => Code::DeadlineExceeded,
        Reason::Unsupported => Code::Unimplemented,
        Reason::Internal | Reason::Unspecified => Code::Internal,
    }
}

fn reason_of(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Reason::InvalidArgument,
        Code::NotFound => Reason::NotFound,
        Code::AlreadyExists => Reason::AlreadyExists,
        Code::FailedPrecondition | Code::Aborted => Reason::Conflict,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::ResourceExhausted => Reason::LimitExceeded,
        Code::DeadlineExceeded => Reason::Timeout,
        Code::Unimplemented => Reason::Unsupported,
        Code::Unavailable => Reason::WorkerUnavailable,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            Reason::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_every_part_of_a_failure() {
        for reason in (1..=Reason::Internal as i32).filter_map(|n| Reason::try_from(n).ok()) {
            let failure = Failure::new(reason, "what and why").hint("what next");
            assert_eq!(
                Failure::from_status(&failure.clone().into_status()),
                failure
            );
        }
    }

    #[test]
    fn a_foreign_status_keeps_its_message() {
        let failure = Failure::from_status(&Status::not_found("no such thing"));
        assert_eq!(failure, Failure::new(Reason::NotFound, "no such thing"));
    }
}
