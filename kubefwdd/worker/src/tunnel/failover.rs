//! The way of one local connection: to a ready pod, to another one if that could not be reached, and to a reset where none
//! could in time.

use std::sync::Arc;
use std::time::Duration;

use kubefwd_proto::{Failure, Reason};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::channel;
use super::connection::{Attempt, End, Retry, reset_local};
use super::counters::Active;
use super::error::OpenError;
use super::session::Path;
use super::{Backend, Backends, Counters, Outcome, Tunnels};
use crate::capture::recorder::Tap;

/// How long the watches may need to see that a container is not there any more, after its port refused.
const REFUSED_WAIT: Duration = Duration::from_millis(1500);
/// Before pods that refused are tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that may break under one local connection before it is given up.
const BROKEN_MOST: usize = 8;

/// See [`Tunnels::forward`].
pub(super) async fn forward(
    tunnels: &Tunnels,
    local: TcpStream,
    backends: &dyn Backends,
    counters: &Arc<Counters>,
    tap: Option<Box<Tap>>,
) -> Outcome {
    let _active = Active::new(counters);
    // Without it small answers wait for acknowledgements; nothing else depends on it.
    let _ = local.set_nodelay(true);
    let accepted = Instant::now();
    let attempt = Attempt {
        local,
        accepted,
        port: 0,
        replay: Some(Vec::new()),
        counters: Arc::clone(counters),
        tap,
    };
    let mut way = Way {
        tunnels,
        backends,
        tried: Vec::new(),
        deadline: accepted + tunnels.settings.no_backend_wait,
        refused: None,
        failure: None,
        broken: 0,
    };
    match way.go(attempt).await {
        Ok(()) => Outcome::Closed,
        Err(failure) => Outcome::Failed(failure),
    }
}

struct Way<'a> {
    tunnels: &'a Tunnels,
    backends: &'a dyn Backends,
    /// Pods that could not be reached.
    tried: Vec<String>,
    deadline: Instant,
    /// Since when there are ready pods and all of them refuse.
    refused: Option<Instant>,
    /// The last thing that went wrong.
    failure: Option<Failure>,
    broken: usize,
}

impl Way<'_> {
    async fn go(&mut self, mut attempt: Attempt) -> Result<(), Failure> {
        loop {
            let Some(backend) = Box::pin(self.backend()).await else {
                return Err(self.give_up(attempt));
            };
            attempt.port = backend.port;
            let path = {
                let session = self.tunnels.session(&backend);
                Box::pin(async move { session.path(backend.port).await }).await
            };
            // An idle connection costs what this future holds while it is carried: the rest is boxed.
            let end = match path {
                Ok(Path::Shared(connection)) => connection.carry(attempt).await,
                Ok(Path::Single(upgraded)) => {
                    Box::pin(channel::relay(*upgraded, attempt, &self.tunnels.common)).await
                }
                Err(error) => {
                    if !self.goes_on(backend.pod_uid, &error) {
                        return Err(self.give_up(attempt));
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
                    self.refused_by(backend.pod_uid);
                    attempt = again;
                }
                End::Retry(again, Retry::Connection(why)) => {
                    self.failure = Some(reset(&backend, &why));
                    self.broken += 1;
                    attempt = again;
                    if self.broken >= BROKEN_MOST {
                        return Err(self.give_up(attempt));
                    }
                }
            }
        }
    }

    /// There is no tunnel to a pod: whether to look for a backend again.
    fn goes_on(&mut self, pod_uid: String, error: &OpenError) -> bool {
        self.failure = Some(error.failure());
        if error.is_pods_fault() {
            self.tried.push(pod_uid);
            return true;
        }
        if error.may_be_the_nodes() {
            self.tried.push(pod_uid);
            // This is no wait: the time does not matter.
            if self.backends.is_ready(&self.tried) {
                return true;
            }
            // Nodes come back without any news of their pods.
            self.tried.clear();
        }
        error.is_transient() && Instant::now() < self.deadline
    }

    /// The next pod to try; waits for one as long as it makes sense.
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
                sleep(PAUSE).await;
            }
        }
    }

    fn refused_by(&mut self, pod_uid: String) {
        self.refused.get_or_insert_with(Instant::now);
        self.tried.push(pod_uid);
    }

    fn give_up(&mut self, attempt: Attempt) -> Failure {
        attempt.counters.failed();
        reset_local(attempt.local);
        self.failure.take().unwrap_or_else(|| {
            Failure::new(
                Reason::Timeout,
                "no pod of the service became ready in time",
            )
            .hint("see why its pods are not ready: kubectl get pods, kubectl describe pod")
        })
    }
}

fn reset(backend: &Backend, why: &str) -> Failure {
    let Backend { pod, port, .. } = backend;
    Failure::new(
        Reason::ClusterUnreachable,
        format!("the connection to port {port} of the pod {pod} broke: {why}"),
    )
    .hint(
        "the next connection takes another tunnel; if that breaks too, look at the pod's node and the network to it: \
         kubectl get nodes, kubectl describe pod",
    )
}

fn refused(backend: &Backend, why: &str) -> Failure {
    let Backend { pod, port, .. } = backend;
    Failure::new(
        Reason::ClusterUnreachable,
        format!("the pod {pod} does not take connections on port {port}: {why}"),
    )
    .hint(
        "check that the program in the pod listens on this port, on localhost or on all addresses",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake::{Cluster, Pods};
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn way<'a>(tunnels: &'a Tunnels, backends: &'a Pods) -> Way<'a> {
        Way {
            tunnels,
            backends,
            tried: Vec::new(),
            deadline: Instant::now() + WAIT,
            refused: None,
            failure: None,
            broken: 0,
        }
    }

    /// How long it is until there is nothing to wait for any more.
    async fn gives_up_after(way: &mut Way<'_>) -> Duration {
        let began = Instant::now();
        assert_eq!(way.backend().await, None);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn pods_that_refuse_are_given_up_soon() {
        let tunnels = Cluster::start(|_| None).await.tunnels(|_| {});
        let pods = Pods::new(&["one"]);
        let mut way = way(&tunnels, &pods);
        way.refused_by("one".to_owned());
        assert_eq!(gives_up_after(&mut way).await, REFUSED_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_successor_of_a_pod_that_refused_may_come_late() {
        let tunnels = Cluster::start(|_| None).await.tunnels(|_| {});
        let pods = Pods::new(&[]);
        let mut way = way(&tunnels, &pods);
        way.refused_by("one".to_owned());
        assert_eq!(gives_up_after(&mut way).await, WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_successor_that_came_late_may_refuse_at_first_too() {
        let tunnels = Cluster::start(|_| None).await.tunnels(|_| {});
        let pods = Pods::new(&[]);
        let mut way = way(&tunnels, &pods);
        way.refused_by("one".to_owned());
        let come = async {
            sleep(REFUSED_WAIT * 2).await;
            pods.set(&["two"]);
        };
        let (next, ()) = tokio::join!(way.backend(), come);
        assert_eq!(next.unwrap().pod, "two");
        way.refused_by("two".to_owned());
        assert_eq!(gives_up_after(&mut way).await, REFUSED_WAIT);
    }
}
