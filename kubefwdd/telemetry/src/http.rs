//! Requests that workers saw in forwarded bytes: a ring for each listener, and sums that outlive it.
//!
//! A worker can only fill the rings of listeners that its user has now, and only so far for all of them together, so what
//! it can make the daemon keep is bounded. A listener stays the same when the pod behind it is replaced.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use kubefwd_model as model;
use kubefwd_model::text::clean;
use kubefwd_model::{ListenerId, Uid};
use parking_lot::Mutex;

/// Requests kept for each listener.
pub const PER_FORWARD: usize = 200;
/// Paths shown as the most frequent.
const TOP_PATHS: usize = 10;
/// The longest text that is kept of a path, bytes.
const PATH: usize = 1_024;
/// The longest of a method or protocol, bytes.
const WORD: usize = 32;
/// What is kept of one user's requests at most, bytes: as much as a thousand busy forwards need.
const PER_USER: usize = 64 * 1024 * 1024;

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
    /// Of gRPC, when the answer said it.
    pub grpc_status: Option<i32>,
}

/// What a worker saw since its last report.
#[derive(Debug, Default)]
pub struct HttpReport {
    /// Requests by the listener that they came to.
    pub exchanges: Vec<(ListenerId, Exchange)>,
    /// How many more there were, which are only counted.
    pub dropped: Vec<(ListenerId, u64)>,
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
    users: Mutex<Users>,
}

type Users = HashMap<Uid, User>;

#[derive(Default)]
struct User {
    /// The listeners that the user has.
    known: HashSet<ListenerId>,
    rings: HashMap<ListenerId, HttpRing>,
    /// What the rings hold, bytes.
    held: usize,
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
    pub fn forwards_changed(&self, uid: Uid, before: &[model::Forward], after: &[model::Forward]) {
        if before.len() == after.len()
            && before
                .iter()
                .zip(after)
                .all(|(before, after)| before.listener == after.listener)
        {
            return;
        }
        let mut users = self.users.lock();
        let user = users.entry(uid).or_default();
        for forward in before {
            if !after.iter().any(|after| after.listener == forward.listener) {
                user.known.remove(&forward.listener);
                if let Some(ring) = user.rings.remove(&forward.listener) {
                    user.held -= ring.held();
                }
            }
        }
        user.known
            .extend(after.iter().map(|forward| forward.listener));
        if user.known.is_empty() {
            users.remove(&uid);
        }
    }

    /// A worker saw requests.
    pub fn reported(&self, uid: Uid, report: HttpReport) {
        self.take(uid, report, PER_USER);
    }

    fn take(&self, uid: Uid, report: HttpReport, limit: usize) {
        let mut users = self.users.lock();
        let Some(user) = users.get_mut(&uid) else {
            return;
        };
        for (listener, count) in report.dropped {
            if user.known.contains(&listener) {
                let ring = user.rings.entry(listener).or_default();
                ring.dropped = ring.dropped.saturating_add(count);
                ring.total = ring.total.saturating_add(count);
            }
        }
        let now = SystemTime::now();
        for (listener, exchange) in report.exchanges {
            if user.known.contains(&listener) {
                let ring = user.rings.entry(listener).or_default();
                let exchange = exchange.cleaned(now);
                user.held += exchange.held();
                user.held -= ring.push(exchange);
            }
            if user.held > limit {
                user.forget_half();
            }
        }
    }

    /// The newest requests of a forward, newest first.
    pub fn newest(&self, uid: Uid, forward: &model::Forward, limit: usize) -> Vec<Exchange> {
        let users = self.users.lock();
        let ring = users
            .get(&uid)
            .and_then(|user| user.rings.get(&forward.listener));
        let newest = ring.map(|ring| ring.exchanges.iter().rev().take(limit).cloned().collect());
        newest.unwrap_or_default()
    }

    /// The sums over forwards.
    pub fn summary<'a>(
        &self,
        uid: Uid,
        forwards: impl IntoIterator<Item = &'a model::Forward>,
    ) -> HttpSummary {
        let users = self.users.lock();
        let mut summary = HttpSummary::default();
        let Some(user) = users.get(&uid) else {
            return summary;
        };
        let mut paths: BTreeMap<&str, u64> = BTreeMap::new();
        let rings = forwards
            .into_iter()
            .filter_map(|f| user.rings.get(&f.listener));
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

// === impl User ===

impl User {
    /// Drops the older half of every ring; the sums stay.
    fn forget_half(&mut self) {
        for ring in self.rings.values_mut() {
            let half = ring.exchanges.len().div_ceil(2);
            let gone = ring.exchanges.drain(..half);
            self.held -= gone.map(|exchange| exchange.held()).sum::<usize>();
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// A worker may write anything: its texts are cut and freed of controls, and nothing is in the future.
    fn cleaned(self, now: SystemTime) -> Self {
        Self {
            time: self.time.min(now),
            method: clean(&self.method, WORD),
            path: clean(&self.path, PATH),
            protocol: clean(&self.protocol, WORD),
            ..self
        }
    }

    /// Bytes that keeping it costs.
    fn held(&self) -> usize {
        size_of::<Self>() + self.method.len() + self.path.len() + self.protocol.len()
    }
}

// === impl HttpRing ===

impl HttpRing {
    /// Adds one; returns what the one that had to leave held.
    fn push(&mut self, exchange: Exchange) -> usize {
        self.total = self.total.saturating_add(1);
        let class = usize::from(exchange.status / 100).checked_sub(1);
        if let Some(count) = class.and_then(|class| self.classes.get_mut(class)) {
            *count = count.saturating_add(1);
        }
        let left = if self.exchanges.len() >= PER_FORWARD {
            self.exchanges.pop_front()
        } else {
            None
        };
        self.exchanges.push_back(exchange);
        left.map_or(0, |exchange| exchange.held())
    }

    fn held(&self) -> usize {
        self.exchanges.iter().map(Exchange::held).sum()
    }
}

#[cfg(test)]
mod tests;
