//! Tunnels that were opened anew: why, how often it was tried, how long it took. A ring for each user.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use kubefwd_model::{ContextName, NamespaceName, ServiceKey, ServiceName, Trigger, Uid};
use kubefwd_proto::{convert::system_time, worker::v1 as wire};

use super::rings::{Record, Rings};

use kubefwd_model::text::clean;

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
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took.
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
    /// A worker reconnected. What names no service is dropped: workers are not trusted.
    pub fn reported(&self, uid: Uid, report: &wire::ReconnectedReport) {
        let Some(service) = report
            .service
            .as_ref()
            .and_then(|service| key(uid, service))
        else {
            return;
        };
        let mut rings = self.rings();
        let id = rings.next_id();
        let ring = rings.of(uid);
        if ring.len() >= PER_USER {
            ring.pop_front();
        }
        ring.push_back(Reconnection {
            id,
            time: report
                .time
                .as_ref()
                .map_or_else(SystemTime::now, system_time),
            service,
            trigger: match (report.automatic, report.resync) {
                (true, _) => Trigger::Auto,
                (false, true) => Trigger::Sync,
                (false, false) => Trigger::Manual,
            },
            attempts: report.attempts,
            duration: Duration::from_millis(report.duration_ms),
            error: Some(clean(&report.error, TEXT)).filter(|error| !error.is_empty()),
        });
    }

    /// The newest of the users that `sees` lets through, newest first.
    pub fn newest(&self, limit: usize, sees: impl Fn(Uid) -> bool) -> Vec<Reconnection> {
        self.rings().newest(limit, sees, |_| true)
    }

    /// The newest of one service, newest first.
    pub fn of(&self, service: &ServiceKey, limit: usize) -> Vec<Reconnection> {
        let own = |one: &Reconnection| one.service == *service;
        self.rings().newest(limit, |uid| uid == service.uid, own)
    }

    /// How many are kept of the users that `sees` lets through.
    pub fn count(&self, sees: impl Fn(Uid) -> bool) -> usize {
        self.rings().count(sees)
    }

    fn rings(&self) -> MutexGuard<'_, Rings<Reconnection>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(uid: Uid, service: &wire::ServiceRef) -> Option<ServiceKey> {
    Some(ServiceKey {
        uid,
        context: ContextName::parse(&service.context).ok()?,
        namespace: NamespaceName::parse(&service.namespace).ok()?,
        service: ServiceName::parse(&service.service).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(service: &str, error: &str) -> wire::ReconnectedReport {
        wire::ReconnectedReport {
            service: Some(wire::ServiceRef {
                context: "kind".to_owned(),
                namespace: "shop".to_owned(),
                service: service.to_owned(),
            }),
            attempts: 2,
            error: error.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn each_user_has_a_bounded_ring() {
        let log = Reconnections::default();
        log.reported(1.into(), &report("api", ""));
        for _ in 0..2 * PER_USER {
            log.reported(2.into(), &report("db", "refused\u{1b}[0m"));
        }
        log.reported(2.into(), &report("not a name", ""));
        assert_eq!(log.count(|_| true), PER_USER + 1);
        let own = log.newest(10, |uid| uid == 1.into());
        assert_eq!((own.len(), &own[0].error), (1, &None));
        let newest = log.of(&log.newest(1, |uid| uid == 2.into())[0].service, 3);
        assert!(newest.len() == 3 && newest[0].id > newest[1].id);
        assert_eq!(newest[0].error.as_deref(), Some("refused [0m"));
    }
}
