//! Changes of the machine's network: its addresses and its default route.
//!
//! Linux reports them on a netlink socket (rtnetlink(7)); elsewhere keep-alives find dead connections.

#[cfg(target_os = "linux")]
#[path = "network/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "network/other.rs"]
mod imp;

pub(super) use imp::Network;
