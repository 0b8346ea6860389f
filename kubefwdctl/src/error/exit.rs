//! The exit codes, as `--help` lists them.

use kubefwd_model::Reason;

/// Anything that has no code of its own.
pub(crate) const FAILURE: u8 = 1;
/// The command line or a value in it is wrong; clap uses the same.
pub(crate) const USAGE: u8 = 2;
/// The daemon or a forward is degraded, or `--wait` timed out.
pub(crate) const DEGRADED: u8 = 3;
/// The daemon or the cluster refuses the caller.
pub(crate) const DENIED: u8 = 4;
/// Nothing answers on the socket.
pub(crate) const UNREACHABLE: u8 = 5;
/// No such namespace, service, context or key.
pub(crate) const NOT_FOUND: u8 = 6;
/// Ended by SIGINT or SIGTERM.
pub(crate) const INTERRUPTED: u8 = 130;
/// The reader of standard output is gone: what a shell reports for a program killed by SIGPIPE.
pub(crate) const BROKEN_PIPE: u8 = 141;

/// The exit code of a refusal.
pub(super) fn code(reason: Reason) -> u8 {
    match reason {
        Reason::InvalidArgument => USAGE,
        Reason::NotFound
        | Reason::ContextNotFound
        | Reason::NamespaceNotFound
        | Reason::ServiceNotFound
        | Reason::PodNotFound => NOT_FOUND,
        Reason::PermissionDenied | Reason::Unauthenticated | Reason::ForbiddenByCluster => DENIED,
        Reason::AlreadyExists
        | Reason::Conflict
        | Reason::ClusterUnreachable
        | Reason::ClusterUntrusted
        | Reason::KubeconfigInvalid
        | Reason::CredentialsNeeded
        | Reason::WorkerUnavailable
        | Reason::LimitExceeded
        | Reason::Timeout
        | Reason::Unsupported
        | Reason::Internal
        | Reason::PortUnavailable
        | Reason::ConnectionRefused
        | Reason::ConnectionLost => FAILURE,
    }
}
