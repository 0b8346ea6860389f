//! Listeners that outlive this process: the service manager keeps a descriptor of each, and the next daemon gets them.
//!
//! store --latest change per address--> [`FdStore::run`] --FDSTORE, FDSTOREREMOVE--> service manager
//!
//! A connection that is made while no daemon runs waits in the listener's queue and is not refused (sd_notify(3),
//! systemd.service(5) under `FileDescriptorStoreMax=`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;

use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// As many as can come back: their names reach the next daemon in one environment variable, which the kernel limits to
/// 128 KiB, and a name takes 13 bytes. `FileDescriptorStoreMax=` of the unit says the same.
const MOST: usize = 10_000;

/// Takes note of listeners that are to be kept. Cheap to clone; does nothing without a service manager.
#[derive(Clone)]
pub(crate) struct FdStore {
    shared: Option<Arc<Shared>>,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    /// What the service manager has, or is about to have.
    kept: BTreeSet<SocketAddrV4>,
    /// What it has not been told yet.
    untold: BTreeMap<SocketAddrV4, Change>,
    overflowed: bool,
}

/// What became of an address: first what was kept there goes, then what is there now comes.
#[derive(Default)]
struct Change {
    remove: bool,
    store: Option<Arc<TcpListener>>,
}

// === impl FdStore ===

impl FdStore {
    /// `inherited` says what the service manager has already.
    pub(crate) fn new(inherited: impl IntoIterator<Item = SocketAddrV4>) -> Self {
        let shared = std::env::var_os("NOTIFY_SOCKET").map(|_| {
            let inner = Inner {
                kept: inherited.into_iter().collect(),
                ..Inner::default()
            };
            Arc::new(Shared {
                inner: Mutex::new(inner),
                changed: Notify::new(),
            })
        });
        Self { shared }
    }

    /// Whether anything can be kept at all.
    pub(crate) fn is_available(&self) -> bool {
        self.shared.is_some()
    }

    /// Keeps a listener, unless it is kept already.
    pub(crate) fn keep(&self, address: SocketAddrV4, listener: &Arc<TcpListener>) {
        let Some(shared) = &self.shared else { return };
        let mut inner = shared.inner.lock();
        if inner.kept.contains(&address) {
            return;
        }
        if inner.kept.len() >= MOST {
            if !std::mem::replace(&mut inner.overflowed, true) {
                tracing::warn!(
                    "more than {MOST} ports: the rest are closed while the daemon restarts"
                );
            }
            return;
        }
        inner.kept.insert(address);
        inner.untold.entry(address).or_default().store = Some(listener.clone());
        drop(inner);
        shared.changed.notify_one();
    }

    /// Stops keeping what listens there.
    pub(crate) fn forget(&self, address: SocketAddrV4) {
        let Some(shared) = &self.shared else { return };
        let mut inner = shared.inner.lock();
        if !inner.kept.remove(&address) {
            return;
        }
        let change = inner.untold.entry(address).or_default();
        change.remove = true;
        change.store = None;
        drop(inner);
        shared.changed.notify_one();
    }

    /// Tells the service manager until `stop`, and then what is left to tell.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Some(shared) = self.shared else { return };
        loop {
            let stopping = tokio::select! {
                () = shared.changed.notified() => false,
                () = stop.cancelled() => true,
            };
            let untold = std::mem::take(&mut shared.inner.lock().untold);
            // The service manager may be slow to read: its socket blocks then, and the owner must not.
            let told = spawn_blocking(move || untold.into_iter().try_for_each(tell)).await;
            if let Ok(Err(error)) = told {
                tracing::warn!(%error, "cannot store listeners with the service manager: ports are closed while the daemon restarts");
            }
            if stopping {
                return;
            }
        }
    }
}

fn tell((address, change): (SocketAddrV4, Change)) -> io::Result<()> {
    let name = name(address);
    if change.remove {
        sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)])?;
    }
    match change.store {
        Some(listener) => sd_notify::notify_with_fds(
            &[NotifyState::FdStore, NotifyState::FdName(&name)],
            &[listener.as_fd()],
        ),
        None => Ok(()),
    }
}

/// Address and port in hexadecimal: as short as it can be, see [`MOST`].
fn name(address: SocketAddrV4) -> String {
    format!("{:08x}{:04x}", address.ip().to_bits(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn with_manager() -> FdStore {
        FdStore {
            shared: Some(Arc::default()),
        }
    }

    fn untold(keeper: &FdStore) -> Vec<(SocketAddrV4, bool, bool)> {
        let shared = keeper.shared.as_ref().unwrap();
        let untold = std::mem::take(&mut shared.inner.lock().untold);
        let shown = untold.into_iter();
        shown
            .map(|(address, change)| (address, change.remove, change.store.is_some()))
            .collect()
    }

    #[test]
    fn what_the_service_manager_is_told_is_the_difference() {
        let keeper = with_manager();
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let (a, b) = ("127.1.27.1:80", "127.1.27.2:5432");
        let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
        keeper.keep(a, &listener);
        keeper.keep(b, &listener);
        keeper.forget(b);
        keeper.forget(b);
        // Whether the first was sent already is not known here: removing what is not there does no harm.
        assert_eq!(untold(&keeper), [(a, false, true), (b, true, false)]);
        keeper.keep(a, &listener);
        assert_eq!(untold(&keeper), []);
        keeper.forget(a);
        keeper.keep(a, &listener);
        assert_eq!(untold(&keeper), [(a, true, true)]);
    }

    #[test]
    fn names_are_short_enough_to_come_back() {
        let longest = SocketAddrV4::new(Ipv4Addr::BROADCAST, u16::MAX);
        assert_eq!(name(longest), "ffffffffffff");
        let sockets = 2 * "kubefwdd.socket:".len() + "LISTEN_FDNAMES=".len() + 1;
        assert!(MOST * (name(longest).len() + 1) + sockets < 128 << 10);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let keeper = with_manager();
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        for number in 0..u32::try_from(MOST).unwrap() + 5 {
            let address = Ipv4Addr::from_bits(0x7f01_0000 + number);
            keeper.keep(SocketAddrV4::new(address, 80), &listener);
        }
        assert_eq!(untold(&keeper).len(), MOST);
    }
}
