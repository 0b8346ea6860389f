//! Changes of the machine's network: other addresses, another way out.
//!
//! Linux says them on a netlink socket (rtnetlink(7)); elsewhere dead connections are found by their own keep-alives.

#[cfg(target_os = "linux")]
#[path = "network/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "network/other.rs"]
mod imp;

/// Tells when the network changed.
pub(super) struct Network(imp::Network);

impl Network {
    /// Listens from now on. Where the system does not say anything, nothing ever changes.
    pub(super) fn new() -> Self {
        Self(imp::Network::new())
    }

    /// Waits for a change that connections to elsewhere may not survive.
    pub(super) async fn changed(&mut self) {
        self.0.changed().await;
    }

    /// Forgets changes that have come since.
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }
}
