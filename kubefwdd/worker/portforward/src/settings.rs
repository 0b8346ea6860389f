//! How tunnels behave.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::transport::Transport;
use crate::transport_cache::TransportCache;

/// How tunnels behave.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The transport to try first.
    pub transport: Option<Transport>,
    /// Remembers for the next run which transport a cluster accepted.
    pub transport_cache: Option<Arc<TransportCache>>,
    /// How long a connection waits for a ready pod, or for the API server to come back, before it is reset.
    pub no_backend_wait: Duration,
    /// How long opening one tunnel may take.
    pub open_timeout: Duration,
    /// How long the answer may pause after the client shut down its side, before it is passed on to the pod; zero passes it on at once,
    /// and the runtime then ends the answer within a second.
    pub half_close_grace: Duration,
    /// How long a tunnel without connections is kept.
    pub idle_close: Duration,
    /// Connections to one pod, at most.
    pub connections_per_pod: usize,
    /// Bytes waiting for one client from which it counts as slow.
    pub backlog_soft: usize,
    /// Bytes waiting for one client from which its tunnel is not read.
    pub backlog_hard: usize,
    /// Between PINGs of a tunnel that carries connections.
    pub ping_busy: Duration,
    /// Between PINGs of a tunnel that carries none.
    pub ping_idle: Duration,
    /// How long the answer to a PING may take, at least.
    pub ping_timeout: Duration,
    /// Receives an event for every lost tunnel that is reopened.
    pub reopened: Option<mpsc::Sender<Reopened>>,
}

/// A lost tunnel was reopened because its pod was needed again, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Since the first attempt.
    pub took: Duration,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transport: None,
            transport_cache: None,
            no_backend_wait: Duration::from_secs(5),
            open_timeout: Duration::from_secs(10),
            half_close_grace: Duration::from_secs(5),
            idle_close: Duration::from_secs(5 * 60),
            connections_per_pod: 4,
            backlog_soft: 256 * 1024,
            backlog_hard: 8 * 1024 * 1024,
            ping_busy: Duration::from_secs(5),
            ping_idle: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(2),
            reopened: None,
        }
    }
}
