//! One run of one worker: the two directions of its channel.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubefwd_core::state::Report;
use kubefwd_model::text::clean;
use kubefwd_model::{ListenerId, NamespaceKey, ServiceName, Uid};
use kubefwd_proto::channel::{Accepts, ChannelError, Receiver, Sender, channel};
use kubefwd_proto::worker::PROTOCOL;
use kubefwd_proto::worker::v1::{self as wire, from_worker::Frame, to_worker};
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};
use tracing::Level;

use super::limits::{self, FrameBudget};
use super::{QUEUE, User, Workers, decode, encode};
use crate::store_handle::Stopping;

/// A new worker that says nothing for so long is killed.
const HELLO: Duration = Duration::from_secs(10);

/// A frame, and the listener that travels with it.
pub(crate) struct Outgoing {
    pub(super) frame: to_worker::Frame,
    pub(super) socket: Option<Arc<TcpListener>>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("it sent nothing for {} s after its start", HELLO.as_secs())]
    Silent,
    #[error("its first frame was not a hello")]
    NoHello,
    #[error("it speaks protocol {theirs}, this daemon {ours}: install both from the same package")]
    Protocol { theirs: u32, ours: u32 },
    #[error("it closed its channel")]
    Closed,
    #[error("it does not read its channel")]
    NotReading,
    #[error("it lists more than {} services at a time", limits::LISTED)]
    EndlessListing,
    #[error("its channel failed: {0}")]
    Channel(#[source] ChannelError),
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl From<ChannelError> for SessionError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::Closed,
            error => Self::Channel(error),
        }
    }
}

/// Speaks with a worker until it ends or breaks the protocol.
pub(super) async fn run(
    workers: &Workers,
    user: &Arc<User>,
    socket: UnixStream,
    pid: u32,
) -> Result<Infallible, SessionError> {
    let (mut sender, mut receiver) =
        channel::<wire::ToWorker, wire::FromWorker>(socket, Accepts::Frames)
            .map_err(ChannelError::from)?;
    let welcome = to_worker::Frame::Welcome(wire::Welcome {
        protocol: PROTOCOL,
        tuning: Some(workers.tuning),
    });
    for frame in [welcome, encode::environment(user.environment())] {
        let frame = Some(frame);
        sender.send(&wire::ToWorker { frame }, None).await?;
    }
    hello(&mut receiver, pid).await?;

    let (queue, outgoing) = mpsc::channel(QUEUE);
    *user.queue.lock() = Some(queue);
    user.start_error.send_replace(None);
    let uid = user.uid;
    let ready = Report::WorkerReady { uid };
    workers.store.report(ready, None).await?;

    let mut reader = Reader {
        workers,
        user,
        budget: FrameBudget::new(Instant::now()),
        listings: BTreeMap::new(),
        waiting: Arc::new(Semaphore::new(limits::REPORTS_KIB)),
        warned: false,
    };
    tokio::select! {
        result = write(&mut sender, outgoing) => Err(result),
        result = reader.read(&mut receiver) => result,
    }
}

async fn hello(receiver: &mut Receiver<wire::FromWorker>, pid: u32) -> Result<(), SessionError> {
    let first = tokio::time::timeout(HELLO, receiver.receive()).await;
    let (first, _) = first
        .map_err(|_| SessionError::Silent)??
        .ok_or(SessionError::Closed)?;
    let Some(Frame::Hello(hello)) = first.frame else {
        return Err(SessionError::NoHello);
    };
    if hello.protocol != PROTOCOL {
        return Err(SessionError::Protocol {
            theirs: hello.protocol,
            ours: PROTOCOL,
        });
    }
    tracing::debug!(
        pid,
        version = clean(&hello.version, limits::NAME),
        "worker connected"
    );
    Ok(())
}

async fn write(
    sender: &mut Sender<wire::ToWorker>,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> SessionError {
    while let Some(Outgoing { frame, socket }) = outgoing.recv().await {
        let frame = wire::ToWorker { frame: Some(frame) };
        let socket = socket.as_ref().map(|socket| socket.as_fd());
        if let Err(error) = sender.send(&frame, socket).await {
            return error.into();
        }
    }
    // The queue overflowed: whoever noticed took its sending end away.
    SessionError::NotReading
}

struct Reader<'a> {
    workers: &'a Workers,
    user: &'a Arc<User>,
    budget: FrameBudget,
    /// Listings of which more frames are to come.
    listings: BTreeMap<NamespaceKey, BTreeSet<ServiceName>>,
    /// KiB of reports that may still wait for the store.
    waiting: Arc<Semaphore>,
    warned: bool,
}

impl Reader<'_> {
    async fn read(
        &mut self,
        receiver: &mut Receiver<wire::FromWorker>,
    ) -> Result<Infallible, SessionError> {
        loop {
            let (frame, _) = receiver.receive().await?.ok_or(SessionError::Closed)?;
            if let Some(pause) = self.budget.take(Instant::now()) {
                self.warn("it sends more frames than allowed; throttling it");
                tokio::time::sleep(pause).await;
            }
            // More is not read from a worker that reports faster than the state changes.
            let kib = frame.encoded_len().div_ceil(1024).max(1);
            let kib = u32::try_from(kib.min(limits::REPORTS_KIB)).unwrap_or(u32::MAX);
            // The semaphore is never closed.
            let permit = self.waiting.clone().acquire_many_owned(kib).await.ok();
            if let Some(frame) = frame.frame
                && let Some(report) = self.handle(frame)?
            {
                // The permit is held until the report is applied.
                self.workers.store.report(report, permit).await?;
            }
        }
    }

    /// What the owner of the state is to know of a frame, if anything.
    fn handle(&mut self, frame: Frame) -> Result<Option<Report>, SessionError> {
        let uid = self.user.uid;
        let telemetry = &self.workers.telemetry;
        match frame {
            Frame::Namespace(report) => return Ok(self.namespace(&report)),
            Frame::Services(report) => return self.services(report),
            Frame::Held(held) => {
                return Ok(Some(Report::Held {
                    uid,
                    listener: ListenerId(held.listener),
                    error: Some(clean(&held.error, limits::TEXT)).filter(|e| !e.is_empty()),
                }));
            }
            Frame::Forward(report) => {
                return Ok(Some(Report::Forward {
                    uid,
                    listener: ListenerId(report.listener),
                    report: decode::forward(&report),
                }));
            }
            Frame::Traffic(report) => {
                let traffic = report.traffic.iter();
                let traffic = traffic.map(|t| (ListenerId(t.listener), decode::traffic(t)));
                let traffic = traffic.collect();
                return Ok(Some(Report::Traffic { uid, traffic }));
            }
            Frame::Refused(refused) => {
                return Ok(Some(Report::PeerDenied {
                    uid,
                    listener: ListenerId(refused.listener),
                    peer: refused.uid.map(Uid::new),
                    count: refused.count,
                    at: Instant::now(),
                }));
            }
            Frame::Hello(_) => self.warn("it sent a second hello"),
            Frame::Answer(answer) => self.user.answer(answer),
            Frame::Log(log) => self.log(&log),
            Frame::Http(report) => telemetry.http.reported(uid, decode::http(report)),
            Frame::Reconnected(report) => {
                if let Some(reconnection) = decode::reconnection(uid, report) {
                    telemetry.reconnections.record(reconnection);
                }
            }
        }
        Ok(None)
    }

    /// The namespace that a report is about.
    fn key(&mut self, context: &str, namespace: &str) -> Option<NamespaceKey> {
        let key = decode::namespace_key(self.user.uid, context, namespace);
        key.map_err(|error| self.warn(&error.to_string())).ok()
    }

    fn namespace(&mut self, report: &wire::NamespaceReport) -> Option<Report> {
        Some(Report::Namespace {
            key: self.key(&report.context, &report.namespace)?,
            sequence: report.sequence,
            phase: decode::phase(report),
            notes: decode::notes(report),
        })
    }

    fn services(&mut self, report: wire::ServicesReport) -> Result<Option<Report>, SessionError> {
        let Some(key) = self.key(&report.context, &report.namespace) else {
            return Ok(None);
        };
        let mut found = Vec::with_capacity(report.services.len());
        for service in report.services {
            match decode::service(service) {
                Ok(service) => found.push(service),
                Err(error) => self.warn(&error.to_string()),
            }
        }
        let removed = report.removed.iter();
        let removed = removed.filter_map(|name| ServiceName::parse(name).ok());
        if report.first
            && (self.listings.len() < limits::LISTINGS || self.listings.contains_key(&key))
        {
            self.listings.insert(key.clone(), BTreeSet::new());
        }
        if let Some(listing) = self.listings.get_mut(&key) {
            listing.extend(found.iter().map(|(name, _)| name.clone()));
        }
        let listed: usize = self.listings.values().map(BTreeSet::len).sum();
        if listed > limits::LISTED {
            return Err(SessionError::EndlessListing);
        }
        let listed = report.complete.then(|| self.listings.remove(&key));
        Ok(Some(Report::Services {
            removed: removed.collect(),
            listed: listed.flatten(),
            namespace: key,
            found,
        }))
    }

    fn log(&self, log: &wire::Log) {
        let service = log.service.as_ref().map(|s| {
            clean(
                &format!("{}.{}.{}", s.service, s.namespace, s.context),
                limits::TEXT,
            )
        });
        let level = match log.level() {
            wire::LogLevel::Error => Level::ERROR,
            wire::LogLevel::Warn => Level::WARN,
            wire::LogLevel::Info => Level::INFO,
            wire::LogLevel::Unspecified | wire::LogLevel::Debug => Level::DEBUG,
        };
        self.user.log.write(level, service.as_deref(), &log.message);
    }

    /// What it did wrong, once per session.
    fn warn(&mut self, what: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            let what = format!("{what} (further warnings are not logged)");
            self.user.log.write(Level::WARN, None, &what);
        }
    }
}
