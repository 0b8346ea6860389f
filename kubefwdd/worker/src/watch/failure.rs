//! What a failed request means for a namespace.

use kube::Error;
use kubefwd_model::{Failure, failure};

/// A request that failed.
#[derive(Debug)]
pub(super) struct WatchFailure {
    /// `list`, `watch` or `get`.
    pub(super) verb: &'static str,
    /// `services`, `endpointslices` or `pods`.
    pub(super) resource: &'static str,
    pub(super) error: WatchError,
}

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    /// The request failed.
    #[error(transparent)]
    Kube(#[from] Error),
    /// The answer is not what Kubernetes documents.
    #[error("the API server sent an invalid response: {0}")]
    Decode(#[from] serde_json::Error),
    /// Endless pages, or more objects than any namespace has.
    #[error("the API server's list is endless: gave up after {0} objects")]
    Endless(usize),
    #[error("the API server did not answer in time")]
    Timeout,
}

impl WatchError {
    /// The HTTP status that the API server answered with.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

impl WatchFailure {
    /// The resource version or the page is too old: only a list helps (410 Gone, Kubernetes API concepts).
    pub(super) fn is_gone(&self) -> bool {
        self.error.code() == Some(410)
    }

    /// The user's roles do not permit it.
    pub(super) fn is_forbidden(&self) -> bool {
        self.error.code() == Some(403)
    }

    /// The cluster does not have this resource.
    pub(super) fn is_unknown_kind(&self) -> bool {
        self.error.code() == Some(404)
    }

    /// It will fail again unless someone acts: reported at once and rarely retried.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.error.code(), Some(400..=404))
    }

    pub(super) fn failure(&self, namespace: &str) -> Failure {
        let (verb, resource, error) = (self.verb, self.resource, &self.error);
        if self.is_forbidden() {
            return failure!(ForbiddenByCluster, "permission denied: cannot {verb} {resource} in {namespace}")
            .hint(format!(
                "ask for a role in {namespace} that allows `get`, `list` and `watch` on `{resource}`; \
                 `kubectl auth can-i {verb} {resource} -n {namespace}` checks it"
            ));
        }
        match error {
            WatchError::Kube(error) => crate::cluster::classify(error),
            WatchError::Decode(_) | WatchError::Endless(_) => failure!(
                Unsupported,
                "cannot {verb} {resource} in {namespace}: {error}"
            )
            .hint("check that `server` in the kubeconfig is a Kubernetes API server"),
            WatchError::Timeout => failure!(
                ClusterUnreachable,
                "cannot {verb} {resource} in {namespace}: {error}"
            )
            .hint("check that the cluster is running and reachable over this machine's network or VPN"),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use kubefwd_model::Reason;

    use super::*;

    #[test]
    fn what_is_forbidden_is_named() {
        let status = Status::failure("services is forbidden: User \"u\" ...", "Forbidden");
        let failed = WatchFailure {
            verb: "list",
            resource: "services",
            error: WatchError::Kube(Error::Api(Box::new(status.with_code(403)))),
        };
        let failure = failed.failure("staging");
        assert_eq!(failure.reason, Reason::ForbiddenByCluster);
        assert_eq!(
            failure.message,
            "permission denied: cannot list services in staging"
        );
        assert!(failed.is_lasting() && !failed.is_gone());
    }
}
