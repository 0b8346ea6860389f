//! Carries a local connection to a ready pod, to another one if that could not be reached, and resets it if none could in
//! time.

use std::sync::Arc;
use std::time::Duration;

use kubefwd_model::{Failure, failure};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backend::{Backend, Backends};
use crate::channel;
use crate::connection::{Downstream, End, Retry};
use crate::counters::{Active, Counters};
use crate::error::OpenError;
use crate::pod::Path;
use crate::tap::Tap;
use crate::tunnels::Tunnels;

/// How long the watches may take to notice that a container is gone, after its port refused.
const REFUSED_WAIT: Duration = Duration::from_millis(1500);
/// The pause before pods that refused are tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How many tunnels may break under one local connection before it is reset.
const MAX_BROKEN: usize = 8;

impl Tunnels {
    /// Carries one accepted connection until it ends. Never panics, and always ends the client's connection: one that
    /// cannot be carried is reset. `tap` sees the forwarded bytes.
    ///
    /// # Errors
    /// Why the client's connection was reset.
    pub async fn forward(
        &self,
        local: TcpStream,
        backends: &dyn Backends,
        counters: &Arc<Counters>,
        tap: Option<Box<dyn Tap>>,
    ) -> Result<(), Failure> {
        let _active = Active::new(counters);
        // Without it small answers wait for acknowledgements; nothing else depends on it.
        let _ = local.set_nodelay(true);
        let accepted = Instant::now();
        let downstream = Downstream {
            local,
            accepted,
            port: 0,
            replay: Some(Vec::new()),
            counters: Arc::clone(counters),
            tap,
        };
        let mut failover = Failover {
            tunnels: self,
            backends,
            tried: Vec::new(),
            deadline: accepted + self.config.settings.no_backend_wait,
            refused: None,
            failure: None,
            broken: 0,
        };
        failover.run(downstream).await
    }
}

struct Failover<'a> {
    tunnels: &'a Tunnels,
    backends: &'a dyn Backends,
    /// Pods that could not be reached.
    tried: Vec<String>,
    deadline: Instant,
    /// When all ready pods began to refuse.
    refused: Option<Instant>,
    /// The last thing that went wrong.
    failure: Option<Failure>,
    broken: usize,
}

impl Failover<'_> {
    async fn run(&mut self, mut downstream: Downstream) -> Result<(), Failure> {
        loop {
            let Some(backend) = Box::pin(self.backend()).await else {
                return Err(self.give_up(downstream));
            };
            downstream.port = backend.port;
            let path = {
                let tunnel = self.tunnels.tunnel(&backend);
                Box::pin(async move { tunnel.path(backend.port).await }).await
            };
            // An idle connection costs the size of this future: the rest is boxed.
            let end = match path {
                Ok(Path::Shared(connection)) => connection.carry(downstream).await,
                Ok(Path::Single(upgraded)) => {
                    Box::pin(channel::relay(*upgraded, downstream, &self.tunnels.config)).await
                }
                Err(error) => {
                    if !self.can_retry(backend.pod_uid, &error) {
                        return Err(self.give_up(downstream));
                    }
                    continue;
                }
            };
            match end {
                End::Closed => return Ok(()),
                End::Reset(why) => return Err(reset(&backend, &why)),
                End::Retry(again, Retry::Pod(why)) => {
                    again.counters.replayed();
                    self.failure = Some(refused(&backend, &why));
                    self.mark_refused(backend.pod_uid);
                    downstream = again;
                }
                End::Retry(again, Retry::Connection(why)) => {
                    self.failure = Some(reset(&backend, &why));
                    self.broken += 1;
                    downstream = again;
                    if self.broken >= MAX_BROKEN {
                        return Err(self.give_up(downstream));
                    }
                }
            }
        }
    }

    /// Whether to look for a backend again after there was no tunnel to a pod.
    fn can_retry(&mut self, pod_uid: String, error: &OpenError) -> bool {
        self.failure = Some(error.failure());
        if error.is_pod_fault() {
            self.tried.push(pod_uid);
            return true;
        }
        if error.may_be_node_fault() {
            self.tried.push(pod_uid);
            // Needs no wait, so it may be past the deadline.
            if self.backends.is_ready(&self.tried) {
                return true;
            }
            // Nodes recover without an event for their pods.
            self.tried.clear();
        }
        error.is_transient() && Instant::now() < self.deadline
    }

    /// The next pod to try; waits for one while one may become ready.
    async fn backend(&mut self) -> Option<Backend> {
        loop {
            let changed = self.backends.changed();
            if let Some(backend) = self.backends.pick(&self.tried) {
                return Some(backend);
            }
            if !self.backends.is_ready(&[]) {
                // Those that refused are being replaced: the next ones may take their time, to come and to listen.
                self.refused = None;
            }
            let until = match self.refused {
                Some(refused) => self.deadline.min(refused + REFUSED_WAIT),
                None => self.deadline,
            };
            timeout_at(until, changed).await.ok()?;
            if !self.tried.is_empty() {
                // A pod that refused may be ready again under the same uid: its container was restarted.
                self.tried.clear();
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    fn mark_refused(&mut self, pod_uid: String) {
        self.refused.get_or_insert_with(Instant::now);
        self.tried.push(pod_uid);
    }

    fn give_up(&mut self, downstream: Downstream) -> Failure {
        downstream.reset();
        self.failure.take().unwrap_or_else(|| {
            failure!(Timeout, "no pod of the service became ready in time")
                .hint("check why its pods are not ready: kubectl get pods, kubectl describe pod")
        })
    }
}

fn reset(backend: &Backend, why: &str) -> Failure {
    let Backend { pod, port, .. } = backend;
    failure!(ConnectionLost, "lost the connection to port {port} of the pod {pod}: {why}")
    .hint(
        "the next connection uses another tunnel; if that fails too, check the pod's node and the network to it: \
         kubectl get nodes, kubectl describe pod",
    )
}

fn refused(backend: &Backend, why: &str) -> Failure {
    let Backend { pod, port, .. } = backend;
    failure!(
        ConnectionRefused,
        "the pod {pod} does not accept connections on port {port}: {why}"
    )
    .hint(
        "check that the program in the pod listens on this port, on localhost or on all addresses",
    )
}

#[cfg(test)]
mod tests;
