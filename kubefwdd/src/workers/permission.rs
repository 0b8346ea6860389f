//! Whether a user may have a worker: asked before each start, when the list of groups changes, and once a minute, since
//! members may also come from a directory server. A user who left the group, or whose account has expired, has none.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kubefwd_core::policy::GROUP;
use kubefwd_model::Uid;
use nix::unistd::geteuid;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Workers;
use crate::file_watch::FileWatch;
use crate::{peer, sys};

const GROUPS: &str = "/etc/group";
/// How often the user database is asked where nothing announces a change.
const INTERVAL: Duration = Duration::from_secs(60);

/// Why this user may not have a worker; `None` when the user may.
pub(super) async fn denied(uid: Uid) -> Option<String> {
    // What cannot be looked up is decided as before: a directory server that is away ends nobody's forwards.
    spawn_blocking(move || check(uid)).await.ok().flatten()
}

fn check(uid: Uid) -> Option<String> {
    if uid.is_root() || uid.get() == geteuid().as_raw() {
        return None;
    }
    let account = match peer::account(uid) {
        Ok(account) => account,
        Err(peer::LookupError::NoUser(_)) => return Some(format!("there is no user {uid}")),
        Err(error) => {
            tracing::warn!(%error, "cannot look up whether a user may still forward");
            return None;
        }
    };
    let name = &account.name;
    if sys::is_expired(name) {
        return Some(format!("the account of {name} has expired"));
    }
    match peer::is_member(&account, GROUP) {
        Ok(true) => None,
        Ok(false) => Some(format!("{name} is not in group {GROUP}")),
        Err(error) => {
            tracing::warn!(%error, "cannot look up whether a user may still forward");
            None
        }
    }
}

/// Waits until this user may not have a worker, and says why. `groups` has seen what was decided on last.
pub(super) async fn lost(groups: &mut watch::Receiver<()>, uid: Uid) -> String {
    loop {
        changed(groups).await;
        if let Some(why) = denied(uid).await {
            return why;
        }
    }
}

/// Waits until it is worth asking again.
pub(super) async fn changed(groups: &mut watch::Receiver<()>) {
    let _ = timeout(INTERVAL, groups.changed()).await;
}

impl Workers {
    /// Notices changes of the list of groups until the workers stop.
    pub(crate) async fn watch_groups(self: Arc<Self>) {
        let mut file = FileWatch::new(Path::new(GROUPS));
        let watching = async {
            loop {
                file.look_again().await;
                peer::forget_users();
                self.groups.send_replace(());
            }
        };
        self.stop.run_until_cancelled(watching).await;
    }
}
