//! Aliases of `lo0` by ioctl. `ifconfig` is not used: which one is first in PATH is not ours to
//! know.

use std::io;
use std::net::Ipv4Addr;

use crate::sys;

/// macOS has 127.0.0.1 only; whether an address is there already is looked at by the caller.
pub(super) fn needs_alias(_address: Ipv4Addr) -> bool {
    true
}

/// Adds an address that the machine does not have.
pub(super) fn add(address: Ipv4Addr) -> io::Result<()> {
    sys::add_loopback_alias(address)
}

/// Removes an address.
pub(super) fn remove(address: Ipv4Addr) -> io::Result<()> {
    sys::remove_loopback_alias(address)
}
