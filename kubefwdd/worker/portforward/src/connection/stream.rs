//! One local connection on its way through a tunnel: its socket, what waits for it, and how far each side has ended.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::backlog::Backlog;
use super::ready::Noted;
use crate::counters::Counters;
use crate::tap::Tap;

/// First bytes of a client that are kept for a retry, at most.
const REPLAY_LIMIT: usize = 64 * 1024;
/// The longest error of a runtime that is kept.
const MAX_ERROR: usize = 4096;

/// A local connection without a tunnel, which may have had one and may get another.
pub(crate) struct Downstream {
    pub(crate) local: TcpStream,
    pub(crate) accepted: Instant,
    pub(crate) port: u16,
    /// What the client has sent so far, while it can be replayed: nothing was answered and it is not too much.
    pub(crate) replay: Option<Vec<u8>>,
    pub(crate) counters: Arc<Counters>,
    /// Sees the bytes of both directions once they were forwarded.
    pub(crate) tap: Option<Box<dyn Tap>>,
}

impl Downstream {
    /// Keeps what the client sent for a replay, as long as it is not too much.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        if replay.len() + bytes.len() <= REPLAY_LIMIT {
            replay.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            self.replay = None;
        }
    }

    /// Resets the client's connection, so that the client does not take it for a proper end.
    pub(crate) fn reset(self) {
        self.counters.failed();
        // If the option cannot be set, a plain close has to do.
        let _ = self.local.set_zero_linger();
    }

    /// Counts bytes of the pod; from now on nothing can be replayed.
    pub(crate) fn received(&mut self, bytes: usize, now: Instant) {
        if self.replay.take().is_some() {
            let after = now.saturating_duration_since(self.accepted);
            self.counters.answered(after);
        }
        self.counters.received(bytes);
    }

    /// Shows bytes that are on their way to the pod.
    pub(crate) fn show_sent(&mut self, bytes: &[u8], now: Instant) {
        if let Some(tap) = &mut self.tap
            && !tap.client(bytes, now.into_std())
        {
            self.tap = None;
        }
    }

    /// Shows bytes that are on their way to the client.
    pub(crate) fn show_received(&mut self, bytes: &[u8], now: Instant) {
        if let Some(tap) = &mut self.tap
            && !tap.server(bytes, now.into_std())
        {
            self.tap = None;
        }
    }
}

/// How a local connection left its tunnel.
pub(crate) enum End {
    /// Both sides ended properly.
    Closed,
    /// The local connection was reset, for this reason.
    Reset(String),
    /// Nothing was answered: it can be retried elsewhere.
    Retry(Downstream, Retry),
}

/// What the retry must avoid.
#[derive(Debug)]
pub(crate) enum Retry {
    /// The pod, for this reason.
    Pod(String),
    /// Only the connection.
    Connection(String),
}

/// How far the client's side has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// The client may send.
    Open,
    /// The client has ended its side, the pod does not know yet.
    Held,
    /// Nothing more goes to the pod.
    Ended,
}

/// How far the pod's side has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Remote {
    pub(super) data_ended: bool,
    pub(super) data_reset: bool,
    pub(super) error_ended: bool,
    pub(super) error_reset: bool,
    /// A timer for what is missing runs.
    pub(super) settling: bool,
}

/// A local connection on this tunnel.
pub(super) struct Stream {
    pub(super) downstream: Downstream,
    waker: Waker,
    noted: Arc<Noted>,
    backlog: Backlog,
    done: oneshot::Sender<End>,
    pub(super) upload: Upload,
    pub(super) remote: Remote,
    /// The pod's side is over: only the backlog is to be delivered, then the socket closed, or reset.
    pub(super) draining: Option<Option<String>>,
    /// The runtime took the stream.
    pub(super) taken: bool,
    /// It is among those to be read from.
    pub(super) queued: bool,
    pub(super) last_data: Instant,
    /// Bytes in either direction in the window of this number.
    recent: (u32, usize),
    error_text: Vec<u8>,
}

impl Stream {
    pub(super) fn new(
        downstream: Downstream,
        done: oneshot::Sender<End>,
        (waker, noted): (Waker, Arc<Noted>),
        backlog: Backlog,
        now: Instant,
    ) -> Self {
        Self {
            downstream,
            waker,
            noted,
            backlog,
            done,
            upload: Upload::Open,
            remote: Remote::default(),
            draining: None,
            taken: false,
            queued: false,
            last_data: now,
            recent: (0, 0),
            error_text: Vec::new(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// To be called when the socket's waker was noted, before it is polled.
    pub(super) fn woken(&self) {
        self.noted.clear();
    }

    /// Whether it may be sent again from the start.
    pub(super) fn is_replayable(&self) -> bool {
        self.downstream.replay.is_some() && self.draining.is_none()
    }

    /// Whether the client has sent nothing yet that the pod may have seen.
    pub(super) fn is_untouched(&self) -> bool {
        self.downstream.replay.as_ref().is_some_and(Vec::is_empty)
    }

    /// Counts bytes that move; returns how many did in this window.
    pub(super) fn moved(&mut self, bytes: usize, window: u32) -> usize {
        if self.recent.0 != window {
            self.recent = (window, 0);
        }
        self.recent.1 += bytes;
        self.recent.1
    }

    pub(super) fn poll_read(&mut self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(&self.waker);
        let mut room = ReadBuf::new(into);
        ready!(Pin::new(&mut self.downstream.local).poll_read(&mut cx, &mut room))?;
        let bytes = room.filled();
        self.downstream.counters.sent(bytes.len());
        self.downstream.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Whether there is a tap.
    pub(super) fn is_watched(&self) -> bool {
        self.downstream.tap.is_some()
    }

    /// Passes bytes of the pod on; what the client does not take now waits.
    pub(super) fn deliver(&mut self, slices: &[IoSlice<'_>], now: Instant) -> io::Result<()> {
        let passed = self.pass_on(slices, now);
        if self.is_watched() {
            for slice in slices {
                self.downstream.show_received(slice, now);
            }
        }
        passed
    }

    fn pass_on(&mut self, slices: &[IoSlice<'_>], now: Instant) -> io::Result<()> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        self.last_data = now;
        self.downstream.received(total, now);
        let mut written = 0;
        if self.backlog.is_empty() {
            let mut cx = Context::from_waker(&self.waker);
            let local = Pin::new(&mut self.downstream.local);
            if let Poll::Ready(result) = local.poll_write_vectored(&mut cx, slices) {
                written = result?;
            }
        }
        if written == total {
            return Ok(());
        }
        for slice in slices {
            let skipped = written.min(slice.len());
            written -= skipped;
            self.backlog.push(&slice[skipped..]);
        }
        match self.flush() {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Delivers what waits; ready when nothing does.
    pub(super) fn flush(&mut self) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.waker);
        while !self.backlog.is_empty() {
            let local = Pin::new(&mut self.downstream.local);
            let written = ready!(local.poll_write(&mut cx, self.backlog.bytes()))?;
            self.backlog.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// A piece of what the runtime says on the error stream.
    pub(super) fn push_error(&mut self, text: &[u8]) {
        let room = MAX_ERROR - self.error_text.len();
        self.error_text
            .extend_from_slice(&text[..text.len().min(room)]);
    }

    pub(super) fn error_text(&self) -> Option<String> {
        (!self.error_text.is_empty())
            .then(|| crate::http1::printable(&String::from_utf8_lossy(&self.error_text)))
    }

    /// Gives the client's connection back for a retry.
    pub(super) fn hand_back(self, why: Retry) {
        // The receiver is gone only when the program ends.
        let _ = self.done.send(End::Retry(self.downstream, why));
    }

    /// Closes the client's connection, or resets it for a reason.
    pub(super) fn close(self, reset: Option<String>) {
        let end = match reset {
            Some(why) => {
                self.downstream.reset();
                End::Reset(why)
            }
            None => {
                close_local(self.downstream.local);
                End::Closed
            }
        };
        let _ = self.done.send(end);
    }

    /// The client broke the connection itself.
    pub(super) fn abandon(self) {
        let _ = self.done.send(End::Closed);
    }
}

/// Sends FIN. Unread bytes are taken first: the kernel answers a close that leaves some with a reset, which would overtake
/// what the client has yet to read.
fn close_local(local: TcpStream) {
    const ROUNDS: usize = 64;
    let _ = SockRef::from(&local).shutdown(Shutdown::Write);
    let mut discarded = [0; 16 * 1024];
    for _ in 0..ROUNDS {
        match local.try_read(&mut discarded) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
}
