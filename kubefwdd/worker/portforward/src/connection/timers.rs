//! The few deadlines that streams have: a heap, checked when the connection's one timer fires.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

/// What a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The rest of the runtime's end: the other stream's FIN, or the reason.
    Settle,
    /// No more answer to a client that has ended its side.
    HalfClose,
    /// Another check whether the client is gone.
    Peer {
        /// Checks so far.
        checks: u8,
    },
    /// The runtime's end after ours.
    AfterEnd,
}

/// Deadlines by time. An obsolete one stays until it is due, and is ignored then.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, u32, Kind)>>);

impl Timers {
    pub(super) fn set(&mut self, at: Instant, pair: u32, kind: Kind) {
        self.0.push(Reverse((at, pair, kind)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<(u32, Kind)> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse((_, pair, kind))| (pair, kind))
    }
}
