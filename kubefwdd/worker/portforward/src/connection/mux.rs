//! The streams of one connection: which bytes go to which client, whose bytes leave next, and how streams end.
//!
//! Pair `n` is the error stream `4n + 1` and the data stream `4n + 3`; its number is the key of everything.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ConnectionConfig;
use super::backlog::{Backlog, Budget};
use super::gather::Gather;
use super::ready::ReadyList;
use super::stream::{Downstream, End, Retry, Stream, Upload};
use super::timers::Timers;
use crate::settings::Settings;
use crate::transport::spdy::{self, Event, FrameError, Parser};

/// The largest frame while several clients send: what one of them can make the others wait for.
const SHARED_FRAME: usize = 64 * 1024;
/// No frame is begun in less room than this.
const LEAST_ROOM: usize = 4 * 1024;
/// Bytes of one client within [`BULK_WINDOW`], in either direction, from which they are a bulk transfer.
const BULK: usize = 2 * 1024 * 1024;
const BULK_WINDOW: Duration = Duration::from_millis(250);
/// How long after that it still counts as one.
const BULK_MEMORY: Duration = Duration::from_secs(1);
/// Stream ids have 31 bits.
const LAST_PAIR: u32 = (0x7fff_ffff - 3) / 4;

/// The streams of one connection.
pub(super) struct Mux {
    pub(super) streams: HashMap<u32, Stream>,
    pub(super) control: Vec<u8>,
    pub(super) timers: Timers,
    pub(super) settings: Arc<Settings>,
    next_pair: u32,
    readable: VecDeque<u32>,
    /// Pairs that the runtime has not accepted yet, oldest first.
    opening: VecDeque<(u32, Instant)>,
    ready: Arc<ReadyList>,
    budget: Arc<Budget>,
    backlogged: usize,
    slow: usize,
    full: usize,
    /// The number of the window in which bytes are counted now, and its end.
    window: (u32, Instant),
    bulk_until: Option<Instant>,
    /// The runtime said that it takes no more streams.
    pub(super) going_away: bool,
    /// Ids of PINGs that came.
    pub(super) pings: Vec<u32>,
    /// Errors that the runtime did not follow with a reset: its worker may be stuck (runtimes before 1.32).
    pub(super) unreset: Option<(u32, Instant)>,
    /// What watched clients have sent: where in the wire buffer it lies, until it was shown.
    unshown: Vec<(u32, Range<usize>)>,
}

impl Mux {
    pub(super) fn new(config: &ConnectionConfig, ready: Arc<ReadyList>) -> Self {
        Self {
            streams: HashMap::new(),
            control: Vec::new(),
            timers: Timers::default(),
            settings: Arc::clone(&config.settings),
            next_pair: 0,
            readable: VecDeque::new(),
            opening: VecDeque::new(),
            ready,
            budget: Arc::clone(&config.budget),
            backlogged: 0,
            slow: 0,
            full: 0,
            window: (0, Instant::now()),
            bulk_until: None,
            going_away: false,
            pings: Vec::new(),
            unreset: None,
            unshown: Vec::new(),
        }
    }

    /// Opens a pair for a client. It does not wait for the runtime: what the client has sent leaves in the same write.
    pub(super) fn open(
        &mut self,
        downstream: Downstream,
        done: oneshot::Sender<End>,
        now: Instant,
    ) {
        let pair = self.next_pair;
        self.next_pair += 1;
        self.going_away |= self.next_pair > LAST_PAIR;
        let port = downstream.port;
        for (id, kind) in [(error_id(pair), spdy::ERROR), (data_id(pair), spdy::DATA)] {
            spdy::syn_stream(&mut self.control, id, kind, port, pair);
        }
        spdy::fin(&mut self.control, error_id(pair));
        if let Some(replay) = &downstream.replay
            && !replay.is_empty()
        {
            let header = spdy::data_header(data_id(pair), replay.len());
            self.control.extend_from_slice(&header);
            self.control.extend_from_slice(replay);
        }
        let backlog = Backlog::new(Arc::clone(&self.budget));
        let mut stream = Stream::new(downstream, done, self.ready.waker(pair), backlog, now);
        stream.queued = true;
        self.streams.insert(pair, stream);
        self.opening.push_back((pair, now));
        self.readable.push_front(pair);
    }

    /// Whether more may be read from the connection. It is always drained, except where memory would run over or where
    /// only a slow client's bytes can come: then TCP itself tells the pod to stop.
    pub(super) fn may_read(&self) -> bool {
        let alone = self.slow > 0 && self.streams.len() == 1;
        let spent = self.backlogged > 0 && self.budget.is_spent();
        self.full == 0 && !alone && !spent
    }

    /// To be called before bytes are moved at a new time.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        let (number, end) = self.window;
        if now >= end {
            self.window = (number.wrapping_add(1), now + BULK_WINDOW);
        }
    }

    /// Whether a client reads slowly, or moves so many bytes that others would wait behind them.
    pub(super) fn is_overloaded(&self, now: Instant) -> bool {
        self.slow > 0 || self.bulk_until.is_some_and(|until| now < until)
    }

    /// Whether bytes are to be sent, as far as is known without asking the clients' sockets.
    pub(super) fn has_output(&self) -> bool {
        !self.control.is_empty() || !self.readable.is_empty()
    }

    /// When the oldest pair that the runtime has not accepted was opened.
    pub(super) fn oldest_opening(&mut self) -> Option<Instant> {
        while let Some((pair, opened)) = self.opening.front() {
            if self.streams.get(pair).is_some_and(|stream| !stream.taken) {
                return Some(*opened);
            }
            self.opening.pop_front();
        }
        None
    }

    /// Puts bytes to send into `wire`: control frames first, then what clients have sent, in turns. Returns how many, and
    /// how many of them are clients'.
    pub(super) fn fill(&mut self, wire: &mut [u8], now: Instant) -> (usize, usize) {
        let mut at = 0;
        let mut uploaded = 0;
        loop {
            let control = self.control.len().min(wire.len() - at);
            wire[at..at + control].copy_from_slice(&self.control[..control]);
            self.control.drain(..control);
            at += control;
            if wire.len() - at < LEAST_ROOM {
                return (at, uploaded);
            }
            let Some(pair) = self.readable.pop_front() else {
                return (at, uploaded);
            };
            let room = wire.len() - at - spdy::HEADER;
            let shared = !self.readable.is_empty();
            let limit = if shared { room.min(SHARED_FRAME) } else { room };
            let Some(stream) = self.streams.get_mut(&pair) else {
                continue;
            };
            stream.queued = false;
            if stream.upload != Upload::Open {
                continue;
            }
            let payload = at + spdy::HEADER;
            match stream.poll_read(&mut wire[payload..payload + limit]) {
                Poll::Pending => {}
                Poll::Ready(Ok(0)) => {
                    self.show_sent(wire, now);
                    self.client_ended(pair, now);
                }
                Poll::Ready(Ok(read)) => {
                    let header = spdy::data_header(data_id(pair), read);
                    wire[at..payload].copy_from_slice(&header);
                    at = payload + read;
                    uploaded += read;
                    if stream.is_watched() {
                        self.unshown.push((pair, payload..at));
                    }
                    if stream.moved(read, self.window.0) >= BULK {
                        self.bulk_until = Some(now + BULK_MEMORY);
                    }
                    stream.queued = true;
                    self.readable.push_back(pair);
                }
                Poll::Ready(Err(_)) => {
                    self.show_sent(wire, now);
                    self.client_broke(pair);
                }
            }
        }
    }

    /// Whether bytes that [`Mux::fill`] took from clients are to be shown.
    pub(super) fn has_unshown(&self) -> bool {
        !self.unshown.is_empty()
    }

    /// Shows what [`Mux::fill`] put into `wire` to those who watch; it has left, or its client is about to.
    pub(super) fn show_sent(&mut self, wire: &[u8], now: Instant) {
        for (pair, range) in self.unshown.drain(..) {
            if let Some(stream) = self.streams.get_mut(&pair)
                && let Some(bytes) = wire.get(range)
            {
                stream.downstream.show_sent(bytes, now);
            }
        }
    }

    /// A client's socket can be read or written.
    pub(super) fn woken(&mut self, pair: u32) {
        let Some(stream) = self.streams.get_mut(&pair) else {
            return;
        };
        stream.woken();
        let before = stream.waiting();
        let flushed = stream.flush();
        if stream.upload == Upload::Open && !stream.queued {
            stream.queued = true;
            self.readable.push_back(pair);
        }
        let after = stream.waiting();
        self.weigh(before, after);
        match flushed {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => self.client_broke(pair),
            Poll::Ready(Ok(())) => self.finish_drained(pair),
        }
    }

    /// Takes what came from the runtime.
    pub(super) fn receive(
        &mut self,
        parser: &mut Parser,
        mut input: &[u8],
        now: Instant,
    ) -> Result<(), FrameError> {
        let mut gather = Gather::default();
        while let Some(event) = parser.next(&mut input)? {
            match event {
                Event::Data {
                    stream, bytes, fin, ..
                } if is_data(stream) => {
                    if !gather.takes(stream / 4) {
                        self.deliver(&mut gather, now);
                    }
                    gather.push(stream / 4, bytes);
                    if fin {
                        self.deliver(&mut gather, now);
                        self.settle(stream, now, |remote| remote.data_ended = true);
                    }
                }
                event => {
                    self.deliver(&mut gather, now);
                    self.receive_control(event, now);
                }
            }
        }
        self.deliver(&mut gather, now);
        Ok(())
    }

    /// Handles everything but the bytes of data streams.
    fn receive_control(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Data {
                stream,
                bytes,
                end,
                fin,
            } if is_error(stream) => {
                self.receive_error(stream / 4, bytes, end, now);
                self.settle(stream, now, |remote| remote.error_ended |= fin);
            }
            Event::Reset { stream } => {
                self.unreset = self.unreset.filter(|(pair, _)| *pair != stream / 4);
                if is_data(stream) {
                    self.settle(stream, now, |remote| remote.data_reset = true);
                } else if is_error(stream) {
                    self.settle(stream, now, |remote| remote.error_reset = true);
                }
            }
            Event::Accepted { stream } => {
                if is_data(stream)
                    && let Some(stream) = self.streams.get_mut(&(stream / 4))
                {
                    stream.taken = true;
                }
            }
            Event::Ping { id } => self.pings.push(id),
            Event::GoAway => self.going_away = true,
            Event::Data { .. } => {}
        }
    }

    fn deliver(&mut self, gather: &mut Gather<'_>, now: Instant) {
        let (pair, slices) = gather.take();
        if !slices.is_empty() {
            self.write_to(pair, slices, now);
            gather.clear();
        }
    }

    fn write_to(&mut self, pair: u32, slices: &[IoSlice<'_>], now: Instant) {
        let Some(stream) = self.streams.get_mut(&pair) else {
            return;
        };
        if stream.draining.is_some() {
            return;
        }
        let total = slices.iter().map(|slice| slice.len()).sum();
        if stream.moved(total, self.window.0) >= BULK {
            self.bulk_until = Some(now + BULK_MEMORY);
        }
        let before = stream.waiting();
        let result = stream.deliver(slices, now);
        let after = stream.waiting();
        self.weigh(before, after);
        if result.is_err() {
            self.client_broke(pair);
        }
    }

    /// Keeps count of slow and full streams as one stream's backlog changes.
    fn weigh(&mut self, before: usize, after: usize) {
        for (count, limit) in [
            (&mut self.backlogged, 1),
            (&mut self.slow, self.settings.backlog_soft),
            (&mut self.full, self.settings.backlog_hard),
        ] {
            match (before >= limit, after >= limit) {
                (false, true) => *count += 1,
                (true, false) => *count -= 1,
                _ => {}
            }
        }
    }

    /// The stream, unless the pod's side is over.
    pub(super) fn live(&mut self, pair: u32) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(&pair)?;
        stream.draining.is_none().then_some(stream)
    }

    /// Takes a stream out; late frames for it are dropped from now on.
    pub(super) fn remove(&mut self, pair: u32) -> Option<Stream> {
        let stream = self.streams.remove(&pair)?;
        self.weigh(stream.waiting(), 0);
        Some(stream)
    }

    /// A stream whose pod side is over and whose bytes are all delivered is done.
    pub(super) fn finish_drained(&mut self, pair: u32) {
        let stream = self.streams.get(&pair);
        let is_done = stream.is_some_and(|it| it.draining.is_some() && it.waiting() == 0);
        if is_done && let Some(mut stream) = self.remove(pair) {
            let reset = stream.draining.take().flatten();
            stream.close(reset);
        }
    }

    /// Hands every stream that fits back for a retry.
    pub(super) fn hand_back(
        &mut self,
        mut which: impl FnMut(u32, &Stream) -> bool,
        why: impl Fn() -> Retry,
    ) {
        let streams = self.streams.iter();
        let fitting = streams.filter(|(pair, it)| it.is_replayable() && which(**pair, it));
        let pairs: Vec<u32> = fitting.map(|(pair, _)| *pair).collect();
        for pair in pairs {
            self.reset_remote(pair);
            if let Some(stream) = self.remove(pair) {
                stream.hand_back(why());
            }
        }
    }

    /// Hands back what the runtime has not accepted in time.
    pub(super) fn hand_back_unaccepted(&mut self, opened_before: Instant, why: &str) {
        let opening = self.opening.iter();
        let late = opening.filter(|(_, opened)| *opened <= opened_before);
        let late: Vec<u32> = late.map(|(pair, _)| *pair).collect();
        let is_late = |pair, stream: &Stream| !stream.taken && late.contains(&pair);
        self.hand_back(is_late, || Retry::Connection(why.to_owned()));
    }

    /// Resets both streams.
    pub(super) fn reset_remote(&mut self, pair: u32) {
        spdy::rst_stream(&mut self.control, data_id(pair));
        spdy::rst_stream(&mut self.control, error_id(pair));
    }

    /// Ends our side of the data stream.
    pub(super) fn end_remote(&mut self, pair: u32) {
        spdy::fin(&mut self.control, data_id(pair));
    }
}

fn error_id(pair: u32) -> u32 {
    pair * 4 + 1
}

fn data_id(pair: u32) -> u32 {
    pair * 4 + 3
}

fn is_error(stream: u32) -> bool {
    stream % 4 == 1
}

fn is_data(stream: u32) -> bool {
    stream % 4 == 3
}
