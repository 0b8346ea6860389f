//! Requests that workers saw in forwarded bytes: a ring for each listener, and sums that outlive it.
//!
//! A worker can only fill the rings of listeners that its user has now, so what it can make the daemon keep is bounded by
//! what is forwarded. A listener stays the same when the pod behind it is replaced.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kubefwd_proto::{time::system_time, worker::v1 as wire};

use crate::core::state::{ForwardView, ListenerId};

/// Requests kept for each listener.
pub const PER_FORWARD: usize = 200;
/// Paths shown as the most frequent.
const TOP_PATHS: usize = 10;
/// The longest text that is kept of a path, bytes.
const PATH: usize = 1_024;
/// The longest of a method or protocol, bytes.
const WORD: usize = 32;

/// One request with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the request began.
    pub time: SystemTime,
    /// E.g. GET.
    pub method: String,
    /// Without its query, unless the configuration keeps queries.
    pub path: String,
    /// The status of the answer; 0 when none came.
    pub status: u16,
    /// From the request's first byte to the answer's last.
    pub duration: Duration,
    /// Size of the answer's body, bytes.
    pub size: u64,
    /// HTTP/1.0, HTTP/1.1, HTTP/2 or gRPC.
    pub protocol: String,
}

/// What went through one or several listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSummary {
    /// All requests so far.
    pub total: u64,
    /// Requests that were seen but of which nothing else is known, because there were too many.
    pub dropped: u64,
    /// When the last one began.
    pub last: Option<SystemTime>,
    /// How many answers of each hundred: 1xx to 5xx.
    pub classes: [u64; 5],
    /// The most frequent paths of the requests that are kept.
    pub top_paths: Vec<(String, u64)>,
}

/// The requests of everybody.
#[derive(Default)]
pub struct HttpLog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    known: HashSet<(u32, ListenerId)>,
    rings: HashMap<(u32, ListenerId), HttpRing>,
}

#[derive(Default)]
struct HttpRing {
    exchanges: VecDeque<Exchange>,
    total: u64,
    dropped: u64,
    classes: [u64; 5],
}

// === impl HttpLog ===

impl HttpLog {
    /// A service has other forwards than before.
    pub fn forwards_changed(&self, uid: u32, before: &[ForwardView], after: &[ForwardView]) {
        if before.len() == after.len()
            && before
                .iter()
                .zip(after)
                .all(|(before, after)| before.listener == after.listener)
        {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for forward in before {
            if !after.iter().any(|after| after.listener == forward.listener) {
                inner.known.remove(&(uid, forward.listener));
                inner.rings.remove(&(uid, forward.listener));
            }
        }
        inner
            .known
            .extend(after.iter().map(|forward| (uid, forward.listener)));
    }

    /// A worker saw requests.
    pub fn reported(&self, uid: u32, report: wire::HttpReport) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        for (listener, count) in report.dropped {
            let key = (uid, ListenerId(listener));
            if inner.known.contains(&key) {
                let ring = inner.rings.entry(key).or_default();
                ring.dropped = ring.dropped.saturating_add(count);
                ring.total = ring.total.saturating_add(count);
            }
        }
        for exchange in report.exchanges {
            let key = (uid, ListenerId(exchange.listener));
            if inner.known.contains(&key) {
                inner.rings.entry(key).or_default().push(decode(exchange));
            }
        }
    }

    /// The newest requests of a forward, newest first.
    pub fn newest(&self, uid: u32, forward: &ForwardView, limit: usize) -> Vec<Exchange> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = inner.rings.get(&(uid, forward.listener));
        let newest = ring.map(|ring| ring.exchanges.iter().rev().take(limit).cloned().collect());
        newest.unwrap_or_default()
    }

    /// The sums over forwards.
    pub fn summary<'a>(
        &self,
        uid: u32,
        forwards: impl IntoIterator<Item = &'a ForwardView>,
    ) -> HttpSummary {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut summary = HttpSummary::default();
        let mut paths: BTreeMap<&str, u64> = BTreeMap::new();
        let rings = forwards
            .into_iter()
            .filter_map(|f| inner.rings.get(&(uid, f.listener)));
        for ring in rings {
            summary.total = summary.total.saturating_add(ring.total);
            summary.dropped = summary.dropped.saturating_add(ring.dropped);
            summary.last = summary
                .last
                .max(ring.exchanges.back().map(|exchange| exchange.time));
            for (sum, count) in summary.classes.iter_mut().zip(ring.classes) {
                *sum = sum.saturating_add(count);
            }
            for exchange in &ring.exchanges {
                *paths.entry(&exchange.path).or_default() += 1;
            }
        }
        let mut paths: Vec<_> = paths
            .into_iter()
            .map(|(path, count)| (path.to_owned(), count))
            .collect();
        // The sort is stable: equals stay in the order of their text.
        paths.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        paths.truncate(TOP_PATHS);
        summary.top_paths = paths;
        summary
    }
}

// === impl HttpRing ===

impl HttpRing {
    fn push(&mut self, exchange: Exchange) {
        self.total = self.total.saturating_add(1);
        let class = usize::from(exchange.status / 100).checked_sub(1);
        if let Some(count) = class.and_then(|class| self.classes.get_mut(class)) {
            *count = count.saturating_add(1);
        }
        if self.exchanges.len() >= PER_FORWARD {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back(exchange);
    }
}

fn decode(exchange: wire::HttpExchange) -> Exchange {
    Exchange {
        time: exchange
            .time
            .as_ref()
            .map_or_else(SystemTime::now, system_time),
        method: super::logs::clean(&exchange.method, WORD),
        path: super::logs::clean(&exchange.path, PATH),
        status: u16::try_from(exchange.status).unwrap_or(0),
        duration: Duration::from_micros(exchange.duration_us),
        size: exchange.response_bytes,
        protocol: super::logs::clean(&exchange.protocol, WORD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::samples::forward;

    fn exchange(listener: u64, path: &str, status: u32) -> wire::HttpExchange {
        let (path, method) = (path.to_owned(), "GET".to_owned());
        wire::HttpExchange {
            listener,
            path,
            method,
            status,
            ..Default::default()
        }
    }

    #[test]
    fn each_listener_has_its_own_requests() {
        let log = HttpLog::default();
        let (mut one, mut two) = (forward("a", 80), forward("b", 81));
        (one.listener, two.listener) = (ListenerId(1), ListenerId(2));
        let forwards = [one, two];
        log.forwards_changed(5, &[], &forwards);
        let exchanges = vec![
            exchange(1, "/x", 200),
            exchange(2, "/y", 404),
            exchange(1, "/x", 101),
            exchange(9, "/", 200),
        ];
        log.reported(
            5,
            wire::HttpReport {
                exchanges,
                dropped: [(1, 3)].into(),
            },
        );
        // Another user's worker cannot write there.
        log.reported(
            6,
            wire::HttpReport {
                exchanges: vec![exchange(1, "/z", 200)],
                ..Default::default()
            },
        );
        let of = |n: usize| log.summary(5, &forwards[n..=n]);
        assert_eq!(
            (of(0).total, of(0).dropped, of(0).classes),
            (5, 3, [1, 1, 0, 0, 0])
        );
        assert_eq!(of(0).top_paths, [("/x".to_owned(), 2)]);
        assert_eq!((of(1).total, of(1).classes), (1, [0, 0, 0, 1, 0]));
        assert_eq!(log.summary(5, &forwards).total, 6);
        log.forwards_changed(5, &forwards, &forwards[1..]);
        assert_eq!(of(0).total, 0);
        assert!(log.inner.lock().unwrap().rings.len() == 1);
    }

    #[test]
    fn the_ring_is_bounded_and_gives_the_newest_first() {
        let log = HttpLog::default();
        let forwards = [forward("a", 80)];
        log.forwards_changed(5, &[], &forwards);
        let listener = forwards[0].listener.0;
        let exchanges = (0..1_000)
            .map(|n| exchange(listener, &format!("/{n}"), 200))
            .collect();
        log.reported(
            5,
            wire::HttpReport {
                exchanges,
                ..Default::default()
            },
        );
        let newest = log.newest(5, &forwards[0], 1_000);
        assert_eq!(
            (newest.len(), newest[0].path.as_str()),
            (PER_FORWARD, "/999")
        );
        assert_eq!(log.summary(5, &forwards).total, 1_000);
    }
}
