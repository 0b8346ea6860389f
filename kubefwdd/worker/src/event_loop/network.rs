//! Changes of the machine's network: its addresses and its default route.
//!
//! Linux reports them on a netlink socket (rtnetlink(7)); elsewhere keep-alives find dead connections.

#[cfg(target_os = "linux")]
#[path = "network/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "network/other.rs"]
mod imp;

/// Reports network changes.
pub(super) struct Network(imp::Network);

impl Network {
    /// Starts listening. Never reports anything where the system does not.
    pub(super) fn new() -> Self {
        Self(imp::Network::new())
    }

    /// Waits for a change that connections may not survive.
    pub(super) async fn changed(&mut self) {
        self.0.changed().await;
    }

    /// Drops the changes that were received since.
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }
}
