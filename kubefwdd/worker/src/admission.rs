//! Who may connect to the forwarded ports, if the daemon limits that: this user, root, and members of a group. Others are
//! reset and reported.
//!
//! The kernel's socket table tells whose connection it is: an open socket has an inode and the uid of its creator; a closed
//! one has no inode (and uid 0, which must not be taken for root).

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use kubefwd_os::{groups, peer};
use kubefwd_proto::worker::v1::Refused;
use kubefwd_proto::worker::v1::from_worker::Frame;
use nix::unistd::{Uid, User, getuid};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::outbox::{Closed, Outbox};

/// Refused connections are reported together.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Users and listeners that one report tells apart; the rest are counted as unknown.
const MAX_ENTRIES: usize = 256;

/// The rule, and the connections that it refused.
#[derive(Default)]
pub(crate) struct Admission {
    /// The group that may connect; `None` if everyone may.
    group: Mutex<Option<String>>,
    refused: Mutex<HashMap<(u64, Option<u32>), u64>>,
    nonempty: Notify,
}

impl Admission {
    /// Sets the rule for new connections.
    pub(crate) fn set(&self, limited: bool, group: String) {
        *self.group.lock() = limited.then_some(group);
    }

    /// Whether a connection is allowed; one that is not is counted.
    pub(crate) async fn admits(&self, listener: u64, local: &TcpStream) -> bool {
        let Some(group) = self.group.lock().clone() else {
            return true;
        };
        let owner = owner(local);
        let is_let_in = match owner {
            None => false,
            Some(uid) if uid == 0 || uid == getuid().as_raw() => true,
            Some(uid) => looked_up(uid, group).await,
        };
        if !is_let_in {
            self.count(listener, owner);
        }
        is_let_in
    }

    fn count(&self, listener: u64, owner: Option<u32>) {
        let mut refused = self.refused.lock();
        let full = refused.len() >= MAX_ENTRIES && !refused.contains_key(&(listener, owner));
        let key = (listener, owner.filter(|_| !full));
        *refused.entry(key).or_default() += 1;
        drop(refused);
        self.nonempty.notify_one();
    }
}

/// Reports refused connections to the daemon.
///
/// # Errors
/// When the channel to the daemon has ended.
pub(crate) async fn report(admission: Arc<Admission>, outbox: Outbox) -> Result<(), Closed> {
    loop {
        admission.nonempty.notified().await;
        let refused = std::mem::take(&mut *admission.refused.lock());
        for ((listener, uid), count) in refused {
            let report = Refused {
                listener,
                uid,
                count,
            };
            outbox.send(Frame::Refused(report)).await?;
        }
        sleep(REPORT_INTERVAL).await;
    }
}

/// Looked up each time, so that joining and leaving the group take effect at once. The database may be slow.
async fn looked_up(uid: u32, group: String) -> bool {
    let answer = spawn_blocking(move || is_member(uid, &group)).await;
    answer.is_ok_and(|answer| {
        answer.unwrap_or_else(|error| {
            tracing::warn!(uid, %error, "cannot look up group membership, assuming none");
            false
        })
    })
}

fn is_member(uid: u32, group: &str) -> nix::Result<bool> {
    let Some(user) = User::from_uid(Uid::from_raw(uid))? else {
        return Ok(false);
    };
    Ok(groups::is_member(&user.name, user.gid, group)?.unwrap_or(false))
}

/// The user whose process connected.
fn owner(local: &TcpStream) -> Option<u32> {
    peer::owner(local.local_addr().ok()?, local.peer_addr().ok()?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn own_connections_come_in_and_orphans_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let admission = Admission::default();
        admission.set(true, "no-such-group-here".to_owned());
        let client = TcpStream::connect(address).unwrap();
        let (local, _) = listener.accept().unwrap();
        assert!(admission.admits(7, &local).await);
        // Half-closed is still open.
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(admission.admits(7, &local).await);
        drop(client);
        assert!(!admission.admits(7, &local).await);
        assert!(!admission.admits(7, &local).await);
        assert_eq!(*admission.refused.lock(), HashMap::from([((7, None), 2)]));
        admission.set(false, String::new());
        assert!(admission.admits(7, &local).await);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let admission = Admission::default();
        for uid in 0..10_000 {
            admission.count(1, Some(uid));
        }
        let refused = admission.refused.lock();
        assert!(refused.len() <= MAX_ENTRIES + 1);
        assert_eq!(refused.values().sum::<u64>(), 10_000);
    }
}
