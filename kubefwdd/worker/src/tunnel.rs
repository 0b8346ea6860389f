//! Tunnels: local TCP connections carried to pods by the Kubernetes port-forward protocol, faster and safer than one tunnel
//! per connection.
//!
//! [`Tunnels`] belongs to one cluster (an API server and a user). It keeps one upgraded connection per pod, opened on first
//! use and shared by all ports and services of the pod, and [`Tunnels::forward`] carries one accepted connection over it:
//!
//! - A new local connection costs one round trip: both streams are opened and the client's first bytes sent in one write,
//!   without waiting for the runtime's consent.
//! - Those bytes are kept until the pod answers. If the pod could not be reached, or is gone, they are sent to another one.
//! - The protocol has no flow control and a runtime's queues are shared: the tunnel is always drained, slow readers are
//!   buffered within bounds, and connections whose far side is stuck are found by PINGs and replaced.
//! - Nothing runs for a service that nobody uses: tasks and timers exist only for open connections to the API server.
//!
//! | module | what it knows |
//! |---|---|
//! | `spdy`, `websocket`, `http` | bytes: parsers and encoders without I/O |
//! | `link`, `dial`, `upgrade` | a connection to the API server, until it carries frames |
//! | `opener`, `memory` | the cluster: transports, credentials, pauses, spare connections |
//! | `connection` | the streams of one upgraded connection |
//! | `channel` | the one-shot fallback protocol |
//! | `session`, `failover` | a pod's connections; a local connection's way through pods |

mod channel;
mod connection;
mod counters;
mod dial;
mod error;
mod failover;
pub(crate) mod fuzzing;
mod http;
mod link;
mod memory;
mod opener;
pub(crate) mod peer;
mod session;
mod spdy;
mod upgrade;
mod websocket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kubefwd_proto::Failure;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::capture::recorder::Tap;
use crate::endpoint::Endpoint;
use connection::{Budget, Common, Intervals, Limits, Rules};
use opener::Opener;
use session::Session;

pub use counters::{CounterValues, Counters};
pub use memory::Memory;
pub use session::{ConnectionStatus, PodStatus};
pub use upgrade::Transport;

/// A place that answers: one port of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid: a pod of the same name that comes later is another backend.
    pub pod_uid: String,
    /// The port inside the pod.
    pub port: u16,
}

/// The backends of one forward, as the cluster has them now.
pub trait Backends: Send + Sync {
    /// A ready backend whose pod uid is not in `tried`, the preferred one first.
    fn pick(&self, tried: &[String]) -> Option<Backend>;

    /// Whether there is a ready backend whose pod uid is not in `tried`; unlike `pick` this is no choice.
    fn is_ready(&self, tried: &[String]) -> bool;

    /// Resolves once `pick` may answer differently than at the moment of this call.
    fn changed(&self) -> BoxFuture<'_, ()>;
}

/// How tunnels behave. The defaults suit people and CI alike.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The transport to try first.
    pub transport: Option<Transport>,
    /// Where the transport that a cluster accepted is kept for the next run.
    pub memory: Option<Arc<Memory>>,
    /// How long a connection waits for a ready pod, or for the API server to come back, before it is reset.
    pub no_backend_wait: Duration,
    /// How long opening one tunnel may take.
    pub open_timeout: Duration,
    /// How long the answer to a client that has ended its side may pause before the pod is told; zero tells it at once,
    /// and the runtime then ends the answer within a second.
    pub half_close_grace: Duration,
    /// How long a tunnel without connections is kept.
    pub idle_close: Duration,
    /// Upgrades under way at once in the cluster.
    pub concurrent_upgrades: usize,
    /// Connected, encrypted, unused connections to keep while tunnels are being opened.
    pub spare_connections: usize,
    /// Connections to one pod, at most.
    pub connections_per_pod: usize,
    /// Local connections on one of them before another is opened.
    pub streams_per_connection: usize,
    /// First bytes of a client kept for another try, at most; zero never sends a byte twice.
    pub replay_limit: usize,
    /// Bytes waiting for one client from which it counts as slow.
    pub backlog_soft: usize,
    /// Bytes waiting for one client from which its tunnel is not read.
    pub backlog_hard: usize,
    /// Bytes waiting for all clients of the cluster.
    pub backlog_total: usize,
    /// Between PINGs of a tunnel that carries connections.
    pub ping_busy: Duration,
    /// Between PINGs of a tunnel that carries none.
    pub ping_idle: Duration,
    /// The least time that the answer to a PING may take.
    pub ping_patience: Duration,
    /// Who is told of tunnels that are opened anew without being asked.
    pub reopened: Option<mpsc::Sender<Reopened>>,
}

/// A tunnel was lost; its pod was needed again, and the tunnel was opened anew, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Since the first of them.
    pub took: Duration,
    /// Why it could not be opened.
    pub error: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transport: None,
            memory: None,
            no_backend_wait: Duration::from_secs(5),
            open_timeout: Duration::from_secs(10),
            half_close_grace: Duration::from_secs(5),
            idle_close: Duration::from_secs(5 * 60),
            concurrent_upgrades: 8,
            spare_connections: 2,
            connections_per_pod: 4,
            streams_per_connection: 64,
            replay_limit: 64 * 1024,
            backlog_soft: 256 * 1024,
            backlog_hard: 8 * 1024 * 1024,
            backlog_total: 64 * 1024 * 1024,
            ping_busy: Duration::from_secs(5),
            ping_idle: Duration::from_secs(20),
            ping_patience: Duration::from_secs(2),
            reopened: None,
        }
    }
}

/// How a forwarded connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client or the program in the pod ended it.
    Closed,
    /// The client's connection was reset, because of this.
    Failed(Failure),
}

/// A pod as tunnels know it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PodId {
    namespace: String,
    name: String,
}

/// The tunnels of one cluster and user.
pub struct Tunnels {
    opener: Arc<Opener>,
    settings: Settings,
    common: Common,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_uid: HashMap<String, Arc<Session>>,
    /// Sessions that ended are swept out when there are this many.
    sweep_at: usize,
}

impl Tunnels {
    /// Tunnels of the cluster at `endpoint`. Nothing is connected before it is needed.
    pub fn new(endpoint: Arc<Endpoint>, settings: Settings) -> Arc<Self> {
        let common = Common {
            rules: Rules {
                limits: Limits {
                    soft: settings.backlog_soft,
                    hard: settings.backlog_hard,
                },
                replay: settings.replay_limit,
                half_close_grace: settings.half_close_grace,
            },
            intervals: Intervals {
                busy: settings.ping_busy,
                idle: settings.ping_idle,
                patience: settings.ping_patience,
            },
            idle_close: settings.idle_close,
            budget: Arc::new(Budget::new(settings.backlog_total)),
        };
        Arc::new(Self {
            opener: Arc::new(Opener::new(endpoint, &settings)),
            common,
            settings,
            sessions: Mutex::default(),
        })
    }

    /// Carries one accepted connection to a pod and to its end. Never panics and never leaves the client without an end:
    /// what cannot be carried is reset. `tap` is shown what went through.
    pub async fn forward(
        &self,
        local: TcpStream,
        backends: &dyn Backends,
        counters: &Arc<Counters>,
        tap: Option<Box<Tap>>,
    ) -> Outcome {
        failover::forward(self, local, backends, counters, tap).await
    }

    /// Opens the tunnel to a backend before it is needed.
    ///
    /// # Errors
    /// Why there is no tunnel.
    pub async fn prepare(&self, backend: &Backend) -> Result<(), Failure> {
        let path = self.session(backend).path(backend.port).await;
        path.map(drop).map_err(|error| error.failure())
    }

    /// The pod does not exist any more (not: it is terminating). What it has not answered goes to other pods; connections
    /// that it has answered run on to their end.
    pub fn pod_gone(&self, pod_uid: &str) {
        let session = self.sessions().by_uid.remove(pod_uid);
        if let Some(session) = session {
            session.pod_gone();
        }
    }

    /// The machine slept, or its network changed: finds out within a second which connections still live, and lets what
    /// waited for the cluster try at once.
    pub fn probe_all(&self) {
        self.opener.network_changed();
        let sessions: Vec<_> = self.sessions().by_uid.values().cloned().collect();
        for session in sessions {
            session.resume();
        }
    }

    /// Opens new connections to these pods and lets the present ones end with the streams that they carry. Pods without
    /// connections are left alone.
    ///
    /// # Errors
    /// The first failure; the other pods are reconnected all the same.
    pub async fn reconnect(&self, pod_uids: &[String]) -> Result<(), Failure> {
        let mut result = Ok(());
        for uid in pod_uids {
            let session = self.sessions().by_uid.get(uid).cloned();
            if let Some(session) = session
                && let Err(error) = session.reconnect().await
            {
                result = result.and(Err(error.failure()));
            }
        }
        result
    }

    /// The transport that the cluster accepted last.
    pub fn transport(&self) -> Option<Transport> {
        self.opener.transport()
    }

    /// The pods that have or had connections, in no order.
    pub fn status(&self) -> Vec<PodStatus> {
        let sessions: Vec<_> = self
            .sessions()
            .by_uid
            .iter()
            .map(|(uid, session)| (uid.clone(), Arc::clone(session)))
            .collect();
        sessions
            .into_iter()
            .map(|(uid, session)| session.status(uid))
            .collect()
    }

    fn session(&self, backend: &Backend) -> Arc<Session> {
        const LEAST: usize = 64;
        let mut sessions = self.sessions();
        if let Some(session) = sessions.by_uid.get(&backend.pod_uid) {
            return Arc::clone(session);
        }
        if sessions.by_uid.len() >= sessions.sweep_at.max(LEAST) {
            sessions.by_uid.retain(|_, session| !session.is_unused());
            sessions.sweep_at = sessions.by_uid.len() * 2;
        }
        let pod = PodId {
            namespace: backend.namespace.clone(),
            name: backend.pod.clone(),
        };
        let session = Arc::new(Session::new(
            pod,
            &backend.pod_uid,
            Arc::clone(&self.opener),
            self.common.clone(),
            &self.settings,
        ));
        sessions
            .by_uid
            .insert(backend.pod_uid.clone(), Arc::clone(&session));
        session
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
