//! Who is at the other end of a connection, found from the kernel and never from what it says.
//!
//! A user's name, groups and home are looked up when asked for: joining the group takes effect
//! within a second. The look-ups may ask a directory server, so they run aside.

#[cfg(any(test, target_os = "macos"))]
mod pcblist;
#[cfg_attr(target_os = "linux", path = "peer/tcp_linux.rs")]
#[cfg_attr(target_os = "macos", path = "peer/tcp_macos.rs")]
mod tcp;
mod users;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use kubefwd_core::policy::{Actor, GROUP, User, Via};
use kubefwd_model::Uid;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

pub(crate) use users::{LookupError, account, groups, is_member};

/// The uid of the process behind a TCP connection from this machine: `peer` is its address,
/// `local` ours. `None` where the kernel has no open socket of a process for it.
///
/// Ask when the connection is accepted and again before something is changed: a peer that has
/// closed its socket is nobody.
pub(crate) async fn tcp_owner(peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
    spawn_blocking(move || tcp::owner(canonical(peer), canonical(local)))
        .await
        .ok()
        .flatten()
}

/// The actor that has this uid. A uid that the user database does not know is an actor all the
/// same: without a name, and a member of nothing.
pub(crate) async fn actor(uid: Uid, via: Via) -> Actor {
    let known = KNOWN.lock().get(&uid).cloned();
    let user = match known.filter(|known| known.at.elapsed() < CACHED) {
        Some(known) => known.user,
        None => look_up(uid).await,
    };
    Actor {
        user: Some(user),
        via,
    }
}

/// Users are looked up once a second at most: whoever asks without a pause does not occupy the user database.
const CACHED: Duration = Duration::from_secs(1);
/// Users that are remembered for so long; of more, none is.
const MAX_KNOWN: usize = 1_024;
/// Look-ups at a time. The threads that wait for them also write the hosts file and the state.
static LOOK_UPS: Semaphore = Semaphore::const_new(8);
static KNOWN: LazyLock<Mutex<HashMap<Uid, Known>>> = LazyLock::new(Mutex::default);

#[derive(Clone)]
struct Known {
    user: User,
    at: Instant,
}

async fn look_up(uid: Uid) -> User {
    // The semaphore is never closed.
    let _permit = LOOK_UPS.acquire().await;
    let found = spawn_blocking(move || user(uid)).await;
    let user = found.unwrap_or_else(|_| nameless(uid));
    let mut known = KNOWN.lock();
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    let at = Instant::now();
    known.insert(
        uid,
        Known {
            user: user.clone(),
            at,
        },
    );
    user
}

/// The user database changed: who was looked up is looked up again.
pub(crate) fn forget_users() {
    KNOWN.lock().clear();
}

/// Whether the group has members beside root. A database that does not answer could have some.
pub(crate) async fn group_has_members() -> bool {
    let found = spawn_blocking(|| kubefwd_os::groups::has_members(GROUP)).await;
    match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot look up the members of group {GROUP}, assuming some");
            true
        }
        Err(_) => true,
    }
}

fn user(uid: Uid) -> User {
    match account(uid) {
        Ok(account) => {
            let member = is_member(&account, GROUP).unwrap_or_else(|error| {
                tracing::warn!(%error, "group membership unknown, assuming none");
                false
            });
            User {
                uid,
                gid: account.gid.as_raw(),
                name: Some(account.name),
                member,
            }
        }
        Err(error) => {
            tracing::debug!(%error, "a peer without a user name");
            nameless(uid)
        }
    }
}

/// A user that the database does not know.
fn nameless(uid: Uid) -> User {
    User {
        uid,
        gid: uid.get(),
        name: None,
        member: false,
    }
}

/// A connection over IPv4 is the same one when the listener is an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubefwd_core::policy::{Verb, authorize};

    #[tokio::test]
    async fn a_tcp_peer_is_who_runs_this_test_while_it_is_open() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let client = tokio::net::TcpStream::connect(local).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        let uid = Uid::new(nix::unistd::getuid().as_raw());
        assert_eq!(tcp_owner(peer, local).await, Some(uid));
        drop(client);
        // The server has not read the end yet, and its own row would say ESTABLISHED for longer.
        server.readable().await.unwrap();
        assert_eq!(
            tcp_owner(peer, local).await,
            None,
            "FIN_WAIT2 looks like root"
        );
    }

    #[tokio::test]
    async fn an_unknown_uid_is_nobody_in_particular() {
        let actor = actor(4_000_000_123.into(), Via::UnixSocket).await;
        assert_eq!(actor.uid(), Some(Uid::new(4_000_000_123)));
        assert!(authorize(&actor, Verb::Observe, None).is_err());
    }
}
