//! From sniffers to the daemon: what is recorded of each listener's requests, and how much at most.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use kubefwd_proto::time;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{HttpExchange, HttpReport};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Exchange, Seen, Sniffer};
use crate::link::{Closed, Outbox};

/// Requests of one listener that are recorded in a second; beyond that, one in so many is.
const PER_SECOND: u64 = 1000;
/// Requests that wait to be told.
const WAITING: usize = 8192;
/// How long they wait for others.
const BATCH: Duration = Duration::from_millis(200);
/// Requests in one frame: a little more than a kilobyte each at most.
const IN_ONE_FRAME: usize = 512;
/// What all sniffers together may hold, bytes; beyond that connections are given up.
const HELD: usize = 16 * 1024 * 1024;

/// Collects what the sniffers of all listeners see.
#[derive(Debug, Default)]
pub struct Recorder {
    keep_queries: bool,
    waiting: Mutex<Waiting>,
    /// Something waits.
    some: Notify,
    /// So much waits that it should be told now.
    much: Notify,
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    exchanges: Vec<(u64, Exchange)>,
    unrecorded: HashMap<u64, u64>,
}

/// One listener whose connections are watched.
#[derive(Debug)]
pub struct Listener {
    id: u64,
    recorder: Arc<Recorder>,
    rate: Mutex<Rate>,
}

/// Decides which requests are recorded when there are many.
#[derive(Debug)]
struct Rate {
    second: Instant,
    /// Requests in this second.
    seen: u64,
    recorded: u64,
    /// One in so many is recorded: as the second before suggests.
    one_in: u64,
}

/// Watches one connection of a listener.
#[derive(Debug)]
pub struct Tap {
    sniffer: Sniffer,
    listener: Arc<Listener>,
    /// What of the recorder's allowance it uses.
    held: usize,
}

/// Tells the daemon what was seen, in batches. Nothing runs while nothing is seen.
///
/// # Errors
/// When the channel to the daemon has ended.
pub async fn tell(recorder: Arc<Recorder>, outbox: Outbox) -> Result<(), Closed> {
    loop {
        recorder.some.notified().await;
        // Either way there is something to tell.
        let _ = timeout(BATCH, recorder.much.notified()).await;
        for report in recorder.take() {
            outbox.send(Frame::Http(report)).await?;
        }
    }
}

// === impl Recorder ===

impl Recorder {
    /// Collects; queries of targets are kept only if that is said.
    pub fn new(keep_queries: bool) -> Arc<Self> {
        Arc::new(Self {
            keep_queries,
            ..Self::default()
        })
    }

    /// A listener whose connections are to be watched.
    pub fn listener(self: &Arc<Self>, id: u64) -> Arc<Listener> {
        Arc::new(Listener {
            id,
            recorder: Arc::clone(self),
            rate: Mutex::new(Rate::new(Instant::now())),
        })
    }

    /// What waits, as frames that are small enough.
    fn take(&self) -> Vec<HttpReport> {
        let Waiting {
            exchanges,
            unrecorded,
        } = std::mem::take(&mut *self.waiting());
        let (now, wall) = (Instant::now(), SystemTime::now());
        let wire = |(listener, exchange): &(u64, Exchange)| {
            let ago = now.saturating_duration_since(exchange.began);
            HttpExchange {
                listener: *listener,
                time: Some(time::timestamp(wall.checked_sub(ago).unwrap_or(wall))),
                method: exchange.method.as_str().to_owned(),
                path: exchange.path.to_string(),
                status: exchange.status.into(),
                duration_us: u64::try_from(exchange.duration.as_micros()).unwrap_or(u64::MAX),
                response_bytes: exchange.response_bytes,
                protocol: exchange.protocol.as_str().to_owned(),
                grpc_status: exchange.grpc_status,
            }
        };
        let mut reports: Vec<HttpReport> = exchanges
            .chunks(IN_ONE_FRAME)
            .map(|exchanges| HttpReport {
                exchanges: exchanges.iter().map(wire).collect(),
                ..HttpReport::default()
            })
            .collect();
        let mut unrecorded = unrecorded.into_iter().peekable();
        while unrecorded.peek().is_some() {
            reports.push(HttpReport {
                dropped: unrecorded.by_ref().take(IN_ONE_FRAME).collect(),
                ..HttpReport::default()
            });
        }
        reports
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Listener ===

impl Listener {
    /// Watches a new connection.
    pub fn tap(self: &Arc<Self>) -> Box<Tap> {
        Box::new(Tap {
            sniffer: Sniffer::new(self.recorder.keep_queries),
            listener: Arc::clone(self),
            held: 0,
        })
    }

    fn seen(&self, seen: Seen, now: Instant) {
        let exchange = match seen {
            Seen::Exchange(exchange) => {
                let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
                rate.admits(now).then_some(exchange).ok_or(1)
            }
            Seen::Unrecorded(count) => Err(count),
        };
        let recorder = &self.recorder;
        let mut waiting = recorder.waiting();
        let first = waiting.exchanges.is_empty() && waiting.unrecorded.is_empty();
        match exchange {
            Ok(exchange) if waiting.exchanges.len() < WAITING => {
                waiting.exchanges.push((self.id, exchange));
                if waiting.exchanges.len() == WAITING / 2 {
                    recorder.much.notify_one();
                }
            }
            Ok(_) => *waiting.unrecorded.entry(self.id).or_default() += 1,
            Err(count) => *waiting.unrecorded.entry(self.id).or_default() += count,
        }
        drop(waiting);
        if first {
            recorder.some.notify_one();
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
    /// Bytes of the client went their way. False once no more need to be shown.
    pub(crate) fn client(&mut self, bytes: &[u8]) -> bool {
        let now = Instant::now();
        let listener = &self.listener;
        self.sniffer
            .client(bytes, now, &mut |seen| listener.seen(seen, now));
        self.weigh(now)
    }

    /// Bytes of the pod went their way. False once no more need to be shown.
    pub(crate) fn server(&mut self, bytes: &[u8]) -> bool {
        let now = Instant::now();
        let listener = &self.listener;
        self.sniffer
            .server(bytes, now, &mut |seen| listener.seen(seen, now));
        self.weigh(now)
    }

    /// Counts what it holds; all of them together may hold so much and no more.
    fn weigh(&mut self, now: Instant) -> bool {
        let held = self.sniffer.held();
        if held != self.held {
            let all = &self.listener.recorder.held;
            // Wraps around when it shrinks, as it should.
            let before = all.fetch_add(held.wrapping_sub(self.held), Relaxed);
            let grown = held > self.held;
            self.held = held;
            if grown && before.saturating_add(held) > HELD {
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
        self.listener.recorder.held.fetch_sub(self.held, Relaxed);
    }
}
