//! The task that owns the worker's state: handles the daemon's frames one by one and makes reality match the desired state.
//!
//! It never waits for the daemon to read: its own frames wait in a list until the outbox has room, so that two ends that
//! both write cannot block each other.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubefwd_proto::channel::{ChannelError, Receiver};
use kubefwd_proto::common::v1::Balance;
use kubefwd_proto::worker::PROTOCOL;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::to_worker::Frame as Order;
use kubefwd_proto::worker::v1::{
    Environment, Grant, Held, Hello, Reconnect, ReconnectedReport, ServiceRef, ToWorker, Tuning,
    Welcome,
};
use kubefwd_proto::{convert as time, environment};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::accept::{self, Acceptor};
use crate::admission::{self, Admission};
use crate::capture;
use crate::cluster::Clusters;
use crate::data_plane::DataPlane;
use crate::forward::Forward;
use crate::forward::active::{self, ActiveForwards};
use crate::outbox::{Closed, Outbox};
use contexts::{Contexts, Event};
use kubefwd_capture::recorder::Recorder;
use kubefwd_portforward::{Settings, TransportCache};
use queries::Queries;

mod contexts;
mod host;
mod network;
mod queries;

/// Events of the worker's own tasks that wait for the loop.
const EVENTS: usize = 64;
/// How long open connections may continue after the daemon asked the worker to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long sending the last reports may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Why the worker ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The daemon violated the protocol, or is another version.
    #[error("the channel to kubefwdd failed")]
    Channel(#[from] ChannelError),
    /// The two programs are of different versions.
    #[error(
        "kubefwdd uses protocol {daemon}, but this worker {PROTOCOL}: install both from the same release"
    )]
    Protocol {
        /// The daemon's protocol.
        daemon: u32,
    },
    /// The operating system refuses to deliver signals.
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
    /// The operating system is out of threads or descriptors.
    #[error("cannot start accepting connections")]
    Accept(#[source] io::Error),
}

struct EventLoop {
    outbox: Outbox,
    /// Frames that wait for room in the outbox.
    pending: VecDeque<Frame>,
    acceptor: Acceptor<Arc<Forward>>,
    admission: Arc<Admission>,
    listeners: HashMap<u64, Listener>,
    /// Records requests; `None` until the daemon has configured it.
    capture: Option<Arc<Recorder>>,
    active: Arc<ActiveForwards>,
    contexts: Contexts,
    queries: Queries,
    tasks: TaskTracker,
}

/// A listener in use.
struct Listener {
    service: ServiceRef,
    forward: Arc<Forward>,
}

/// Runs until the daemon or a signal asks the worker to end, or the daemon is gone.
///
/// # Errors
/// The daemon violates the protocol, or the operating system refuses what is needed.
pub(crate) async fn run(mut orders: Receiver<ToWorker>, outbox: Outbox) -> Result<(), RunError> {
    let hello = Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let (acceptor, accepted) = accept::start().map_err(RunError::Accept)?;
    let (sender, mut events) = mpsc::channel(EVENTS);
    let clusters = Arc::new(Clusters::new(environment::of_this_process()));
    let tasks = TaskTracker::new();
    let active = Arc::new(ActiveForwards::default());
    let admission = Arc::new(Admission::default());
    let serving = active::serve(
        accepted,
        tasks.clone(),
        admission.clone(),
        active.clone(),
        outbox.clone(),
    );
    let _data_plane = DataPlane::start(serving).map_err(RunError::Accept)?;
    tokio::spawn(active::report(active.clone(), outbox.clone()));
    tokio::spawn(admission::report(admission.clone(), outbox.clone()));
    tokio::spawn(host::watch(sender.clone()));
    let mut event_loop = EventLoop {
        pending: VecDeque::from([Frame::Hello(hello)]),
        acceptor,
        admission,
        listeners: HashMap::new(),
        capture: None,
        active,
        contexts: Contexts::new(clusters.clone(), outbox.clone(), sender),
        queries: Queries::new(clusters, outbox.clone(), tasks.clone()),
        tasks,
        outbox,
    };
    let ended = event_loop.run(&mut orders, &mut events, terminate).await;
    event_loop.shut_down().await;
    ended
}

impl EventLoop {
    async fn run(
        &mut self,
        orders: &mut Receiver<ToWorker>,
        events: &mut mpsc::Receiver<Event>,
        mut terminate: Signal,
    ) -> Result<(), RunError> {
        let outbox = self.outbox.clone();
        loop {
            tokio::select! {
                order = orders.receive() => {
                    let Some((order, descriptor)) = reset_is_end(order)? else {
                        return Ok(());
                    };
                    match order.frame {
                        Some(Order::Shutdown(_)) => return Ok(()),
                        Some(order) => self.handle(order, descriptor)?,
                        None => tracing::debug!("ignored a frame of an unknown kind"),
                    }
                }
                _ = terminate.recv() => return Ok(()),
                Some(event) = events.recv() => {
                    self.pending.extend(self.contexts.handle(event));
                }
                room = outbox.reserve(), if !self.pending.is_empty() => {
                    let Ok(room) = room else {
                        return Ok(());
                    };
                    if let Some(frame) = self.pending.pop_front() {
                        room.send(frame);
                    }
                }
            }
        }
    }

    fn handle(&mut self, order: Order, descriptor: Option<OwnedFd>) -> Result<(), RunError> {
        match order {
            Order::Welcome(welcome) => self.welcome(welcome)?,
            Order::Desired(desired) => self.pending.extend(self.contexts.apply(desired)),
            Order::Grant(grant) => self.grant(grant, descriptor),
            Order::Revoke(revoke) => {
                self.acceptor.remove(revoke.listener);
                if let Some(Listener { service, forward }) = self.listeners.remove(&revoke.listener)
                {
                    drop(forward);
                    self.contexts.release(&service);
                }
            }
            Order::Query(query) => self.pending.extend(self.queries.ask(query)),
            Order::CancelQuery(cancel) => self.queries.cancel(cancel.id),
            Order::Reconnect(reconnect) => self.reconnect(reconnect),
            Order::Resync(resync) => {
                for service in &resync.services {
                    self.contexts.resync(&service.context, &service.namespace);
                }
            }
            Order::Environment(Environment { variables }) => {
                self.contexts.environment(environment::filter(variables));
            }
            Order::Access(access) => self.admission.set(access.limited, access.group),
            // Ends the loop.
            Order::Shutdown(_) => {}
        }
        Ok(())
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<(), RunError> {
        if welcome.protocol != PROTOCOL {
            return Err(RunError::Protocol {
                daemon: welcome.protocol,
            });
        }
        let tuning = welcome.tuning.unwrap_or_default();
        self.contexts.settings = settings(&tuning);
        self.contexts.capture = !tuning.no_http_capture;
        let recorder = Recorder::new(tuning.keep_http_queries);
        tokio::spawn(capture::report(recorder.clone(), self.outbox.clone()));
        self.capture = Some(recorder);
        Ok(())
    }

    fn grant(&mut self, grant: Grant, descriptor: Option<OwnedFd>) {
        let listener = grant.listener;
        let added = self.add_listener(grant, descriptor);
        let error = added.err().unwrap_or_default();
        if !error.is_empty() {
            tracing::warn!(listener, error, "cannot use a listener");
        }
        self.pending
            .push_back(Frame::Held(Held { listener, error }));
        let granted = self.listeners.get(&listener);
        let report = granted.and_then(|granted| granted.forward.report());
        self.pending.extend(report.map(Frame::Forward));
    }

    fn add_listener(&mut self, grant: Grant, descriptor: Option<OwnedFd>) -> Result<(), String> {
        let descriptor = descriptor.ok_or("the grant carries no listening socket")?;
        let service = grant.service.ok_or("the grant has no service")?;
        let port = u16::try_from(grant.service_port).map_err(|_| "the port is out of range")?;
        let route = self.contexts.route(&service);
        let pod = Some(grant.pod.as_str()).filter(|pod| !pod.is_empty());
        let forward = Forward::new(grant.listener, route, port, pod, self.capture.clone());
        self.acceptor
            .add(grant.listener, descriptor, forward.clone())
            .map_err(|error| format!("cannot accept from the listening socket: {error}"))?;
        self.listeners
            .insert(grant.listener, Listener { service, forward });
        Ok(())
    }

    fn reconnect(&self, reconnect: Reconnect) {
        for service in reconnect.services {
            self.contexts.refresh_credentials(&service.context);
            let route = self.contexts.existing_route(&service);
            let outbox = self.outbox.clone();
            self.tasks.spawn(async move {
                let began = Instant::now();
                let error = match &route {
                    Some(route) => route.reconnect().await.err().map(|error| error.to_string()),
                    None => Some("nothing is forwarded for this service".to_owned()),
                };
                let report = ReconnectedReport {
                    service: Some(service),
                    automatic: false,
                    resync: reconnect.resync,
                    attempts: 1,
                    duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    error: error.unwrap_or_default(),
                    time: Some(time::now()),
                };
                let _: Result<(), Closed> = outbox.send(Frame::Reconnected(report)).await;
            });
        }
    }

    /// Shuts down: no new connections, some time for the open ones, and the last reports to the daemon.
    async fn shut_down(self) {
        drop((self.acceptor, self.contexts, self.queries, self.listeners));
        self.tasks.close();
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, self.tasks.wait()).await;
        if drained.is_err() {
            let connections = self.tasks.len();
            tracing::info!(
                connections,
                "closing connections that did not finish in time"
            );
        }
        let last = async {
            self.active.report_now(&self.outbox).await?;
            match &self.capture {
                Some(recorder) => capture::report_now(recorder, &self.outbox).await,
                None => Ok(()),
            }
        };
        // Does not wait for a daemon that is gone or has stopped reading.
        let _told = tokio::time::timeout(SHUTDOWN_TIMEOUT, last).await;
    }
}

/// A daemon that died before it read everything resets the channel: an end like any other.
fn reset_is_end<T>(received: Result<Option<T>, ChannelError>) -> Result<Option<T>, ChannelError> {
    match received {
        Err(ChannelError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        received => received,
    }
}

fn settings(tuning: &Tuning) -> Settings {
    let default = Settings::default();
    let or = |ms: u32, default| match ms {
        0 => default,
        ms => Duration::from_millis(ms.into()),
    };
    Settings {
        transport_cache: TransportCache::of_user().map(Arc::new),
        no_backend_wait: or(tuning.no_backend_wait_ms, default.no_backend_wait),
        half_close_grace: or(tuning.half_close_grace_ms, default.half_close_grace),
        ..default
    }
}

/// An unknown balance, which a newer daemon may send, is the default one.
fn balance(number: i32) -> Balance {
    Balance::try_from(number).unwrap_or_default()
}
