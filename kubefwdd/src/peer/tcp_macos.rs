//! The owner of a TCP peer from the kernel's list of protocol control blocks.

use std::net::SocketAddr;

use kubefwd_model::Uid;

use super::pcblist;
use crate::sys;

/// The uid of the process that has the other end of a connection.
pub(super) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
    match sys::tcp_control_blocks() {
        Ok(list) => pcblist::owner(&list, peer, local),
        Err(error) => {
            tracing::warn!(%error, "cannot read the list of TCP connections: peers are unknown");
            None
        }
    }
}
