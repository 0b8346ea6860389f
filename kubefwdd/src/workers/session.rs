//! One run of one worker: the two directions of its channel.

use std::collections::{BTreeMap, BTreeSet};
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
use kubefwd_proto::worker::v1::{self as wire, from_worker::Frame};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::limits::{self, FrameBudget, LineBudget};
use super::{QUEUE, Shared, User, decode, encode};
use crate::store_handle::Stopping;

/// A new worker that says nothing for so long is killed.
const HELLO: Duration = Duration::from_secs(10);

/// A frame, and the listener that travels with it.
pub(crate) struct Outgoing {
    pub(super) frame: wire::ToWorker,
    pub(super) socket: Option<Arc<TcpListener>>,
}

impl From<wire::ToWorker> for Outgoing {
    fn from(frame: wire::ToWorker) -> Self {
        Self {
            frame,
            socket: None,
        }
    }
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
    shared: &Shared,
    user: &Arc<User>,
    socket: UnixStream,
    pid: u32,
) -> SessionError {
    match converse(shared, user, socket, pid).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn converse(
    shared: &Shared,
    user: &Arc<User>,
    socket: UnixStream,
    pid: u32,
) -> Result<std::convert::Infallible, SessionError> {
    let (mut sender, mut receiver) =
        channel::<wire::ToWorker, wire::FromWorker>(socket, Accepts::Frames)
            .map_err(ChannelError::from)?;
    sender
        .send(&encode::welcome(shared.settings.tuning), None)
        .await?;
    sender
        .send(&encode::environment(user.environment()), None)
        .await?;
    hello(&mut receiver, pid).await?;

    let (queue, outgoing) = mpsc::channel(QUEUE);
    *user.queue.lock() = Some(queue);
    user.start_error.send_replace(None);
    let uid = user.uid;
    let ready = Report::WorkerReady { uid };
    shared.store.report(ready, None).await?;

    let mut reader = Reader {
        shared,
        user,
        budget: FrameBudget::new(Instant::now()),
        lines: LineBudget::new(Instant::now()),
        listings: BTreeMap::new(),
        waiting: Arc::new(Semaphore::new(limits::REPORTS_KIB)),
        permit: None,
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
    let ours = kubefwd_proto::worker::PROTOCOL;
    if hello.protocol != ours {
        return Err(SessionError::Protocol {
            theirs: hello.protocol,
            ours,
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
        if let Err(error) = sender
            .send(&frame, socket.as_ref().map(|s| s.as_fd()))
            .await
        {
            return error.into();
        }
    }
    // The queue overflowed: whoever noticed took its sending end away.
    SessionError::NotReading
}

struct Reader<'a> {
    shared: &'a Shared,
    user: &'a Arc<User>,
    budget: FrameBudget,
    lines: LineBudget,
    /// Listings of which more frames are to come.
    listings: BTreeMap<NamespaceKey, BTreeSet<ServiceName>>,
    /// KiB of reports that may still wait for the store.
    waiting: Arc<Semaphore>,
    /// What the present frame takes of them.
    permit: Option<OwnedSemaphorePermit>,
    warned: bool,
}

impl Reader<'_> {
    async fn read(
        &mut self,
        receiver: &mut Receiver<wire::FromWorker>,
    ) -> Result<std::convert::Infallible, SessionError> {
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
            self.permit = self.waiting.clone().acquire_many_owned(kib).await.ok();
            if let Some(frame) = frame.frame {
                self.handle(frame).await?;
            }
        }
    }

    /// Passes a report on; the frame keeps its permit until the report is applied.
    async fn report(&mut self, report: Report) -> Result<(), Stopping> {
        let permit = self.permit.take();
        self.shared.store.report(report, permit).await
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), SessionError> {
        let uid = self.user.uid;
        match frame {
            Frame::Hello(_) => self.warn("it sent a second hello"),
            Frame::Namespace(report) => self.namespace(&report).await?,
            Frame::Services(report) => self.services(report).await?,
            Frame::Held(held) => {
                let error = Some(clean(&held.error, limits::TEXT)).filter(|e| !e.is_empty());
                let listener = ListenerId(held.listener);
                self.report(Report::Held {
                    uid,
                    listener,
                    error,
                })
                .await?;
            }
            Frame::Forward(report) => {
                let listener = ListenerId(report.listener);
                let report = decode::forward(&report);
                self.report(Report::Forward {
                    uid,
                    listener,
                    report,
                })
                .await?;
            }
            Frame::Traffic(report) => {
                let traffic: Vec<_> = report
                    .traffic
                    .iter()
                    .map(|traffic| (ListenerId(traffic.listener), decode::traffic(traffic)))
                    .collect();
                self.report(Report::Traffic { uid, traffic }).await?;
            }
            Frame::Refused(refused) => {
                self.report(Report::PeerDenied {
                    uid,
                    listener: ListenerId(refused.listener),
                    peer: refused.uid.map(Uid::new),
                    count: refused.count,
                    at: Instant::now(),
                })
                .await?;
            }
            Frame::Answer(answer) => self.user.answer(answer),
            Frame::Log(log) => self.log(&log),
            Frame::Http(report) => self
                .shared
                .telemetry
                .http
                .reported(uid, decode::http(report)),
            Frame::Reconnected(report) => {
                if let Some(reconnection) = decode::reconnection(uid, report) {
                    self.shared.telemetry.reconnections.record(reconnection);
                }
            }
        }
        Ok(())
    }

    async fn namespace(&mut self, report: &wire::NamespaceReport) -> Result<(), Stopping> {
        match decode::namespace_key(self.user.uid, &report.context, &report.namespace) {
            Ok(key) => {
                self.report(Report::Namespace {
                    key,
                    sequence: report.sequence,
                    phase: decode::phase(report),
                    notes: decode::notes(report),
                })
                .await
            }
            Err(error) => {
                self.warn(&error.to_string());
                Ok(())
            }
        }
    }

    async fn services(&mut self, report: wire::ServicesReport) -> Result<(), SessionError> {
        let key = match decode::namespace_key(self.user.uid, &report.context, &report.namespace) {
            Ok(key) => key,
            Err(error) => {
                self.warn(&error.to_string());
                return Ok(());
            }
        };
        let mut found = Vec::with_capacity(report.services.len());
        for service in report.services {
            match decode::service(service) {
                Ok(service) => found.push(service),
                Err(error) => self.warn(&error.to_string()),
            }
        }
        let removed: Vec<_> = report
            .removed
            .iter()
            .filter_map(|name| ServiceName::parse(name).ok())
            .collect();
        if report.first
            && (self.listings.len() < limits::LISTINGS || self.listings.contains_key(&key))
        {
            self.listings.insert(key.clone(), BTreeSet::new());
        }
        let listed = match self.listings.get_mut(&key) {
            None => None,
            Some(listing) => {
                listing.extend(found.iter().map(|(name, _)| name.clone()));
                let listed: usize = self.listings.values().map(BTreeSet::len).sum();
                if listed > limits::LISTED {
                    return Err(SessionError::EndlessListing);
                }
                if report.complete {
                    self.listings.remove(&key)
                } else {
                    None
                }
            }
        };
        self.report(Report::Services {
            namespace: key,
            found,
            removed,
            listed,
        })
        .await?;
        Ok(())
    }

    fn log(&mut self, log: &wire::Log) {
        let uid = self.user.uid;
        match self.lines.take(Instant::now()) {
            None => return,
            Some(0) => {}
            Some(left_out) => {
                tracing::warn!(
                    uid = uid.get(),
                    left_out,
                    "worker: it logs too much; lines were dropped"
                );
            }
        }
        let message = clean(&log.message, limits::TEXT);
        let service = log.service.as_ref().map(|s| {
            clean(
                &format!("{}.{}.{}", s.service, s.namespace, s.context),
                limits::TEXT,
            )
        });
        let service = service.as_deref();
        match log.level() {
            wire::LogLevel::Error => {
                tracing::error!(target: "worker", uid = uid.get(), service, "{message}")
            }
            wire::LogLevel::Warn => {
                tracing::warn!(target: "worker", uid = uid.get(), service, "{message}")
            }
            wire::LogLevel::Info => {
                tracing::info!(target: "worker", uid = uid.get(), service, "{message}")
            }
            wire::LogLevel::Unspecified | wire::LogLevel::Debug => {
                tracing::debug!(target: "worker", uid = uid.get(), service, "{message}");
            }
        }
    }

    /// Once per session in full: a hostile worker must not fill the log.
    fn warn(&mut self, what: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                uid = self.user.uid.get(),
                "worker: {what} (further warnings are not logged)"
            );
        }
    }
}
