//! The tunnels of one kubeconfig context.

use std::sync::Arc;
use std::time::Duration;

use kubefwd_portforward::{Transport, Tunnels};
use tokio::sync::watch;

/// How long connecting to a cluster and listing its objects may take. A worker that has just started knows no pods, though
/// there may be some.
pub(super) const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// The tunnels of one context, once its cluster is known.
pub(crate) struct ContextTunnels {
    tunnels: watch::Sender<Option<Arc<Tunnels>>>,
    /// How long a connection waits for them, and for the first update of its service's pods.
    pub(super) wait: Duration,
}

impl ContextTunnels {
    /// Without tunnels yet; a connection to a service without a ready pod waits this long for one.
    pub(crate) fn new(no_backend_wait: Duration) -> Self {
        Self {
            tunnels: watch::Sender::default(),
            wait: no_backend_wait.max(LIST_TIMEOUT),
        }
    }

    /// The cluster is known, or has changed. Open connections keep their tunnels.
    pub(crate) fn set(&self, tunnels: Option<Arc<Tunnels>>) {
        self.tunnels.send_replace(tunnels);
    }

    pub(crate) fn get(&self) -> Option<Arc<Tunnels>> {
        self.tunnels.borrow().clone()
    }

    /// The transport that the cluster accepted last.
    pub(crate) fn transport(&self) -> Option<Transport> {
        self.tunnels.borrow().as_ref()?.transport()
    }

    /// Waits for the tunnels.
    pub(super) async fn known(&self) -> Option<Arc<Tunnels>> {
        let mut tunnels = self.tunnels.subscribe();
        tunnels.wait_for(Option::is_some).await.ok()?.clone()
    }
}
