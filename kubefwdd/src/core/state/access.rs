//! Who may connect to the forwarded ports: told to the workers, who accept; and whom they refused.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::State;
use super::effect::Effect;
use super::keys::ListenerId;
use crate::core::policy::GROUP;

/// The users whose refused connections are remembered for each worker; of more, only the newest.
const STRANGERS: usize = 16;
/// A user who goes on trying is logged again after so long.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// A local user whose connections to a user's ports were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The port that was tried last: `service.namespace.context:port`.
    pub port: String,
    /// How many connections.
    pub count: u64,
    /// The last of them.
    pub last: SystemTime,
    /// When the log last spoke of it.
    logged: SystemTime,
}

/// By uid; `None` are connections whose user the kernel does not know (any more).
pub type Strangers = BTreeMap<Option<u32>, Stranger>;

impl State {
    /// Whether ports can be reached by their owner, root and the group only.
    pub fn is_access_limited(&self) -> bool {
        self.settings.access.is_limited(self.wishes.users.len())
    }

    /// Tells every worker when that changes.
    pub(super) fn settle_access(&mut self) {
        let limited = self.is_access_limited();
        if std::mem::replace(&mut self.access_limited, limited) == limited {
            return;
        }
        let workers = self.workers.keys();
        let tell = workers.map(|uid| Effect::LimitAccess { uid: *uid });
        self.effects.extend(tell);
        self.changed.view = true;
    }

    /// A worker refused connections at one of its user's ports. What it gives back is for the log.
    pub fn connections_refused(
        &mut self,
        uid: u32,
        listener: ListenerId,
        stranger: Option<u32>,
        count: u64,
        now: SystemTime,
    ) -> Option<String> {
        let (service, port) = self.listener_service(uid, listener)?;
        let worker = self.workers.get_mut(&uid)?;
        let port = format!("{service}:{port}");
        let known = worker
            .strangers
            .entry(stranger)
            .or_insert_with(|| Stranger {
                port: String::new(),
                count: 0,
                last: now,
                logged: SystemTime::UNIX_EPOCH,
            });
        known.count = known.count.saturating_add(count);
        known.last = now;
        known.port.clone_from(&port);
        let passed = now.duration_since(known.logged);
        let line = passed.is_ok_and(|passed| passed >= LOG_AGAIN).then(|| {
            known.logged = now;
            let who = shown(stranger);
            format!("a connection of {who} to {port} was refused: forwarded ports are for their owner, root and group {GROUP}")
        });
        if worker.strangers.len() > STRANGERS {
            let oldest = worker.strangers.iter().min_by_key(|(_, known)| known.last);
            if let Some(oldest) = oldest.map(|(stranger, _)| *stranger) {
                worker.strangers.remove(&oldest);
            }
        }
        self.changed.view = true;
        line
    }
}

/// Who a stranger is, as far as that is known.
pub fn shown(stranger: Option<u32>) -> String {
    match stranger {
        Some(uid) => format!("uid {uid}"),
        None => "an unknown user".to_owned(),
    }
}
