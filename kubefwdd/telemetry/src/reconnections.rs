//! Reopened tunnels: why, in how many attempts, how long it took. A ring for each user.

use std::time::{Duration, SystemTime};

use kubefwd_model::text::clean;
use kubefwd_model::{ServiceKey, Trigger, Uid};
use parking_lot::Mutex;

use super::rings::{Record, Rings};

/// Reconnections kept for each user.
pub const PER_USER: usize = 200;
/// The longest text that is kept of an error, bytes.
const TEXT: usize = 4_096;

/// One reconnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnection {
    /// Grows with every reconnection of any user.
    pub id: u64,
    /// When it was over.
    pub time: SystemTime,
    /// Of which service.
    pub service: ServiceKey,
    /// Why it was done.
    pub trigger: Trigger,
    /// Number of attempts.
    pub attempts: u32,
    /// From the first attempt to the last.
    pub duration: Duration,
    /// Why it did not work; `None` when it did.
    pub error: Option<String>,
}

/// The reconnections of everybody.
#[derive(Default)]
pub struct Reconnections {
    rings: Mutex<Rings<Reconnection>>,
}

impl Record for Reconnection {
    fn id(&self) -> u64 {
        self.id
    }
}

// === impl Reconnections ===

impl Reconnections {
    /// Keeps one; its id is given here. Workers are not trusted: the text is cut and freed of controls.
    pub fn record(&self, one: Reconnection) {
        let mut rings = self.rings.lock();
        let id = rings.next_id();
        let ring = rings.of(one.service.uid);
        if ring.len() >= PER_USER {
            ring.pop_front();
        }
        ring.push_back(Reconnection {
            id,
            error: one.error.map(|error| clean(&error, TEXT)),
            ..one
        });
    }

    /// The newest of the users that `sees` lets through, newest first.
    pub fn newest(&self, limit: usize, sees: impl Fn(Uid) -> bool) -> Vec<Reconnection> {
        self.rings.lock().newest(limit, sees, |_| true)
    }

    /// The newest of one service, newest first.
    pub fn of(&self, service: &ServiceKey, limit: usize) -> Vec<Reconnection> {
        let own = |one: &Reconnection| one.service == *service;
        self.rings
            .lock()
            .newest(limit, |uid| uid == service.uid, own)
    }

    /// How many are kept of the users that `sees` lets through.
    pub fn count(&self, sees: impl Fn(Uid) -> bool) -> usize {
        self.rings.lock().count(sees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconnection(uid: u32, service: &str, error: Option<&str>) -> Reconnection {
        let key = kubefwd_core::samples::service(uid.into(), service, "shop", "kind").key;
        Reconnection {
            id: 0,
            time: SystemTime::now(),
            service: key,
            trigger: Trigger::Auto,
            attempts: 2,
            duration: Duration::ZERO,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn each_user_has_a_bounded_ring() {
        let log = Reconnections::default();
        log.record(reconnection(1, "api", None));
        for _ in 0..2 * PER_USER {
            log.record(reconnection(2, "db", Some("refused\u{1b}[0m")));
        }
        assert_eq!(log.count(|_| true), PER_USER + 1);
        let own = log.newest(10, |uid| uid == 1.into());
        assert_eq!((own.len(), &own[0].error), (1, &None));
        let newest = log.of(&log.newest(1, |uid| uid == 2.into())[0].service, 3);
        assert!(newest.len() == 3 && newest[0].id > newest[1].id);
        assert_eq!(newest[0].error.as_deref(), Some("refused [0m"));
    }
}
