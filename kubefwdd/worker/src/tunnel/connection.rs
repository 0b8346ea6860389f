//! One upgraded connection to a pod and all local connections that it carries.
//!
//! # Why one task owns everything
//! The task reads the tunnel into one large buffer, takes the frames apart where they lie and writes their payload straight
//! to the clients' sockets; in the other direction it reads the clients' sockets into the buffer that leaves next, behind
//! room for the frame's header. A byte is copied only if somebody does not take it now. With a task per stream each
//! byte would pass a queue, each frame would be an allocation and each direction would need its own bookkeeping of who
//! may still wait; with one owner there are no locks, the order of frames is the order of the code, and reading a client
//! only when the tunnel takes bytes is all the backpressure that uploads need.
//!
//! The sockets are polled with a waker each ([`ready`]), so a wake-up costs by the number of sockets that are ready. The
//! only things that other threads touch are the commands, a few flags and the list of ready keys.

mod actor;
mod backlog;
mod ends;
mod gather;
mod health;
mod mux;
mod ready;
mod stream;
mod timers;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::upgrade::{Transport, Upgraded};
use actor::Actor;
use ready::ReadyList;

pub(super) use backlog::{Budget, Limits};
pub(super) use ends::is_dial_error;
pub(super) use health::Intervals;
pub(super) use mux::Rules;
pub(super) use stream::{Attempt, End, Retry};

/// Opens that wait for the task.
const COMMANDS: usize = 256;

/// What all connections of a cluster share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) rules: Rules,
    pub(super) intervals: Intervals,
    pub(super) idle_close: Duration,
    pub(super) budget: Arc<Budget>,
}

/// A handle to a connection's task; the connection ends once all handles are gone and its streams have ended.
pub(super) struct Connection {
    opens: mpsc::Sender<Open>,
    shared: Arc<Shared>,
}

struct Open {
    attempt: Attempt,
    done: oneshot::Sender<End>,
}

/// What the handle sees of the task, and the flags that it sets for it.
struct Shared {
    transport: Transport,
    ready: Arc<ReadyList>,
    streams: AtomicUsize,
    retired: AtomicBool,
    burdened: AtomicBool,
    closed: AtomicBool,
    round_trip_micros: AtomicU64,
    why: OnceLock<String>,
    /// Somebody knows of the trouble.
    told: AtomicBool,
}

/// Finish the streams, take no new ones.
const RETIRE: u8 = 1;
/// The pod is gone: give back what it has not answered, then as above.
const POD_GONE: u8 = 2;
/// Find out at once whether the connection still lives.
const RESUME: u8 = 4;

/// A connection as a choice for a new stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Streams that it carries.
    pub(super) streams: usize,
    /// It carries a slow reader or a bulk transfer, or its PINGs queue behind bytes: better not add to it.
    pub(super) burdened: bool,
}

impl Connection {
    /// Starts the task of a new connection, which calls `burdened` each time that it becomes a bad place for new streams.
    pub(super) fn spawn(
        upgraded: Upgraded,
        common: &Common,
        burdened: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (opens, receiver) = mpsc::channel(COMMANDS);
        let shared = Arc::new(Shared {
            transport: upgraded.transport,
            ready: Arc::default(),
            streams: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            burdened: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            round_trip_micros: AtomicU64::new(upgraded.took.as_micros() as u64),
            why: OnceLock::new(),
            told: AtomicBool::new(false),
        });
        let actor = Actor::new(upgraded, common, receiver, Arc::clone(&shared));
        tokio::spawn(actor.run(Box::new(burdened)));
        Self { opens, shared }
    }

    /// Carries a local connection to its end.
    pub(super) async fn carry(&self, attempt: Attempt) -> End {
        let (done, end) = oneshot::channel();
        if let Err(mpsc::error::SendError(open)) = self.opens.send(Open { attempt, done }).await {
            return End::Retry(open.attempt, Retry::Connection(self.why()));
        }
        end.await
            .unwrap_or_else(|_| End::Reset("the tunnel's task ended".to_owned()))
    }

    /// Takes no new streams from now on.
    pub(super) fn retire(&self) {
        self.shared.retired.store(true, Ordering::Relaxed);
        self.order(RETIRE);
    }

    /// The pod does not exist any more.
    pub(super) fn pod_gone(&self) {
        self.shared.retired.store(true, Ordering::Relaxed);
        self.order(POD_GONE);
    }

    /// The machine slept or its network changed.
    pub(super) fn resume(&self) {
        self.order(RESUME);
    }

    /// How it would bear a new stream; `None` where it takes none.
    pub(super) fn load(&self) -> Option<Load> {
        let shared = &self.shared;
        if shared.retired.load(Ordering::Relaxed) || self.is_closed() {
            return None;
        }
        Some(Load {
            streams: self.streams(),
            burdened: shared.burdened.load(Ordering::Relaxed),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    pub(super) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    pub(super) fn transport(&self) -> Transport {
        self.shared.transport
    }

    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.shared.round_trip_micros.load(Ordering::Relaxed))
    }

    /// Why the connection ended or was retired, as far as that is known.
    pub(super) fn why(&self) -> String {
        self.shared
            .why
            .get()
            .cloned()
            .unwrap_or_else(|| "the connection ended".to_owned())
    }

    /// The trouble of a connection that had any.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.shared.why.get().map(String::as_str)
    }

    /// Whether the connection had trouble that nobody asked for yet.
    pub(super) fn has_new_trouble(&self) -> bool {
        self.trouble().is_some() && !self.shared.told.swap(true, Ordering::Relaxed)
    }

    fn order(&self, order: u8) {
        self.shared.ready.order(order);
    }
}

/// Closes with RST: the client learns at once that this was no proper end.
pub(super) fn reset_local(local: TcpStream) {
    // Where the option cannot be set, the close alone must do.
    let _ = local.set_zero_linger();
}

#[cfg(test)]
mod tests;
