//! Failures: on gRPC a status with `google.rpc.ErrorInfo`, in frames a message of their own.

use std::collections::HashMap;

use kubefwd_model::{Failure, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::words;
use crate::common::v1 as pb;

/// The `domain` of every `ErrorInfo` that the daemon sends.
pub const ERROR_DOMAIN: &str = "kubefwd";
const HINT: &str = "hint";

words!(
    pb::Reason,
    Reason,
    InvalidArgument,
    NotFound,
    ContextNotFound,
    NamespaceNotFound,
    ServiceNotFound,
    AlreadyExists,
    Conflict,
    PermissionDenied,
    Unauthenticated,
    ClusterUnreachable,
    ClusterUntrusted,
    KubeconfigInvalid,
    CredentialsNeeded,
    ForbiddenByCluster,
    WorkerUnavailable,
    LimitExceeded,
    Timeout,
    Unsupported,
    Internal,
    PortUnavailable,
    ConnectionRefused,
    ConnectionLost,
    PodNotFound
);

/// The gRPC status that carries all of a failure.
pub fn to_status(failure: Failure) -> Status {
    let mut metadata = HashMap::new();
    if !failure.hint.is_empty() {
        metadata.insert(HINT.to_owned(), failure.hint);
    }
    let reason = failure.reason;
    let details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, metadata);
    Status::with_error_details(code(reason), failure.message, details)
}

/// Reads a status back; one that did not come from the daemon's own code keeps its message.
pub fn from_status(status: &Status) -> Failure {
    let info = status
        .get_details_error_info()
        .filter(|info| info.domain == ERROR_DOMAIN);
    let reason = info
        .as_ref()
        .and_then(|info| info.reason.parse().ok())
        .unwrap_or_else(|| reason_of(status.code()));
    let hint = info.and_then(|mut info| info.metadata.remove(HINT));
    Failure::new(reason, status.message()).hint(hint.unwrap_or_default())
}

impl From<Failure> for pb::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            reason: pb::Reason::from(failure.reason).into(),
            message: failure.message,
            hint: failure.hint,
        }
    }
}

/// A reason that this version does not know becomes [`Reason::Internal`].
impl From<pb::Failure> for Failure {
    fn from(failure: pb::Failure) -> Self {
        let reason = Reason::try_from(failure.reason()).unwrap_or(Reason::Internal);
        Self::new(reason, failure.message).hint(failure.hint)
    }
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidArgument | Reason::KubeconfigInvalid => Code::InvalidArgument,
        Reason::NotFound
        | Reason::ContextNotFound
        | Reason::NamespaceNotFound
        | Reason::ServiceNotFound
        | Reason::PodNotFound => Code::NotFound,
        Reason::AlreadyExists => Code::AlreadyExists,
        Reason::Conflict => Code::FailedPrecondition,
        Reason::PermissionDenied | Reason::ForbiddenByCluster => Code::PermissionDenied,
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::ClusterUnreachable
        | Reason::ClusterUntrusted
        | Reason::CredentialsNeeded
        | Reason::WorkerUnavailable
        | Reason::PortUnavailable
        | Reason::ConnectionRefused
        | Reason::ConnectionLost => Code::Unavailable,
        Reason::LimitExceeded => Code::ResourceExhausted,
        Reason::Timeout => Code::DeadlineExceeded,
        Reason::Unsupported => Code::Unimplemented,
        Reason::Internal => Code::Internal,
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
        for reason in Reason::ALL {
            let failure = Failure::new(*reason, "what and why").hint("what next");
            assert_eq!(from_status(&to_status(failure.clone())), failure);
        }
    }

    #[test]
    fn a_foreign_status_keeps_its_message() {
        let failure = from_status(&Status::not_found("no such thing"));
        assert_eq!(failure, Failure::new(Reason::NotFound, "no such thing"));
    }
}
