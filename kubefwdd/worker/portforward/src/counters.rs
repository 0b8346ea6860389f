//! Counters of forwarded traffic: written on the data path with relaxed atomics, read from anywhere.

use std::time::Duration;

use crate::sync::{AtomicU64, Relaxed};

/// The counters of one forward. They outlive pods and connections: the owner keeps them for as long as the forward exists.
#[derive(Debug, Default)]
pub struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    opened: AtomicU64,
    failed: AtomicU64,
    active: AtomicU64,
    replayed: AtomicU64,
    answered: AtomicU64,
    first_byte_micros: AtomicU64,
}

/// The values of [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// Bytes from the pod to local clients.
    pub bytes_in: u64,
    /// Bytes from local clients to the pod.
    pub bytes_out: u64,
    /// Accepted local connections.
    pub opened: u64,
    /// Local connections that were reset because of an error on our side of the pod.
    pub failed: u64,
    /// Local connections that are open now.
    pub active: u64,
    /// Times that a connection was moved to another pod before the first one had answered.
    pub replayed: u64,
    /// Connections on which the pod sent at least one byte.
    pub answered: u64,
    /// Sum over those of the time from accept to the first byte of the pod.
    pub first_byte_total: Duration,
}

impl Counters {
    /// The current values. They are read one by one, so sums over several of them may be slightly off.
    pub fn values(&self) -> CounterValues {
        CounterValues {
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            opened: self.opened.load(Relaxed),
            failed: self.failed.load(Relaxed),
            active: self.active.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            answered: self.answered.load(Relaxed),
            first_byte_total: Duration::from_micros(self.first_byte_micros.load(Relaxed)),
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn replayed(&self) {
        self.replayed.fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.answered.fetch_add(1, Relaxed);
        self.first_byte_micros
            .fetch_add(after.as_micros() as u64, Relaxed);
    }
}

/// One open connection of a forward, counted for as long as this value lives.
pub(crate) struct Active<'a>(&'a Counters);

impl<'a> Active<'a> {
    pub(crate) fn new(counters: &'a Counters) -> Self {
        counters.opened.fetch_add(1, Relaxed);
        counters.active.fetch_add(1, Relaxed);
        Self(counters)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}
