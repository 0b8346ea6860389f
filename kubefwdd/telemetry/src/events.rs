//! A ring of things that happened, which any number of readers follow by id, without a queue of their own: the log of
//! events ([`EventLog`]), and the ring of log lines.
//!
//! A reader that is slower than the ring finds out that it missed some ([`Read::gap`]); it costs the writer nothing.
//! A user who fills the ring pushes out what concerns that user, not what concerns others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kubefwd_model::{Event, Uid};
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

/// What concerns one user, or nobody in particular.
pub trait Concerns {
    /// The user.
    fn user(&self) -> Option<Uid>;
}

impl Concerns for Event {
    fn user(&self) -> Option<Uid> {
        Some(self.uid)
    }
}

/// Events of any sort, newest last. When it is full, the user with the most events loses the oldest of them.
pub struct Ring<T> {
    kept: Mutex<Kept<T>>,
    capacity: usize,
    newest: watch::Sender<u64>,
}

struct Kept<T> {
    events: VecDeque<Arc<Logged<T>>>,
    users: HashMap<Option<Uid>, Share>,
}

/// A user's part of the ring.
#[derive(Default)]
struct Share {
    events: usize,
    /// The newest event that is no longer kept; 0 when all are.
    forgotten: u64,
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

impl<T: Concerns> Ring<T> {
    /// An empty log that keeps `capacity` events.
    pub fn new(capacity: usize) -> Self {
        let kept = Kept {
            events: VecDeque::new(),
            users: HashMap::new(),
        };
        Self {
            kept: Mutex::new(kept),
            capacity,
            newest: watch::Sender::new(0),
        }
    }

    /// Adds an event.
    pub fn push(&self, event: T) {
        let mut kept = self.kept.lock();
        // Only here does the newest id change, and only under this lock.
        let id = *self.newest.borrow() + 1;
        if kept.events.len() >= self.capacity {
            kept.forget_one();
        }
        kept.users.entry(event.user()).or_default().events += 1;
        kept.events.push_back(Arc::new(Logged { id, event }));
        self.newest.send_replace(id);
    }

    /// The events after `id`, at most `limit` of them, for a reader to whom `sees` shows what concerns a user.
    pub fn after(&self, id: u64, limit: usize, sees: impl Fn(Option<Uid>) -> bool) -> Read<T> {
        let kept = self.kept.lock();
        let start = kept.events.partition_point(|logged| logged.id <= id);
        let missed = |(user, share): (&Option<Uid>, &Share)| share.forgotten > id && sees(*user);
        Read {
            gap: kept.users.iter().any(missed),
            events: kept
                .events
                .iter()
                .skip(start)
                .take(limit)
                .cloned()
                .collect(),
        }
    }

    /// The newest `limit` events that `wanted` lets through, newest first.
    pub fn newest_where(
        &self,
        limit: usize,
        wanted: impl Fn(&Logged<T>) -> bool,
    ) -> Vec<Arc<Logged<T>>> {
        let kept = self.kept.lock();
        kept.events
            .iter()
            .rev()
            .filter(|logged| wanted(logged))
            .take(limit)
            .cloned()
            .collect()
    }

    /// How many of the kept events `wanted` lets through.
    pub fn count_where(&self, wanted: impl Fn(&Logged<T>) -> bool) -> usize {
        let kept = self.kept.lock();
        kept.events.iter().filter(|logged| wanted(logged)).count()
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

// === impl Kept ===

impl<T: Concerns> Kept<T> {
    /// Forgets the oldest event of the user with the most.
    fn forget_one(&mut self) {
        let most = self.users.iter().max_by_key(|(_, share)| share.events);
        let Some(user) = most.map(|(user, _)| *user) else {
            return;
        };
        let oldest = self
            .events
            .iter()
            .position(|logged| logged.event.user() == user);
        if let Some(forgotten) = oldest.and_then(|oldest| self.events.remove(oldest))
            && let Some(share) = self.users.get_mut(&user)
        {
            share.events -= 1;
            share.forgotten = forgotten.id;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use kubefwd_model::{ContextName, EventKind, NamespaceKey, NamespaceName};

    use super::*;

    fn event(message: usize) -> Event {
        event_of(1, message)
    }

    fn event_of(uid: u32, message: usize) -> Event {
        let namespace = NamespaceKey {
            uid: uid.into(),
            context: ContextName::parse("c").unwrap(),
            namespace: NamespaceName::parse("n").unwrap(),
        };
        Event {
            time: SystemTime::UNIX_EPOCH.into(),
            kind: EventKind::NamespaceAdded,
            uid: uid.into(),
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
        let read = log.after(1, 10, |_| true);
        assert!(!read.gap);
        assert_eq!(read.events.iter().map(|e| e.id).collect::<Vec<_>>(), [2, 3]);
        for n in 4..=8 {
            log.push(event(n));
        }
        let read = log.after(3, 2, |_| true);
        assert!(read.gap);
        assert_eq!(read.events.iter().map(|e| e.id).collect::<Vec<_>>(), [6, 7]);
        assert_eq!(log.newest_where(2, |_| true)[0].event.message, "8");
        assert_eq!(log.totals(), (8, 3));
    }

    #[test]
    fn who_fills_the_log_pushes_out_nobody_else() {
        let log = EventLog::new(4);
        log.push(event_of(1, 1));
        for n in 2..=100 {
            log.push(event_of(2, n));
        }
        let sees = |user: u32| move |uid: Option<Uid>| uid == Some(user.into());
        let read = log.after(0, 10, sees(1));
        assert!(!read.gap, "all of the first user's is there");
        assert_eq!(read.events[0].event.message, "1");
        assert!(log.after(0, 10, sees(2)).gap);
        assert_eq!(read.events.len(), 4);
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
