//! Why a tunnel could not be had or did not last.

use std::io;
use std::sync::Arc;

use kubefwd_proto::{Failure, Reason};
use thiserror::Error;

use super::upgrade::Transport;

/// Why no tunnel could be opened. Cloned to every connection that waited for it.
#[derive(Clone, Debug, Error)]
pub(super) enum OpenError {
    /// No TCP connection to the API server or its proxy.
    #[error("cannot reach the API server {server}: {source}")]
    Connect {
        server: String,
        source: Arc<io::Error>,
    },
    /// The proxy did not connect us.
    #[error("the proxy {proxy} did not connect to {server}: {why}")]
    Proxy {
        proxy: String,
        server: String,
        why: String,
    },
    /// TLS failed.
    #[error("no TLS connection to the API server {server}: {source}")]
    Tls {
        server: String,
        source: Arc<io::Error>,
    },
    /// The kubeconfig names a server that cannot be.
    #[error("{0}")]
    Address(String),
    /// No credentials.
    #[error("{0}")]
    Credentials(Failure),
    /// 401 with fresh credentials.
    #[error("the API server does not accept the credentials: {0}")]
    Unauthorized(String),
    /// 403 on every transport.
    #[error("not allowed to forward to pods in {namespace}: {message}")]
    Forbidden {
        namespace: String,
        verb: &'static str,
        message: String,
    },
    /// The pod is not there, or not running on a node: another one may be.
    #[error("the pod {pod} cannot be forwarded to: {message}")]
    Pod { pod: String, message: String },
    /// No transport is accepted.
    #[error("the API server refused to upgrade the connection ({transport}): {status} {message}")]
    Refused {
        transport: Transport,
        status: u16,
        message: String,
    },
    /// The connection failed in the middle of the upgrade.
    #[error("the connection to the API server broke during the upgrade ({transport}): {why}")]
    Broken { transport: Transport, why: String },
    /// No answer in time.
    #[error("the API server {server} did not answer in time")]
    Timeout { server: String },
}

impl OpenError {
    /// Whether the next try, a moment later, may go well with the same pod.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || matches!(status, 404 | 408 | 429),
            Self::Address(_)
            | Self::Credentials(_)
            | Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::Pod { .. } => false,
        }
    }

    /// Whether it may be the node of the pod that cannot be reached, so that a pod on another one would do better.
    pub(super) fn may_be_the_nodes(&self) -> bool {
        let through_the_server = matches!(
            self,
            Self::Refused { .. } | Self::Broken { .. } | Self::Timeout { .. }
        );
        through_the_server && self.is_transient()
    }

    /// Whether another pod may do better.
    pub(super) fn is_pods_fault(&self) -> bool {
        matches!(self, Self::Pod { .. })
    }

    /// The failure as a person should read it.
    pub(super) fn failure(&self) -> Failure {
        let text = self.to_string();
        match self {
            Self::Credentials(failure) => failure.clone(),
            Self::Connect { .. } | Self::Timeout { .. } => {
                Failure::new(Reason::ClusterUnreachable, text).hint(
                    "check that the cluster runs and that this machine's network or VPN reaches it",
                )
            }
            Self::Proxy { .. } => Failure::new(Reason::ClusterUnreachable, text).hint(
                "check proxy-url in the kubeconfig and the *_PROXY variables of your environment",
            ),
            Self::Tls { .. } => Failure::new(Reason::ClusterUntrusted, text).hint(
                "check certificate-authority and tls-server-name in the kubeconfig, and the machine's clock",
            ),
            Self::Address(_) => Failure::new(Reason::KubeconfigInvalid, text)
                .hint("correct `server` or `proxy-url` of this cluster in the kubeconfig"),
            Self::Unauthorized(_) => Failure::new(Reason::CredentialsNeeded, text)
                .hint("log in to the cluster again"),
            Self::Forbidden {
                namespace, verb, ..
            } => Failure::new(Reason::ForbiddenByCluster, text).hint(format!(
                "ask for a role in {namespace} that allows `{verb}` on `pods/portforward`; \
                 `kubectl auth can-i {verb} pods/portforward -n {namespace}` tells when it is there"
            )),
            Self::Pod { .. } => Failure::new(Reason::NotFound, text),
            Self::Refused { .. } => Failure::new(Reason::Unsupported, text).hint(
                "a proxy in front of the API server must pass either SPDY or WebSocket upgrades",
            ),
            Self::Broken { .. } => Failure::new(Reason::ClusterUnreachable, text),
        }
    }
}
