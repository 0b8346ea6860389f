//! Why a tunnel could not be opened.

use std::sync::Arc;

use kubefwd_model::{Failure, Reason};
use thiserror::Error;

use crate::dial::DialError;
use crate::transport::Transport;

/// Why no tunnel could be opened. Cloned for every connection that waited for it.
#[derive(Clone, Debug, Error)]
pub(crate) enum OpenError {
    /// No connection to the API server.
    #[error("{0}")]
    Dial(Arc<DialError>),
    /// No credentials.
    #[error("{0}")]
    Credentials(Failure),
    /// 401 with new credentials.
    #[error("the API server rejected the credentials: {0}")]
    Unauthorized(String),
    /// 403 on every transport.
    #[error("not allowed to forward to pods in {namespace}: {message}")]
    Forbidden {
        namespace: String,
        verb: &'static str,
        message: String,
    },
    /// The pod does not exist or does not run on a node: another one may.
    #[error("cannot forward to the pod {pod}: {message}")]
    Pod { pod: String, message: String },
    /// No transport is accepted.
    #[error("the API server refused to upgrade the connection ({transport}): {status} {message}")]
    Refused {
        transport: Transport,
        status: u16,
        message: String,
    },
    /// The connection failed during the upgrade.
    #[error("lost the connection to the API server during the upgrade ({transport}): {why}")]
    Broken { transport: Transport, why: String },
    #[error("the API server {server} did not answer in time")]
    Timeout { server: String },
}

impl From<DialError> for OpenError {
    fn from(error: DialError) -> Self {
        Self::Dial(Arc::new(error))
    }
}

impl OpenError {
    /// Whether a retry with the same pod may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_transient(),
            Self::Broken { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || matches!(status, 404 | 408 | 429),
            Self::Credentials(_)
            | Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::Pod { .. } => false,
        }
    }

    /// Whether the pod's node may be unreachable, so that a pod on another node may do better.
    pub(crate) fn may_be_node_fault(&self) -> bool {
        let through_the_server = matches!(
            self,
            Self::Refused { .. } | Self::Broken { .. } | Self::Timeout { .. }
        );
        through_the_server && self.is_transient()
    }

    /// Whether another pod may do better.
    pub(crate) fn is_pod_fault(&self) -> bool {
        matches!(self, Self::Pod { .. })
    }

    pub(crate) fn failure(&self) -> Failure {
        let text = self.to_string();
        match self {
            Self::Credentials(failure) => failure.clone(),
            Self::Dial(error) => error.failure(),
            Self::Timeout { .. } => Failure::new(Reason::Timeout, text).hint(
                "check that the cluster is running and reachable over this machine's network or VPN",
            ),
            Self::Unauthorized(_) => {
                Failure::new(Reason::CredentialsNeeded, text).hint("log in to the cluster again")
            }
            Self::Forbidden {
                namespace, verb, ..
            } => Failure::new(Reason::ForbiddenByCluster, text).hint(format!(
                "ask for a role in {namespace} that allows `{verb}` on `pods/portforward`; \
                 `kubectl auth can-i {verb} pods/portforward -n {namespace}` checks it"
            )),
            Self::Pod { .. } => Failure::new(Reason::PodNotFound, text),
            Self::Refused { .. } => Failure::new(Reason::Unsupported, text).hint(
                "a proxy in front of the API server must pass either SPDY or WebSocket upgrades",
            ),
            Self::Broken { .. } => Failure::new(Reason::ConnectionLost, text),
        }
    }
}
