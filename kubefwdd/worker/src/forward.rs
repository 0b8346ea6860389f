//! One listener of the daemon and the connections that it accepts.

use std::net::TcpStream as StdTcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kubefwd_model::{Failure, Reason};
use kubefwd_proto::worker::v1::{ForwardPhase, ForwardReport, Traffic};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::capture;
use crate::index::object::Name;
use crate::index::select::PodPort;
use kubefwd_capture::recorder::{Listener, Recorder};
use kubefwd_portforward::{Backend, Backends, Counters, Tap, Transport};
use route::Route;

pub(crate) mod active;
pub(crate) mod context_tunnels;
pub(crate) mod route;
pub(crate) mod routes;

/// A listener, the service's port behind it, and its traffic.
pub(crate) struct Forward {
    /// The daemon's id of it.
    pub(crate) listener: u64,
    route: Arc<Route>,
    port: u16,
    /// A pod of a headless service; `None` for any.
    pod: Option<Box<str>>,
    counters: Arc<Counters>,
    recorder: Option<Arc<Recorder>>,
    /// Records requests; made when capture is first enabled.
    capture: OnceLock<Arc<Listener>>,
    /// Open connections, whether or not they have a tunnel yet.
    open: AtomicUsize,
    /// Connections that were reset because no pods were known.
    refused: AtomicU64,
    reported: Mutex<Reported>,
}

#[derive(Default)]
struct Reported {
    report: Option<ForwardReport>,
    sequence: u64,
    /// Why the last connection failed, until one succeeds or the service's pods change.
    failure: Option<Failure>,
}

impl Forward {
    /// Forwards connections of `listener` to `port` of a service, or of one of its pods; `recorder` records requests if
    /// capture is enabled.
    pub(crate) fn new(
        listener: u64,
        route: Arc<Route>,
        port: u16,
        pod: Option<&str>,
        recorder: Option<Arc<Recorder>>,
    ) -> Arc<Self> {
        let forward = Arc::new(Self {
            listener,
            route,
            port,
            pod: pod.map(Into::into),
            counters: Arc::default(),
            recorder,
            capture: OnceLock::new(),
            open: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            reported: Mutex::default(),
        });
        forward.route.attach(&forward);
        forward
    }

    /// The current state, if it is known and was not reported yet.
    pub(crate) fn report(&self) -> Option<ForwardReport> {
        if !self.route.is_known() {
            return None;
        }
        let mut reported = self.reported.lock();
        let mut report = self.state(reported.failure.as_ref());
        report.sequence = reported.sequence;
        if reported.report.as_ref() == Some(&report) {
            return None;
        }
        reported.sequence += 1;
        report.sequence = reported.sequence;
        reported.report = Some(report.clone());
        Some(report)
    }

    /// The service's pods changed: earlier failures do not concern the new ones.
    fn pods_changed(&self) -> Option<ForwardReport> {
        self.reported.lock().failure = None;
        self.report()
    }

    /// A connection was answered.
    fn answered(&self) {
        self.reported.lock().failure = None;
    }

    /// Carries one connection until it ends; returns the forward's state if it changed.
    async fn serve(&self, local: StdTcpStream) -> Option<ForwardReport> {
        let local = local
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(local));
        let local = local.inspect_err(|error| {
            tracing::warn!(listener = self.listener, %error, "lost a connection");
        });
        let local = local.ok()?;
        let Some(tunnels) = self.route.tunnels_in_time().await else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            reset(&local);
            drop(local);
            let why = "the pods of this service are not known yet";
            let failure = Failure::new(Reason::ClusterUnreachable, why);
            self.reported.lock().failure = Some(failure.hint("see the state of its namespace"));
            return self.report();
        };
        let backends = Connection {
            forward: self,
            current: Mutex::new(None),
        };
        let forwarded = tunnels.forward(local, &backends, &self.counters, self.tap());
        match forwarded.await {
            Ok(()) => self.answered(),
            Err(failure) => {
                tracing::debug!(listener = self.listener, %failure, "a connection failed");
                self.reported.lock().failure = Some(failure);
            }
        }
        self.report()
    }

    /// Captures requests of a new connection, if that is enabled.
    fn tap(&self) -> Option<Box<dyn Tap>> {
        let recorder = self.recorder.as_ref().filter(|_| self.route.captures())?;
        let listener = self
            .capture
            .get_or_init(|| recorder.listener(self.listener));
        Some(Box::new(capture::Tap(listener.tap())))
    }

    fn state(&self, failure: Option<&Failure>) -> ForwardReport {
        let Some(chosen) = self.route.peek(self.port, self.pod.as_deref()) else {
            return ForwardReport {
                listener: self.listener,
                phase: ForwardPhase::Pending.into(),
                ..ForwardReport::default()
            };
        };
        let used = self.counters.values().opened > 0;
        let transport = self.route.tunnels.transport().filter(|_| used);
        ForwardReport {
            listener: self.listener,
            phase: match failure {
                None => ForwardPhase::Active.into(),
                Some(_) => ForwardPhase::Error.into(),
            },
            pod: chosen.pod.name.to_string(),
            container: chosen.container.as_deref().unwrap_or_default().to_owned(),
            pod_port: chosen.port.into(),
            failure: failure.cloned().map(Into::into),
            transport: transport.map_or("", Transport::as_str).to_owned(),
            sequence: 0,
        }
    }

    /// Totals since the listener was added, without a time.
    fn traffic(&self) -> Traffic {
        let values = self.counters.values();
        let refused = self.refused.load(Ordering::Relaxed);
        Traffic {
            listener: self.listener,
            bytes_in: values.bytes_in,
            bytes_out: values.bytes_out,
            active: values.active,
            opened: values.opened + refused,
            failed: values.failed + refused,
            first_byte_us_sum: u64::try_from(values.first_byte_total.as_micros())
                .unwrap_or(u64::MAX),
            first_byte_count: values.answered,
            last_active: None,
        }
    }
}

/// The candidate pods of one connection.
struct Connection<'a> {
    forward: &'a Forward,
    /// The pod that the connection is counted for.
    current: Mutex<Option<Name>>,
}

impl Backends for Connection<'_> {
    fn pick(&self, tried: &[String]) -> Option<Backend> {
        let forward = self.forward;
        let mut current = self.current.lock();
        let pod = forward.pod.as_deref();
        let chosen = forward
            .route
            .pick(forward.port, pod, tried, current.as_ref());
        let PodPort { pod, port, .. } = chosen?;
        let backend = Backend {
            namespace: forward.route.namespace.to_string(),
            pod: pod.name.to_string(),
            pod_uid: pod.uid.to_string(),
            port,
        };
        *current = Some(pod.uid);
        Some(backend)
    }

    fn is_ready(&self, tried: &[String]) -> bool {
        let forward = self.forward;
        let pod = forward.pod.as_deref();
        forward.route.is_ready(forward.port, pod, tried)
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        // Subscribe now, not when the future is first polled.
        let mut endpoints = self.forward.route.endpoints.subscribe();
        async move {
            // The route lives as long as the forward: its sender cannot be gone.
            let _ = endpoints.changed().await;
        }
        .boxed()
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        if let Some(uid) = self.current.get_mut().take() {
            self.forward.route.closed(&uid);
        }
    }
}

/// Closes with RST on drop: a clean end would look like an empty answer.
fn reset(local: &impl AsFd) {
    if let Err(error) = socket2::SockRef::from(local).set_linger(Some(std::time::Duration::ZERO)) {
        tracing::debug!(%error, "cannot reset a connection, closing it");
    }
}
