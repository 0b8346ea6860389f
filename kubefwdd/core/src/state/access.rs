//! Who may connect to the forwarded ports: told to the workers, who accept; and whom they refused.

use std::time::{Duration, Instant, SystemTime};

use kubefwd_model::{ListenerId, Uid};

use super::State;
use super::effect::Effect;
use super::view::{DeniedPeer, WorkerView};

use crate::policy::GROUP;

/// The users whose refused connections are remembered for each worker; of more, only the newest.
const MAX_DENIED: usize = 16;
/// A user who goes on trying is logged again after so long.
const LOG_AGAIN: Duration = Duration::from_secs(60);

impl State {
    /// Whether ports can be reached by their owner, root and the group only.
    pub(super) fn is_access_limited(&self) -> bool {
        self.settings.access.is_limited(self.spec.users.len())
    }

    /// Tells every worker when that changes.
    pub(super) fn settle_access(&mut self) {
        let limited = self.is_access_limited();
        if std::mem::replace(&mut self.access_limited, limited) == limited {
            return;
        }
        let workers = self.workers.keys();
        let tell = workers.map(|uid| Effect::LimitAccess { uid: *uid, limited });
        self.effects.extend(tell);
        self.changed.view = true;
    }

    /// A worker refused connections at one of its user's ports. `now` is for people, `running` decides.
    pub(super) fn peer_denied(
        &mut self,
        uid: Uid,
        listener: ListenerId,
        peer: Option<Uid>,
        count: u64,
        (now, running): (SystemTime, Instant),
    ) {
        let Some(place) = self.port_ref(uid, listener) else {
            return;
        };
        let Some(WorkerView { denied, .. }) = self.workers.get_mut(&uid) else {
            return;
        };
        let port = format!("{}:{}", place.service, place.local_port);
        let known = denied.entry(peer).or_insert_with(|| DeniedPeer {
            port: String::new(),
            count: 0,
            last: now,
            seen: running,
            logged: None,
        });
        known.count = known.count.saturating_add(count);
        known.last = now;
        known.seen = running;
        known.port.clone_from(&port);
        let is_news = known
            .logged
            .is_none_or(|logged| running.duration_since(logged) >= LOG_AGAIN);
        if is_news {
            known.logged = Some(running);
            let who = shown(peer);
            let message = format!(
                "a connection of {who} to {port} was refused: forwarded ports are for their owner, root and group {GROUP}"
            );
            self.effects.push(Effect::Warn { uid, message });
        }
        if denied.len() > MAX_DENIED {
            let oldest = denied.iter().min_by_key(|(_, known)| known.seen);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                denied.remove(&oldest);
            }
        }
        self.changed.view = true;
    }
}

/// The user of a denied connection, as far as it is known.
pub fn shown(peer: Option<Uid>) -> String {
    match peer {
        Some(uid) => format!("uid {uid}"),
        None => "an unknown user".to_owned(),
    }
}
