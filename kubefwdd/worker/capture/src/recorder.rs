//! Collects what sniffers see into reports for the daemon, sampled and bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use kubefwd_proto::convert as time;
use kubefwd_proto::worker::v1::{HttpExchange, HttpReport};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::budget::Budget;
use crate::exchange::{Exchange, Seen};
use crate::sniffer::Sniffer;

/// Requests of one listener that are recorded per second; beyond that they are sampled.
const PER_SECOND: u64 = 1000;
/// Requests that may wait to be reported.
const MAX_WAITING: usize = 8192;
/// How long they wait for others.
const BATCH_DELAY: Duration = Duration::from_millis(200);
/// Requests in one frame: a little more than a kilobyte each at most.
const MAX_PER_FRAME: usize = 512;
/// What all sniffers together may hold, bytes; connections beyond that are not observed.
const MAX_HELD: usize = 16 * 1024 * 1024;

/// Collects what the sniffers of all listeners see.
#[derive(Debug)]
pub struct Recorder {
    keep_queries: bool,
    waiting: Mutex<Waiting>,
    /// Something waits.
    nonempty: Notify,
    /// Enough waits to be reported at once.
    half_full: Notify,
    held: Budget,
}

#[derive(Debug, Default)]
struct Waiting {
    exchanges: Vec<(u64, Exchange)>,
    /// Listeners with unrecorded requests, each once.
    unrecorded: Vec<Arc<Listener>>,
}

/// One listener whose connections are watched.
#[derive(Debug)]
pub struct Listener {
    id: u64,
    recorder: Arc<Recorder>,
    rate: Mutex<Rate>,
    /// Unrecorded requests since the last report.
    unrecorded: AtomicU64,
}

/// Samples requests when there are many.
#[derive(Debug)]
struct Rate {
    second: Instant,
    /// Requests in this second.
    seen: u64,
    recorded: u64,
    /// One in this many is recorded, judging by the second before.
    one_in: u64,
}

/// Watches one connection of a listener.
#[derive(Debug)]
pub struct Tap {
    sniffer: Sniffer,
    listener: Arc<Listener>,
    /// What it uses of the recorder's budget.
    held: usize,
}

// === impl Recorder ===

impl Recorder {
    /// `keep_queries`: whether targets are recorded with their queries.
    pub fn new(keep_queries: bool) -> Arc<Self> {
        Arc::new(Self {
            keep_queries,
            waiting: Mutex::default(),
            nonempty: Notify::new(),
            half_full: Notify::new(),
            held: Budget::new(MAX_HELD),
        })
    }

    /// A listener whose connections are to be watched.
    pub fn listener(self: &Arc<Self>, id: u64) -> Arc<Listener> {
        Arc::new(Listener {
            id,
            recorder: Arc::clone(self),
            rate: Mutex::new(Rate::new(Instant::now())),
            unrecorded: AtomicU64::new(0),
        })
    }

    /// Waits until something was seen, and gives others a moment to join it. Nothing runs while nothing is seen.
    pub async fn seen(&self) {
        self.nonempty.notified().await;
        // Either way there is something to report.
        let _ = timeout(BATCH_DELAY, self.half_full.notified()).await;
    }

    /// Takes what waits, as frames that are small enough.
    pub fn take(&self) -> Vec<HttpReport> {
        let Waiting {
            exchanges,
            unrecorded,
        } = std::mem::take(&mut *self.waiting.lock());
        let (now, wall) = (Instant::now(), SystemTime::now());
        let wire = |(listener, exchange): &(u64, Exchange)| {
            let ago = now.saturating_duration_since(exchange.began);
            HttpExchange {
                listener: *listener,
                time: Some(time::timestamp(wall.checked_sub(ago).unwrap_or(wall))),
                method: exchange.method.to_string(),
                path: exchange.path.to_string(),
                status: exchange.status.into(),
                duration_us: u64::try_from(exchange.duration.as_micros()).unwrap_or(u64::MAX),
                response_bytes: exchange.response_bytes,
                protocol: exchange.protocol.as_str().to_owned(),
                grpc_status: exchange.grpc_status,
            }
        };
        let dropped = |listener: &Arc<Listener>| {
            let count = listener.unrecorded.swap(0, Relaxed);
            (listener.id, count)
        };
        let recorded = exchanges.chunks(MAX_PER_FRAME).map(|exchanges| HttpReport {
            exchanges: exchanges.iter().map(wire).collect(),
            ..HttpReport::default()
        });
        let unrecorded = unrecorded.chunks(MAX_PER_FRAME);
        let unrecorded = unrecorded.map(|listeners| HttpReport {
            dropped: listeners.iter().map(dropped).collect(),
            ..HttpReport::default()
        });
        recorded.chain(unrecorded).collect()
    }
}

// === impl Listener ===

impl Listener {
    /// Watches a new connection.
    pub fn tap(self: &Arc<Self>) -> Tap {
        Tap {
            sniffer: Sniffer::new(self.recorder.keep_queries),
            listener: Arc::clone(self),
            held: 0,
        }
    }

    fn seen(self: &Arc<Self>, seen: Seen, now: Instant) {
        let unrecorded = match seen {
            Seen::Exchange(exchange) => {
                let admitted = self.rate.lock().admits(now);
                u64::from(!admitted || !self.record(exchange))
            }
            Seen::Unrecorded(count) => count,
        };
        if unrecorded > 0 {
            self.count(unrecorded);
        }
    }

    /// Queues a request for the next report; false if too many wait already.
    fn record(&self, exchange: Exchange) -> bool {
        let recorder = &self.recorder;
        let mut waiting = recorder.waiting.lock();
        let before = waiting.exchanges.len();
        if before >= MAX_WAITING {
            return false;
        }
        waiting.exchanges.push((self.id, exchange));
        drop(waiting);
        match before + 1 {
            1 => recorder.nonempty.notify_one(),
            half if half == MAX_WAITING / 2 => recorder.half_full.notify_one(),
            _ => {}
        }
        true
    }

    /// Counts requests that are not recorded. At high rates, this is the common case.
    fn count(self: &Arc<Self>, unrecorded: u64) {
        if self.unrecorded.fetch_add(unrecorded, Relaxed) == 0 {
            let recorder = &self.recorder;
            recorder.waiting.lock().unrecorded.push(Arc::clone(self));
            recorder.nonempty.notify_one();
        }
    }
}

// === impl Rate ===

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            seen: 0,
            recorded: 0,
            one_in: 1,
        }
    }

    /// Whether the request of this moment is recorded.
    fn admits(&mut self, now: Instant) -> bool {
        let past = now.saturating_duration_since(self.second).as_secs();
        if past > 0 {
            // After a pause the second before had none.
            let before = if past == 1 { self.seen } else { 0 };
            *self = Self {
                second: self.second + Duration::from_secs(past),
                one_in: before.div_ceil(PER_SECOND).max(1),
                ..Self::new(now)
            };
        }
        self.seen += 1;
        let turn = (self.seen - 1).is_multiple_of(self.one_in);
        let admitted = turn && self.recorded < PER_SECOND;
        self.recorded += u64::from(admitted);
        admitted
    }
}

// === impl Tap ===

impl Tap {
    /// Shows forwarded bytes of the client. False once no more need to be shown.
    pub fn client(&mut self, bytes: &[u8], now: Instant) -> bool {
        let listener = &self.listener;
        self.sniffer
            .client(bytes, now, &mut |seen| listener.seen(seen, now));
        self.weigh(now)
    }

    /// Shows forwarded bytes of the pod. False once no more need to be shown.
    pub fn server(&mut self, bytes: &[u8], now: Instant) -> bool {
        let listener = &self.listener;
        self.sniffer
            .server(bytes, now, &mut |seen| listener.seen(seen, now));
        self.weigh(now)
    }

    /// Accounts for its memory, and gives up if all taps together hold too much.
    fn weigh(&mut self, now: Instant) -> bool {
        let held = self.sniffer.held();
        if held != self.held {
            let fits = self.listener.recorder.held.change(self.held, held);
            self.held = held;
            if !fits {
                let listener = &self.listener;
                self.sniffer.give_up(&mut |seen| listener.seen(seen, now));
                return self.weigh(now);
            }
        }
        !self.sniffer.is_over()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let now = Instant::now();
        let listener = &self.listener;
        self.sniffer.end(now, &mut |seen| listener.seen(seen, now));
        self.listener.recorder.held.give_back(self.held);
    }
}

#[cfg(test)]
mod tests;
