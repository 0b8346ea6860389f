//! Why something was refused or failed, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::words::words;

words! {
    /// Why something was refused or failed: the vocabulary of gRPC, REST and the worker.
    pub enum Reason {
        /// The request is wrong: it will fail again unless it is changed.
        InvalidArgument = "INVALID_ARGUMENT",
        /// Not found.
        NotFound = "NOT_FOUND",
        /// The kubeconfig has no such context.
        ContextNotFound = "CONTEXT_NOT_FOUND",
        /// The cluster has no such namespace.
        NamespaceNotFound = "NAMESPACE_NOT_FOUND",
        /// The namespace has no such service.
        ServiceNotFound = "SERVICE_NOT_FOUND",
        /// Forwarded already.
        AlreadyExists = "ALREADY_EXISTS",
        /// Conflicts with the current state: an address in use, a context from another kubeconfig.
        Conflict = "CONFLICT",
        /// The caller may not use the daemon, or not touch this object.
        PermissionDenied = "PERMISSION_DENIED",
        /// A credential is missing or wrong.
        Unauthenticated = "UNAUTHENTICATED",
        /// The cluster does not answer.
        ClusterUnreachable = "CLUSTER_UNREACHABLE",
        /// The cluster's certificate is not trusted, or has expired.
        ClusterUntrusted = "CLUSTER_UNTRUSTED",
        /// The kubeconfig is missing or cannot be read or parsed.
        KubeconfigInvalid = "KUBECONFIG_INVALID",
        /// Credentials are missing, expired or refused by the cluster (401), or their plugin failed.
        CredentialsNeeded = "CREDENTIALS_NEEDED",
        /// The cluster answered 403; the message names the verb and resource.
        ForbiddenByCluster = "FORBIDDEN_BY_CLUSTER",
        /// The user's worker is starting or has failed.
        WorkerUnavailable = "WORKER_UNAVAILABLE",
        /// More than the daemon allows.
        LimitExceeded = "LIMIT_EXCEEDED",
        /// No answer in time.
        Timeout = "TIMEOUT",
        /// Cannot be done by this daemon or cluster.
        Unsupported = "UNSUPPORTED",
        /// A defect.
        Internal = "INTERNAL",
        /// A port of this machine cannot be listened on.
        PortUnavailable = "PORT_UNAVAILABLE",
        /// Nothing in the pod listens on the port.
        ConnectionRefused = "CONNECTION_REFUSED",
        /// The connection to the pod broke.
        ConnectionLost = "CONNECTION_LOST",
        /// The pod is gone.
        PodNotFound = "POD_NOT_FOUND",
    }
}

words! {
    /// What part of the system failed.
    pub enum Component {
        /// A tunnel to a pod, or the process that keeps it.
        Connection = "connection",
        /// The cluster and its API.
        Kubernetes = "kubernetes",
        /// The user's credentials or kubeconfig.
        Credentials = "credentials",
        /// The hosts file.
        Hosts = "hosts",
        /// Addresses and ports of this machine.
        Network = "network",
    }
}

/// What went wrong, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// For programs.
    pub reason: Reason,
    /// What went wrong and why, for people.
    #[serde(rename = "error")]
    pub message: String,
    /// What to do next; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// The schema of a failure beside other fields: all of it or nothing.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(as = Failure)]
#[expect(dead_code, reason = "only describes what `Failure` writes")]
pub(crate) struct MaybeFailure {
    /// For programs.
    reason: Option<Reason>,
    /// What went wrong and why, for people.
    error: Option<String>,
    /// What to do next.
    hint: Option<String>,
}

/// A [`Failure`] without a hint whose message is formatted: `failure!(NotFound, "no pod {name:?}")`.
#[macro_export]
macro_rules! failure {
    ($reason:ident, $($message:tt)+) => {
        $crate::Failure::new($crate::Reason::$reason, ::std::format!($($message)+))
    };
}

// === impl Failure ===

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
