//! A ring of things that happened, which any number of readers follow by id, without a queue of their own: the log of
//! events ([`EventLog`]), and the ring of log lines.
//!
//! A reader that is slower than the ring finds out that it missed some ([`Read::gap`]); it costs the writer nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use kubefwd_model::Event;
use parking_lot::Mutex;
use tokio::sync::watch;

/// An event with its place in the log.
#[derive(Clone, Debug)]
pub struct Logged<T = Event> {
    /// Grows by one with every event; starts with 1.
    pub id: u64,
    /// What happened.
    pub event: T,
}

/// What happened to namespaces, services, forwards and pods.
pub type EventLog = Ring<Event>;

/// Events of any sort, newest last, of which the oldest are forgotten.
pub struct Ring<T> {
    ring: Mutex<VecDeque<Arc<Logged<T>>>>,
    capacity: usize,
    newest: watch::Sender<u64>,
}

/// What a reader finds after the id it last saw.
#[derive(Clone, Debug)]
pub struct Read<T = Event> {
    /// Events after that id that are no longer kept.
    pub gap: bool,
    /// The events, oldest first.
    pub events: Vec<Arc<Logged<T>>>,
}

// === impl Ring ===

impl<T> Ring<T> {
    /// An empty log that keeps the newest `capacity` events.
    pub fn new(capacity: usize) -> Self {
        Self {
            ring: Mutex::new(VecDeque::new()),
            capacity,
            newest: watch::Sender::new(0),
        }
    }

    /// Adds an event.
    pub fn push(&self, event: T) {
        let mut ring = self.ring.lock();
        // Only here does the newest id change, and only under this lock.
        let id = *self.newest.borrow() + 1;
        if ring.len() >= self.capacity {
            ring.pop_front();
        }
        ring.push_back(Arc::new(Logged { id, event }));
        self.newest.send_replace(id);
    }

    /// The events after `id`, at most `limit` of them.
    pub fn after(&self, id: u64, limit: usize) -> Read<T> {
        let ring = self.ring.lock();
        let start = ring.partition_point(|logged| logged.id <= id);
        let first_kept = ring
            .front()
            .map_or(*self.newest.borrow() + 1, |first| first.id);
        Read {
            gap: first_kept > id.saturating_add(1),
            events: ring.iter().skip(start).take(limit).cloned().collect(),
        }
    }

    /// The newest `limit` events that `wanted` lets through, newest first.
    pub fn newest_where(
        &self,
        limit: usize,
        wanted: impl Fn(&Logged<T>) -> bool,
    ) -> Vec<Arc<Logged<T>>> {
        let ring = self.ring.lock();
        ring.iter()
            .rev()
            .filter(|logged| wanted(logged))
            .take(limit)
            .cloned()
            .collect()
    }

    /// How many of the kept events `wanted` lets through.
    pub fn count_where(&self, wanted: impl Fn(&Logged<T>) -> bool) -> usize {
        let ring = self.ring.lock();
        ring.iter().filter(|logged| wanted(logged)).count()
    }

    /// The id of the newest event; changes when one is added.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// How many events there ever were, and how many can be kept.
    pub fn totals(&self) -> (u64, usize) {
        (*self.newest.borrow(), self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use kubefwd_model::{ContextName, EventKind, NamespaceKey, NamespaceName};

    use super::*;

    fn event(message: usize) -> Event {
        let namespace = NamespaceKey {
            uid: 1.into(),
            context: ContextName::parse("c").unwrap(),
            namespace: NamespaceName::parse("n").unwrap(),
        };
        Event {
            time: SystemTime::UNIX_EPOCH.into(),
            kind: EventKind::NamespaceAdded,
            uid: 1.into(),
            namespace,
            service: None,
            forward: None,
            pod: None,
            message: message.to_string(),
        }
    }

    #[test]
    fn a_reader_sees_each_event_once_and_learns_of_a_gap() {
        let log = EventLog::new(3);
        for n in 1..=3 {
            log.push(event(n));
        }
        let read = log.after(1, 10);
        assert!(!read.gap);
        assert_eq!(read.events.iter().map(|e| e.id).collect::<Vec<_>>(), [2, 3]);
        for n in 4..=8 {
            log.push(event(n));
        }
        let read = log.after(3, 2);
        assert!(read.gap);
        assert_eq!(read.events.iter().map(|e| e.id).collect::<Vec<_>>(), [6, 7]);
        assert_eq!(log.newest_where(2, |_| true)[0].event.message, "8");
        assert_eq!(log.totals(), (8, 3));
    }

    #[test]
    fn the_newest_are_chosen() {
        let log = EventLog::new(5);
        for n in 1..=4 {
            log.push(event(n));
        }
        let even = |logged: &Logged| logged.id % 2 == 0;
        let ids: Vec<u64> = log
            .newest_where(1, even)
            .iter()
            .map(|logged| logged.id)
            .collect();
        assert_eq!((ids, log.count_where(even)), (vec![4], 2));
    }

    #[tokio::test]
    async fn a_subscriber_is_woken() {
        let log = EventLog::new(3);
        let mut newest = log.subscribe();
        log.push(event(1));
        newest.changed().await.unwrap();
        assert_eq!(*newest.borrow(), 1);
    }
}
