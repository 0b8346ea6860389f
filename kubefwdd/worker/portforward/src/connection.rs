//! One upgraded connection to a pod and all local connections that it carries.
//!
//! # Why one task owns everything
//! The task reads the tunnel into one large buffer, takes the frames apart where they lie and writes their payload straight
//! to the clients' sockets; in the other direction it reads the clients' sockets into the buffer that leaves next, behind
//! room for the frame's header. A byte is copied only if its receiver does not take it now. With a task per stream each
//! byte would pass a queue, each frame would be an allocation and each direction would need its own bookkeeping of who
//! may still wait; with one owner there are no locks, the order of frames is the order of the code, and reading a client
//! only when the tunnel takes bytes is all the backpressure that uploads need.
//!
//! The sockets are polled with a waker each ([`ready`]), so a wake-up costs by the number of sockets that are ready. The
//! only things that other threads touch are the commands, a few flags and the list of ready keys.

mod actor;
mod backlog;
mod close;
mod gather;
mod health;
mod mux;
mod ready;
mod stream;
mod timers;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use kubefwd_os::peer::{self, Peer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::settings::Settings;
use crate::transport::upgrade::Upgraded;
use actor::Actor;
use ready::ReadyList;

pub(crate) use backlog::Budget;
pub(crate) use close::is_dial_error;
pub(crate) use stream::{Downstream, End, Retry};

/// Opens that may be queued for the task.
const COMMANDS: usize = 256;

/// What all connections of a cluster share.
#[derive(Clone)]
pub(crate) struct ConnectionConfig {
    pub(crate) settings: Arc<Settings>,
    pub(crate) budget: Arc<Budget>,
}

/// A handle to a connection's task; the connection ends once all handles are gone and its streams have ended.
pub(crate) struct Connection {
    opens: mpsc::Sender<Open>,
    shared: Arc<Shared>,
}

struct Open {
    downstream: Downstream,
    done: oneshot::Sender<End>,
}

impl Open {
    /// Gives the client's connection back for a retry over another tunnel.
    fn refuse(self, why: &str) {
        let retry = Retry::Connection(why.to_owned());
        // The receiver is gone only when the program ends.
        let _ = self.done.send(End::Retry(self.downstream, retry));
    }
}

/// State that the task shares with its handle.
#[derive(Default)]
struct Shared {
    ready: Arc<ReadyList>,
    streams: AtomicUsize,
    /// Finish the streams, take no new ones.
    draining: AtomicBool,
    overloaded: AtomicBool,
    why: OnceLock<String>,
    /// Whether the failure was reported.
    failure_taken: AtomicBool,
}

/// Look at `draining`.
const DRAIN: u8 = 1;
/// The pod is gone: give back what it has not answered.
const POD_GONE: u8 = 2;
/// Find out at once whether the connection is alive.
const PROBE: u8 = 4;

/// A connection as a choice for a new stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Streams that it carries.
    pub(crate) streams: usize,
    /// It carries a slow reader or a bulk transfer, or its PINGs queue behind bytes: better not add to it.
    pub(crate) overloaded: bool,
}

impl Connection {
    /// Starts the task of a new connection, which calls `overloaded` each time it becomes overloaded.
    pub(crate) fn spawn(
        upgraded: Upgraded,
        config: &ConnectionConfig,
        overloaded: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (opens, receiver) = mpsc::channel(COMMANDS);
        let shared = Arc::<Shared>::default();
        let actor = Actor::new(upgraded, config, receiver, Arc::clone(&shared));
        tokio::spawn(actor.run(Box::new(overloaded)));
        Self { opens, shared }
    }

    /// Carries a local connection to its end.
    pub(crate) async fn carry(&self, downstream: Downstream) -> End {
        let (done, end) = oneshot::channel();
        if let Err(mpsc::error::SendError(open)) = self.opens.send(Open { downstream, done }).await
        {
            return End::Retry(open.downstream, Retry::Connection(self.why()));
        }
        end.await
            .unwrap_or_else(|_| End::Reset("the tunnel's task ended".to_owned()))
    }

    /// Takes no new streams from now on.
    pub(crate) fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.shared.ready.signal(DRAIN);
    }

    /// The pod no longer exists.
    pub(crate) fn pod_gone(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.shared.ready.signal(POD_GONE);
    }

    /// The machine slept or its network changed.
    pub(crate) fn probe(&self) {
        self.shared.ready.signal(PROBE);
    }

    /// The current load; `None` if it takes no new streams.
    pub(crate) fn load(&self) -> Option<Load> {
        let shared = &self.shared;
        if shared.draining.load(Ordering::Relaxed) || self.is_closed() {
            return None;
        }
        Some(Load {
            streams: self.streams(),
            overloaded: shared.overloaded.load(Ordering::Relaxed),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.opens.is_closed()
    }

    pub(crate) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    /// Why the connection ended or is draining, as far as known.
    pub(crate) fn why(&self) -> String {
        let why = self.shared.why.get().cloned();
        why.unwrap_or_else(|| "the connection ended".to_owned())
    }

    /// Whether the connection failed; true only once.
    pub(crate) fn take_new_failure(&self) -> bool {
        self.shared.why.get().is_some() && !self.shared.failure_taken.swap(true, Ordering::Relaxed)
    }
}

/// Whether the client still holds its socket.
pub(crate) fn client_socket(local: &TcpStream) -> Peer {
    match (local.local_addr(), local.peer_addr()) {
        (Ok(ours), Ok(theirs)) => peer::look_up(ours, theirs),
        _ => Peer::Closed,
    }
}

#[cfg(test)]
mod tests;
