//! Totals, rates and histories of the services that ever moved a byte. A service that never did costs nothing here.
//!
//! Totals outlive the forwards they were counted on: when a pod is replaced and its forward with it, the service keeps
//! what went through. Rates go by the clock that is never set, histories by the one that people read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kubefwd_model as model;
use kubefwd_model::ServiceKey;
use kubefwd_model::entry::{ForwardRates, Rates, Totals};
use parking_lot::{Mutex, MutexGuard};

use super::history::{Bucket, History};

/// The time that averages cover.
const AVERAGE: Duration = Duration::from_secs(10);
/// Counters come once a second; without any for so long the rate is zero.
const FRESH: Duration = Duration::from_millis(2_500);
/// A little more than [`AVERAGE`] at one a second.
const SAMPLES: usize = 12;

/// The meters of everything.
#[derive(Default)]
pub struct Meters {
    inner: Mutex<Inner>,
}

/// The meters at one moment, for as long as they are read; the owner of the state never waits for it.
pub struct Reading<'a> {
    inner: MutexGuard<'a, Inner>,
    now: SystemTime,
    running: Instant,
}

#[derive(Default)]
struct Inner {
    services: HashMap<ServiceKey, Box<ServiceMeter>>,
    /// The hour in which memory was last given back.
    pruned: u64,
}

#[derive(Default)]
struct ServiceMeter {
    /// The counters of forwards that are gone.
    retired: Totals,
    forwards: BTreeMap<Place, ForwardMeter>,
    history: History,
}

/// Where a forward listens: stays the same when its pod is replaced.
type Place = (Ipv4Addr, u16);

#[derive(Default)]
struct ForwardMeter {
    /// The totals before the oldest sample.
    base: Totals,
    /// Oldest first, each with other totals than the one before.
    samples: VecDeque<(Instant, Totals)>,
}

// === impl Meters ===

impl Meters {
    /// Takes the counters of a service.
    pub fn sample(&self, service: &model::Service, now: SystemTime) {
        self.sample_at(service, now, Instant::now());
    }

    fn sample_at(&self, service: &model::Service, now: SystemTime, running: Instant) {
        let mut inner = self.inner.lock();
        let moved = |forward: &model::Forward| Totals::from(forward) != Totals::default();
        if !inner.services.contains_key(&service.key) && !service.forwards.iter().any(moved) {
            return;
        }
        let second = seconds(now);
        inner.prune(second);
        let meter = inner.services.entry(service.key.clone()).or_default();
        let before = meter.totals();
        let is_gone = |at: &Place| !service.forwards.iter().any(|forward| place(forward) == *at);
        let gone: Vec<Place> = meter.forwards.keys().copied().filter(is_gone).collect();
        for place in gone {
            meter.retire(place);
        }
        for forward in &service.forwards {
            let (place, totals) = (place(forward), Totals::from(forward));
            let last = meter
                .forwards
                .get(&place)
                .map(ForwardMeter::last)
                .unwrap_or_default();
            if totals.bytes_in < last.bytes_in || totals.bytes_out < last.bytes_out {
                // Another forward at the same place, which counts from zero.
                meter.retire(place);
            }
            if totals != Totals::default() {
                meter
                    .forwards
                    .entry(place)
                    .or_default()
                    .push(running, totals);
            }
        }
        let moved = since(meter.totals(), before);
        if moved != Totals::default() {
            meter.history.add(second, moved.bytes_in, moved.bytes_out);
        }
    }

    /// Drops what is known of a service that is no longer forwarded.
    pub fn forget(&self, service: &ServiceKey) {
        self.inner.lock().services.remove(service);
    }

    /// Reads many meters at one moment.
    pub fn read(&self, now: SystemTime) -> Reading<'_> {
        self.read_at(now, Instant::now())
    }

    fn read_at(&self, now: SystemTime, running: Instant) -> Reading<'_> {
        Reading {
            inner: self.inner.lock(),
            now,
            running,
        }
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// All that a service moved, including forwards that are gone, and how fast it moves bytes now.
    pub fn service(&self, service: &model::Service) -> (Totals, Rates) {
        match self.inner.services.get(&service.key) {
            Some(meter) => {
                let each = meter
                    .forwards
                    .values()
                    .map(|forward| forward.rates(self.running).now);
                (meter.totals(), each.fold(Rates::default(), Rates::plus))
            }
            // A service without a meter never moved a byte, or did so a moment ago.
            None => {
                let each = service.forwards.iter().map(Totals::from);
                (each.fold(Totals::default(), Totals::plus), Rates::default())
            }
        }
    }

    /// How fast a forward moves bytes.
    pub fn forward_rates(&self, service: &ServiceKey, forward: &model::Forward) -> ForwardRates {
        let meter = self.inner.services.get(service);
        let meter = meter.and_then(|meter| meter.forwards.get(&place(forward)));
        meter
            .map(|meter| meter.rates(self.running))
            .unwrap_or_default()
    }

    /// What a service moved in the `count` steps of `step` seconds up to now, oldest first.
    pub fn history(&self, service: &ServiceKey, step: u64, count: u64) -> Vec<Bucket> {
        let now = seconds(self.now);
        match self.inner.services.get(service) {
            Some(meter) => meter.history.read(now, step, count),
            None => History::default().read(now, step, count),
        }
    }
}

// === impl Inner ===

impl Inner {
    fn prune(&mut self, second: u64) {
        let hour = second / 3_600;
        if std::mem::replace(&mut self.pruned, hour) != hour {
            for meter in self.services.values_mut() {
                meter.history.prune(second);
            }
        }
    }
}

// === impl ServiceMeter ===

impl ServiceMeter {
    fn totals(&self) -> Totals {
        self.forwards
            .values()
            .map(ForwardMeter::last)
            .fold(self.retired, Totals::plus)
    }

    fn retire(&mut self, place: Place) {
        if let Some(forward) = self.forwards.remove(&place) {
            self.retired = self.retired.plus(forward.last());
        }
    }
}

// === impl ForwardMeter ===

impl ForwardMeter {
    fn last(&self) -> Totals {
        self.samples.back().map_or(self.base, |(_, totals)| *totals)
    }

    fn push(&mut self, now: Instant, totals: Totals) {
        if totals == self.last() {
            return;
        }
        if self.samples.len() >= SAMPLES
            && let Some((_, oldest)) = self.samples.pop_front()
        {
            self.base = oldest;
        }
        self.samples.push_back((now, totals));
    }

    fn rates(&self, now: Instant) -> ForwardRates {
        let Some((at, last)) = self.samples.back() else {
            return ForwardRates::default();
        };
        let age = now.duration_since(*at);
        let mut rates = ForwardRates::default();
        if age <= FRESH {
            let before = self.samples.len().checked_sub(2).map(|n| self.samples[n]);
            let (moved, took) = match before {
                Some((then, before)) => (since(*last, before), at.duration_since(then)),
                None => (since(*last, self.base), Duration::from_secs(1)),
            };
            // The counters come once a second: what came after a pause was moved in the last second, and two that came
            // close together are no burst.
            let took = took.clamp(Duration::from_secs(1), FRESH).as_secs_f64();
            rates.now.rate_in = moved.bytes_in as f64 / took;
            rates.now.rate_out = moved.bytes_out as f64 / took;
        }
        let is_old = |at: Instant| now.duration_since(at) >= AVERAGE;
        let before = self.samples.iter().rev().find(|(at, _)| is_old(*at));
        let moved = since(*last, before.map_or(self.base, |(_, totals)| *totals));
        rates.avg_rate_in = moved.bytes_in as f64 / AVERAGE.as_secs_f64();
        rates.avg_rate_out = moved.bytes_out as f64 / AVERAGE.as_secs_f64();
        rates
    }
}

/// What was moved since the counters were at `before`.
fn since(now: Totals, before: Totals) -> Totals {
    Totals {
        bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
        bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
    }
}

fn place(forward: &model::Forward) -> Place {
    (forward.address, forward.local_port)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests;
