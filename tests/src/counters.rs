//! Counts of everything the cluster was asked to do, for assertions and benchmarks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// What the cluster has seen since it started (or since the last [reset](crate::Cluster::reset_counters)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// TCP connections accepted by the API server.
    pub connections: u64,
    /// Of these, open now.
    pub connections_open: u64,
    /// TLS handshakes that failed.
    pub tls_failures: u64,
    /// Requests by `METHOD resource[/subresource]` or `METHOD /path`, watches as `WATCH resource`.
    pub requests: BTreeMap<String, u64>,
    /// Answers by status code.
    pub answers: BTreeMap<u16, u64>,
    /// Watches open now.
    pub watches_open: u64,
    /// Port-forward upgrades over classic SPDY.
    pub upgrades_spdy: u64,
    /// Port-forward upgrades over the WebSocket tunnel.
    pub upgrades_tunnel: u64,
    /// Port-forward upgrades over `v4.channel.k8s.io`.
    pub upgrades_v4: u64,
    /// Upgraded connections open now.
    pub upgraded_open: u64,
    /// The most upgraded connections that were open at once.
    pub upgraded_peak: u64,
    /// SPDY streams opened by clients.
    pub streams: u64,
    /// SPDY streams refused with RST_STREAM.
    pub streams_refused: u64,
    /// SPDY PINGs received.
    pub pings: u64,
    /// Connections to applications.
    pub dials: u64,
    /// Connections to applications that failed.
    pub dial_failures: u64,
    /// Connections to applications open now.
    pub dials_open: u64,
    /// Bytes from clients to applications.
    pub bytes_up: u64,
    /// Bytes from applications to clients.
    pub bytes_down: u64,
    /// Data frames that came for a stream nobody reads any more and stall their worker for good.
    pub wedged_workers: u64,
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(self)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lowers its gauge when dropped.
pub(crate) struct Entered<'a>(&'a Gauge);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live counters behind [`Counts`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) connections_open: Gauge,
    pub(crate) tls_failures: Counter,
    pub(crate) watches_open: Gauge,
    pub(crate) upgrades_spdy: Counter,
    pub(crate) upgrades_tunnel: Counter,
    pub(crate) upgrades_v4: Counter,
    pub(crate) upgraded_open: Gauge,
    upgraded_peak: AtomicU64,
    pub(crate) streams: Counter,
    pub(crate) streams_refused: Counter,
    pub(crate) pings: Counter,
    pub(crate) dials: Counter,
    pub(crate) dial_failures: Counter,
    pub(crate) dials_open: Gauge,
    pub(crate) bytes_up: Counter,
    pub(crate) bytes_down: Counter,
    pub(crate) wedged_workers: Counter,
    requests: Mutex<BTreeMap<String, u64>>,
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    pub(crate) fn request(&self, what: String) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(what).or_default() += 1;
    }

    pub(crate) fn answer(&self, code: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(code).or_default() += 1;
    }

    pub(crate) fn enter_upgraded(&self) -> Entered<'_> {
        let entered = self.upgraded_open.enter();
        self.upgraded_peak
            .fetch_max(self.upgraded_open.get(), Ordering::Relaxed);
        entered
    }

    pub(crate) fn snapshot(&self) -> Counts {
        Counts {
            connections: self.connections.get(),
            connections_open: self.connections_open.get(),
            tls_failures: self.tls_failures.get(),
            requests: self
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            answers: self
                .answers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            watches_open: self.watches_open.get(),
            upgrades_spdy: self.upgrades_spdy.get(),
            upgrades_tunnel: self.upgrades_tunnel.get(),
            upgrades_v4: self.upgrades_v4.get(),
            upgraded_open: self.upgraded_open.get(),
            upgraded_peak: self.upgraded_peak.load(Ordering::Relaxed),
            streams: self.streams.get(),
            streams_refused: self.streams_refused.get(),
            pings: self.pings.get(),
            dials: self.dials.get(),
            dial_failures: self.dial_failures.get(),
            dials_open: self.dials_open.get(),
            bytes_up: self.bytes_up.get(),
            bytes_down: self.bytes_down.get(),
            wedged_workers: self.wedged_workers.get(),
        }
    }

    /// Sets all but the gauges to zero.
    pub(crate) fn reset(&self) {
        for counter in [
            &self.connections,
            &self.tls_failures,
            &self.upgrades_spdy,
            &self.upgrades_tunnel,
            &self.upgrades_v4,
            &self.streams,
            &self.streams_refused,
            &self.pings,
            &self.dials,
            &self.dial_failures,
            &self.bytes_up,
            &self.bytes_down,
            &self.wedged_workers,
        ] {
            counter.0.store(0, Ordering::Relaxed);
        }
        self.upgraded_peak
            .store(self.upgraded_open.get(), Ordering::Relaxed);
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
