//! Tunnels: local TCP connections carried to pods by the Kubernetes port-forward protocol, faster and safer than one tunnel
//! per connection.
//!
//! [`Tunnels`] belongs to one cluster (an API server and a user). It keeps one upgraded connection per pod, opened on first
//! use and shared by all ports and services of the pod, and [`Tunnels::forward`] carries one accepted connection over it:
//!
//! - A new local connection costs one round trip: both streams are opened and the client's first bytes sent in one write,
//!   without waiting for the runtime to accept.
//! - Those bytes are kept until the pod answers. If the pod could not be reached, or is gone, they are sent to another one.
//! - The protocol has no flow control and a runtime's queues are shared: the tunnel is always drained, slow readers are
//!   buffered within bounds, and connections whose far side is stuck are found by PINGs and replaced.
//! - An unused service costs nothing: tasks and timers exist only for open connections to the API server.
//!
//! | module | responsibility |
//! |---|---|
//! | [`api_server`] | the API server's address and the credentials for it |
//! | [`dial`] | a connection to the API server, through a proxy if there is one |
//! | `upstream` | that connection under TLS |
//! | `transport`, `http1` | parsers and encoders without I/O, and the upgrade |
//! | `opener`, `transport_cache` | opens tunnels: choice of transport, backoff, spare connections |
//! | `connection` | the streams of one upgraded connection |
//! | `channel` | the fallback protocol: one WebSocket per connection |
//! | `pod`, `pods` | the connections to one pod, and to all of them |
//! | `failover` | carries a local connection, trying one pod after another |

pub mod api_server;
mod backend;
mod channel;
mod connection;
mod counters;
pub mod dial;
mod error;
mod failover;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod opener;
mod pod;
mod pods;
mod settings;
mod sync;
mod tap;
mod transport;
mod transport_cache;
mod upstream;

use std::sync::Arc;

use kubefwd_model::Failure;
use tokio::net::TcpStream;

use api_server::ApiServer;
use pods::Pods;

pub use backend::{Backend, Backends};
pub use counters::{CounterValues, Counters};
pub use pod::{ConnectionStatus, PodStatus};
pub use settings::{Reopened, Settings};
pub use tap::Tap;
pub use transport::Transport;
pub use transport_cache::TransportCache;

/// How a forwarded connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client or the program in the pod closed it.
    Closed,
    /// The client's connection was reset, for this reason.
    Failed(Failure),
}

/// The tunnels of one cluster and user.
pub struct Tunnels {
    pods: Pods,
}

impl Tunnels {
    /// Tunnels through `api_server`. Nothing is connected before it is needed.
    pub fn new(api_server: Arc<ApiServer>, settings: Settings) -> Arc<Self> {
        let pods = Pods::new(api_server, settings);
        Arc::new(Self { pods })
    }

    /// Carries one accepted connection until it ends. Never panics, and always ends the client's connection: one that
    /// cannot be carried is reset. `tap` sees the forwarded bytes.
    pub async fn forward(
        &self,
        local: TcpStream,
        backends: &dyn Backends,
        counters: &Arc<Counters>,
        tap: Option<Box<dyn Tap>>,
    ) -> Outcome {
        match failover::forward(&self.pods, local, backends, counters, tap).await {
            Ok(()) => Outcome::Closed,
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// The pod no longer exists (not: it is terminating). Connections that it has not answered move to other pods; those
    /// that it has answered run to their end.
    pub fn pod_gone(&self, pod_uid: &str) {
        if let Some(pod) = self.pods.remove(pod_uid) {
            pod.pod_gone();
        }
    }

    /// The machine slept, or its network changed: finds out within a second which connections are still alive, and lets
    /// everything that waits for the cluster retry at once.
    pub fn probe_all(&self) {
        self.pods.network_changed();
        for pod in self.pods.all() {
            pod.probe();
        }
    }

    /// Opens new connections to these pods; the present ones close when their streams have ended. Pods without
    /// connections are left alone.
    ///
    /// # Errors
    /// The first failure; the other pods are reconnected all the same.
    pub async fn reconnect(&self, pod_uids: &[String]) -> Result<(), Failure> {
        let mut result = Ok(());
        for uid in pod_uids {
            if let Some(pod) = self.pods.get(uid)
                && let Err(error) = pod.reconnect().await
            {
                result = result.and(Err(error.failure()));
            }
        }
        result
    }

    /// The transport that the cluster accepted last.
    pub fn transport(&self) -> Option<Transport> {
        self.pods.transport()
    }

    /// The pods that have or had connections, in no order.
    pub fn status(&self) -> Vec<PodStatus> {
        let pods = self.pods.all().into_iter();
        pods.map(|pod| pod.status()).collect()
    }
}

#[cfg(test)]
mod tests;
