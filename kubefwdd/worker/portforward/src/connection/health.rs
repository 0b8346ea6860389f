//! Whether a connection still carries bytes, judged by SPDY PINGs; a pure state machine without a clock.
//!
//! The runtime deals incoming frames out to five workers by stream id, and PINGs in turn. So one PING answered says that the
//! connection lives, and five in one write say that all five workers do: a worker that is stuck behind a stream that nobody
//! reads leaves its PING unanswered, and new streams on it would hang. Each probe of a stuck worker takes one of its last
//! queue places, so a connection that failed a probe is not probed again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Settings;

/// Workers of a runtime's SPDY connection.
const WORKERS: u8 = 5;
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// However strong the doubt: probes cost queue places.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(1);
const VERIFY_TIMEOUT: Duration = Duration::from_secs(1);
/// Uploads beyond this since the last sign of life may be what the far side cannot take: silence is then no death.
const STALLING_BYTES: usize = 64 * 1024;
const STALLING_FRAMES: usize = 50;
const MISSES: u8 = 2;

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Send these PINGs, in one write.
    Send(Vec<u32>),
    /// Put no new stream on the connection.
    Quarantine(&'static str),
    /// Give the connection up.
    Dead(&'static str),
}

/// The health of one connection.
pub(super) struct Health {
    settings: Arc<Settings>,
    next_id: u32,
    next_ping: Instant,
    next_probe: Instant,
    last_probe: Option<Instant>,
    /// Moved bytes since the last probe: only then a worker can have got stuck.
    moved: bool,
    waiting: Option<Waiting>,
    misses: u8,
    heard: Instant,
    stalling: (usize, usize),
    quarantined: bool,
    smoothed: Duration,
    shortest: Duration,
    /// A PING was answered: until then the two above are a guess.
    measured: bool,
}

struct Waiting {
    first: u32,
    count: u8,
    answered: u8,
    sent: Instant,
    deadline: Instant,
}

impl Health {
    /// `round_trip` is the first estimate, from the upgrade.
    pub(super) fn new(settings: Arc<Settings>, round_trip: Duration, now: Instant) -> Self {
        Self {
            next_id: 1,
            next_ping: now + settings.ping_busy,
            next_probe: now + PROBE_INTERVAL,
            last_probe: None,
            moved: false,
            waiting: None,
            misses: 0,
            heard: now,
            stalling: (0, 0),
            quarantined: false,
            smoothed: round_trip,
            shortest: round_trip,
            measured: false,
            settings,
        }
    }

    /// PINGs take much longer than they could: bytes queue up on the way.
    pub(super) fn is_queueing(&self) -> bool {
        self.smoothed > self.shortest.max(Duration::from_millis(5)) * 3
    }

    /// How long the runtime may take to accept a stream before its workers are doubted.
    pub(super) fn accept_timeout(&self) -> Duration {
        Duration::from_millis(250).max(self.smoothed * 4)
    }

    /// Bytes of any kind came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.misses = 0;
        self.moved = true;
    }

    /// A frame of an upload left.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.stalling.0 += bytes;
        self.stalling.1 += 1;
        self.moved = true;
    }

    /// A PING came back.
    pub(super) fn answered(&mut self, id: u32, now: Instant) {
        self.stalling = (0, 0);
        let Some(waiting) = &mut self.waiting else {
            return;
        };
        let place = id.wrapping_sub(waiting.first);
        if place % 2 != 0 || place / 2 >= u32::from(waiting.count) {
            return;
        }
        let sample = now - waiting.sent;
        waiting.answered += 1;
        if waiting.answered == waiting.count {
            self.waiting = None;
        }
        // An upgrade takes longer than a PING: an average with it would look like a queue.
        if !std::mem::replace(&mut self.measured, true) {
            (self.smoothed, self.shortest) = (sample, sample);
        }
        self.smoothed = (self.smoothed * 7 + sample) / 8;
        self.shortest = self.shortest.min(sample);
    }

    /// Reading is paused, so silence proves nothing.
    pub(super) fn deaf(&mut self, now: Instant) {
        self.waiting = None;
        self.misses = 0;
        self.heard = now;
        self.next_ping = now + self.settings.ping_busy;
    }

    /// Sends five PINGs now, unless an answer is awaited already.
    pub(super) fn probe(&mut self, now: Instant) -> Verdict {
        let waiting = self.waiting.as_ref();
        let is_probing = waiting.is_some_and(|waiting| waiting.count > 1);
        let last = self.last_probe;
        let is_recent = last.is_some_and(|last| now < last + MIN_PROBE_INTERVAL);
        if self.quarantined || is_probing || is_recent {
            return Verdict::Fine;
        }
        self.last_probe = Some(now);
        self.next_probe = now + PROBE_INTERVAL;
        self.moved = false;
        let deadline = Duration::from_millis(500).max(self.smoothed * 6);
        self.send(WORKERS, deadline, now)
    }

    /// The machine slept or its network changed: one PING with a short deadline decides.
    pub(super) fn verify(&mut self, now: Instant) -> Verdict {
        self.misses = MISSES - 1;
        self.stalling = (0, 0);
        self.send(1, VERIFY_TIMEOUT, now)
    }

    /// Stops probing.
    pub(super) fn quarantine(&mut self) {
        self.quarantined = true;
    }

    /// When [`tick`](Self::tick) wants to be called.
    pub(super) fn deadline(&self) -> Instant {
        match &self.waiting {
            Some(waiting) => waiting.deadline,
            None => self.next_ping,
        }
    }

    /// Handles the passage of time. `stuck`: the socket does not take waiting bytes.
    pub(super) fn tick(&mut self, now: Instant, streams: usize, stuck: bool) -> Verdict {
        if let Some(waiting) = &self.waiting {
            if now < waiting.deadline {
                return Verdict::Fine;
            }
            let silent = self.heard <= waiting.sent;
            let probed = waiting.count > 1;
            self.waiting = None;
            if !silent || stuck || self.may_be_stalled() {
                return self.missed_answer(probed, stuck, now);
            }
            self.misses += 1;
            if self.misses >= MISSES {
                return Verdict::Dead("the tunnel does not answer PINGs");
            }
            return self.send(1, self.answer_timeout(), now);
        }
        if now < self.next_ping {
            return Verdict::Fine;
        }
        if streams > 0 && self.moved && now >= self.next_probe && !self.quarantined {
            return self.probe(now);
        }
        let interval = match streams {
            0 => self.settings.ping_idle,
            _ => self.settings.ping_busy,
        };
        self.next_ping = now + interval;
        self.send(1, self.answer_timeout(), now)
    }

    /// Streams came or went: the next PING is not later than the interval that now holds.
    pub(super) fn streams_changed(&mut self, now: Instant, streams: usize) {
        if streams > 0 {
            self.next_ping = self.next_ping.min(now + self.settings.ping_busy);
        }
    }

    /// Bytes come, or ours do not leave, but the answer did not come: some worker is stuck, or the far side is full.
    fn missed_answer(&mut self, probed: bool, stuck: bool, now: Instant) -> Verdict {
        self.next_ping = now + self.settings.ping_busy;
        if self.quarantined {
            return Verdict::Fine;
        }
        if probed || stuck {
            self.quarantined = true;
            return Verdict::Quarantine("the runtime does not serve all streams of the connection");
        }
        self.probe(now)
    }

    fn may_be_stalled(&self) -> bool {
        self.stalling.0 >= STALLING_BYTES || self.stalling.1 >= STALLING_FRAMES
    }

    fn answer_timeout(&self) -> Duration {
        self.settings.ping_timeout.max(self.smoothed * 8)
    }

    fn send(&mut self, count: u8, deadline: Duration, now: Instant) -> Verdict {
        let first = self.next_id;
        let ids: Vec<u32> = (0..u32::from(count))
            .map(|i| first.wrapping_add(2 * i))
            .collect();
        self.next_id = first.wrapping_add(2 * u32::from(count));
        self.waiting = Some(Waiting {
            first,
            count,
            answered: 0,
            sent: now,
            deadline: now + deadline,
        });
        Verdict::Send(ids)
    }
}

#[cfg(test)]
mod tests;
