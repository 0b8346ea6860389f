//! The task of one connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use super::health::{Health, Verdict};
use super::mux::Mux;
use super::{ConnectionConfig, Open, POD_GONE, PROBE, Shared};
use crate::transport::spdy::{self, Parser};
use crate::transport::websocket::{self, Deframer, Item};
use crate::transport::{Transport, upgrade::Upgraded};
use crate::upstream::{Scratch, Upstream, with_scratch};

/// Rounds of reading and of writing before other tasks of the thread get their turn: what these wait for at most.
const ROUNDS: usize = 2;
/// Opens taken in one turn.
const OPENS: usize = 64;

/// How frames lie in the byte stream.
enum Framing {
    Bare,
    WebSocket { deframer: Deframer, pongs: Vec<u8> },
}

/// Everything that one connection has.
pub(super) struct Actor {
    upstream: Upstream,
    framing: Framing,
    parser: Parser,
    mux: Mux,
    health: Health,
    opens: mpsc::Receiver<Open>,
    shared: Arc<Shared>,
    initial: Vec<u8>,
    woken: Vec<u32>,
    timer: Pin<Box<Sleep>>,
    idle_close: Duration,
    idle_since: Instant,
    reading: bool,
    /// The connection is lost; only what waits for clients is still to be delivered.
    lost: bool,
    handles_gone: bool,
}

impl Actor {
    pub(super) fn new(
        upgraded: Upgraded,
        config: &ConnectionConfig,
        opens: mpsc::Receiver<Open>,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        let framing = match upgraded.transport {
            Transport::Spdy => Framing::Bare,
            Transport::WebSocket | Transport::Channel => Framing::WebSocket {
                deframer: Deframer::default(),
                pongs: Vec::new(),
            },
        };
        Self {
            upstream: upgraded.upstream,
            framing,
            parser: Parser::default(),
            mux: Mux::new(config, Arc::clone(&shared.ready)),
            health: Health::new(Arc::clone(&config.settings), upgraded.took, now),
            opens,
            shared,
            initial: upgraded.initial,
            woken: Vec::new(),
            timer: Box::pin(sleep_until(now)),
            idle_close: config.settings.idle_close,
            idle_since: now,
            reading: true,
            lost: false,
            handles_gone: false,
        }
    }

    /// Serves the connection to its end; calls `overloaded` each time that it begins to be.
    pub(super) async fn run(mut self, overloaded: Box<dyn Fn() + Send + Sync>) {
        let mut known = false;
        poll_fn(|cx| {
            self.shared.ready.register(cx.waker());
            let over = with_scratch(|scratch| self.turn(cx, scratch));
            let now = self.shared.overloaded.load(Ordering::Relaxed);
            if now && !std::mem::replace(&mut known, now) {
                overloaded();
            }
            known = now;
            over
        })
        .await;
        self.opens.close();
        while let Some(open) = self.opens.recv().await {
            open.refuse("the connection was closing");
        }
        self.upstream.close().await;
    }

    /// Does everything that can be done now. Ready when the connection is over.
    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        let now = Instant::now();
        self.mux.begin_turn(now);
        self.handle_signals(now);
        self.take_opens(cx, now);
        self.take_woken();
        if !self.lost {
            let read = self.read(cx, scratch, now);
            let mut more = self.or_lose(read);
            self.check(cx, now);
            if !self.lost {
                let written = self.write(cx, scratch, now);
                more |= self.or_lose(written);
            }
            if more {
                cx.waker().wake_by_ref();
            }
        }
        self.publish(now);
        let idle = self.mux.streams.is_empty();
        let over = self.lost
            || self.is_draining()
            || self.handles_gone
            || now >= self.idle_since + self.idle_close;
        if idle && over && self.opens.is_empty() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn handle_signals(&mut self, now: Instant) {
        let signals = self.shared.ready.take_signals();
        if signals & POD_GONE != 0 {
            self.mux.pod_gone();
        }
        if signals & PROBE != 0 {
            let verdict = self.health.verify(now);
            self.follow(verdict, now);
        }
    }

    fn take_opens(&mut self, cx: &mut Context<'_>, now: Instant) {
        for _ in 0..OPENS {
            match self.opens.poll_recv(cx) {
                Poll::Ready(Some(open)) => {
                    if self.lost || self.mux.going_away {
                        open.refuse("the connection accepts no more streams");
                        continue;
                    }
                    self.mux.open(open.downstream, open.done, now);
                    self.health.streams_changed(now, self.mux.streams.len());
                }
                Poll::Ready(None) => {
                    self.handles_gone = true;
                    return;
                }
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    fn take_woken(&mut self) {
        let mut woken = std::mem::take(&mut self.woken);
        self.shared.ready.take(&mut woken);
        for pair in woken.drain(..) {
            self.mux.woken(pair);
        }
        self.woken = woken;
    }

    /// Reads and decodes what is there, as long as clients take it. True if there may be more.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Result<bool, String> {
        if !self.initial.is_empty() {
            let initial = std::mem::take(&mut self.initial);
            self.decode(&initial, now)?;
        }
        for _ in 0..ROUNDS {
            self.reading = self.mux.may_read();
            if !self.reading {
                self.health.deaf(now);
                return Ok(false);
            }
            let Poll::Ready(read) = self.upstream.poll_read(cx, scratch) else {
                return Ok(false);
            };
            let read = read.map_err(text)?;
            if read == 0 {
                return Err("the API server closed the tunnel".to_owned());
            }
            self.health.heard(now);
            self.decode(&scratch.plain[..read], now)?;
        }
        Ok(true)
    }

    fn decode(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), String> {
        match &mut self.framing {
            Framing::Bare => self
                .mux
                .receive(&mut self.parser, bytes, now)
                .map_err(text)?,
            Framing::WebSocket { deframer, pongs } => {
                while let Some(item) = deframer.next(&mut bytes).map_err(text)? {
                    match item {
                        Item::Data { bytes, .. } => {
                            self.mux
                                .receive(&mut self.parser, bytes, now)
                                .map_err(text)?;
                        }
                        Item::Ping(payload) => websocket::pong(pongs, &payload, rand::random()),
                        Item::Close(code) => {
                            return Err(format!("the API server closed the tunnel ({code})"));
                        }
                    }
                }
            }
        }
        for id in std::mem::take(&mut self.mux.pings) {
            if id % 2 == 1 {
                self.health.answered(id, now);
            } else {
                spdy::ping(&mut self.mux.control, id);
            }
        }
        Ok(())
    }

    /// Sends what is to be sent, as far as the socket takes it. True if there may be more.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Result<bool, String> {
        for _ in 0..ROUNDS {
            let Poll::Ready(flushed) = self.upstream.poll_flush(cx, &mut scratch.sealed) else {
                return Ok(false);
            };
            flushed.map_err(text)?;
            if !self.compose(cx, scratch, now).map_err(text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts the next write together; false if there is nothing to send.
    fn compose(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> std::io::Result<bool> {
        if let Framing::WebSocket { pongs, .. } = &mut self.framing
            && !pongs.is_empty()
        {
            let pongs = std::mem::take(pongs);
            self.upstream.seal(&pongs, &mut scratch.sealed)?;
            return Ok(true);
        }
        if !self.mux.has_output() {
            return Ok(false);
        }
        let Scratch { wire, sealed, .. } = scratch;
        let begin = match self.framing {
            Framing::Bare => 0,
            Framing::WebSocket { .. } => websocket::MAX_HEADER,
        };
        let (filled, uploaded) = self.mux.fill(&mut wire[begin..], now);
        if filled == 0 {
            return Ok(false);
        }
        if uploaded > 0 {
            self.health.sent(uploaded);
        }
        let end = begin + filled;
        let key = rand::random();
        let start = match begin {
            0 => 0,
            _ => websocket::message(&mut wire[..end], key),
        };
        let mut sent = self.upstream.seal(&wire[start..end], sealed);
        if self.mux.has_unshown() {
            // First the bytes leave, then they are looked at: also where they could not, since they will go another way.
            if sent.is_ok()
                && let Poll::Ready(flushed) = self.upstream.poll_flush(cx, sealed)
            {
                sent = flushed;
            }
            if begin > 0 {
                websocket::mask(&mut wire[begin..end], key);
            }
            self.mux.show_sent(&wire[begin..end], now);
        }
        sent.map(|()| true)
    }

    /// Acts on what is due, and sets the timer for what is next.
    fn check(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.mux.tick(now);
        if let Some(opened) = self.mux.oldest_opening()
            && self.reading
            && now >= opened + self.health.accept_timeout()
        {
            let verdict = self.health.probe(now);
            self.follow(verdict, now);
        }
        if let Some((_, failed_at)) = self.mux.unreset
            && now >= failed_at + self.health.accept_timeout()
        {
            self.mux.unreset = None;
            self.quarantine("the runtime did not end a failed stream", now);
        }
        if self.reading && now >= self.health.deadline() {
            let stuck = !self.upstream.is_flushed();
            let verdict = self.health.tick(now, self.mux.streams.len(), stuck);
            self.follow(verdict, now);
        }
        loop {
            let deadline = self.deadline(now);
            // An earlier alarm does no harm: it finds nothing due and sets the next.
            if self.timer.deadline() > deadline || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            if deadline <= Instant::now() {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    fn deadline(&mut self, now: Instant) -> Instant {
        let timeout = self.health.accept_timeout();
        let mut deadline = now + self.idle_close;
        if self.mux.streams.is_empty() {
            deadline = self.idle_since + self.idle_close;
        }
        if self.reading {
            deadline = deadline.min(self.health.deadline());
            let doubt = self.mux.oldest_opening().map(|opened| opened + timeout);
            // A pair that is late already is being probed for: the probe has its own deadline.
            if let Some(doubt) = doubt.filter(|doubt| *doubt > now) {
                deadline = deadline.min(doubt);
            }
        }
        if let Some((_, failed_at)) = self.mux.unreset {
            deadline = deadline.min(failed_at + timeout);
        }
        let next = self.mux.timers.next();
        next.map_or(deadline, |next| deadline.min(next))
    }

    fn follow(&mut self, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Fine => {}
            Verdict::Send(ids) => {
                for id in ids {
                    spdy::ping(&mut self.mux.control, id);
                }
            }
            Verdict::Quarantine(why) => self.quarantine(why, now),
            Verdict::Dead(why) => self.lose(why),
        }
    }

    /// No new streams; those that the runtime has not accepted go another way.
    fn quarantine(&mut self, why: &str, now: Instant) {
        tracing::debug!(why, "connection quarantined");
        self.health.quarantine();
        self.drain();
        let _ = self.shared.why.set(why.to_owned());
        if let Some(late) = now.checked_sub(self.health.accept_timeout()) {
            self.mux.hand_back_unaccepted(late, why);
        }
    }

    fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// An error, which says why, is the end of the connection.
    fn or_lose(&mut self, more: Result<bool, String>) -> bool {
        more.unwrap_or_else(|why| {
            self.lose(&why);
            false
        })
    }

    fn lose(&mut self, why: &str) {
        if self.lost {
            return;
        }
        tracing::debug!(why, "connection lost");
        self.lost = true;
        self.drain();
        let _ = self.shared.why.set(why.to_owned());
        self.mux.lost(why);
    }

    fn publish(&mut self, now: Instant) {
        let streams = self.mux.streams.len();
        if streams > 0 {
            self.idle_since = now;
        }
        if self.mux.going_away && !self.is_draining() {
            self.drain();
        }
        let shared = &self.shared;
        shared.streams.store(streams, Ordering::Relaxed);
        let overloaded = self.mux.is_overloaded(now) || self.health.is_queueing();
        shared.overloaded.store(overloaded, Ordering::Relaxed);
    }
}

fn text(error: impl std::fmt::Display) -> String {
    format!("the tunnel failed: {error}")
}
