//! Linux: a netlink socket that needs no privilege.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;

/// `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE` of linux/rtnetlink.h. Not IPv6 addresses: routers
/// renew them every few minutes.
const GROUPS: u32 = 0x10 | 0x40 | 0x400;
const ADDRESS_ADDED: u16 = 20;
const ADDRESS_REMOVED: u16 = 21;
const ROUTE_ADDED: u16 = 24;
const ROUTE_REMOVED: u16 = 25;
/// `struct nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;
const LOOPBACK: u32 = 1;
const BUFFER: usize = 16 * 1024;

/// Reports network changes.
pub(crate) struct Network(Option<AsyncFd<OwnedFd>>);

impl Network {
    /// Starts listening.
    pub(crate) fn new() -> Self {
        let socket = open().inspect_err(|error| {
            tracing::debug!(%error, "cannot watch the network for changes");
        });
        Self(socket.ok())
    }

    /// Waits for a change that connections may not survive.
    pub(crate) async fn changed(&mut self) {
        while let Some(socket) = &self.0 {
            let received = socket.async_io(tokio::io::Interest::READABLE, |fd| Ok(receive(fd)?));
            match received.await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "no longer watching the network for changes");
                    self.0 = None;
                }
            }
        }
        std::future::pending().await
    }

    /// Drops the changes that were received since.
    pub(crate) fn forget(&mut self) {
        if let Some(socket) = &self.0 {
            while receive(socket.get_ref()).is_ok() {}
        }
    }
}

fn open() -> io::Result<AsyncFd<OwnedFd>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    #[expect(
        deprecated,
        reason = "sound here: an OwnedFd never changes its descriptor"
    )]
    AsyncFd::new(socket)
}

/// Whether the next message matters.
fn receive(socket: &OwnedFd) -> Result<bool, Errno> {
    let mut buffer = [0; BUFFER];
    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Ok(length) => Ok(matters(&buffer[..length])),
        // Messages were lost: assume that one of them mattered.
        Err(Errno::ENOBUFS) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether one of the messages may concern the path to a cluster: a default route, or an address of an interface other
/// than loopback, where the daemon itself adds some.
fn matters(mut messages: &[u8]) -> bool {
    while let Some((header, _)) = messages.split_first_chunk::<HEADER>() {
        let [a, b, c, d, kind_low, kind_high, ..] = *header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(message) = messages.get(HEADER..length) else {
            return false;
        };
        let relevant = match u16::from_ne_bytes([kind_low, kind_high]) {
            // struct ifaddrmsg: family, prefix length, flags, scope, interface; scope 0 is global.
            ADDRESS_ADDED | ADDRESS_REMOVED => {
                matches!(*message, [_, _, _, 0, i, j, k, l, ..]
                    if u32::from_ne_bytes([i, j, k, l]) != LOOPBACK)
            }
            // struct rtmsg: family, length of the destination's prefix, …
            ROUTE_ADDED | ROUTE_REMOVED => matches!(*message, [_, 0, ..]),
            _ => false,
        };
        if relevant {
            return true;
        }
        let aligned = length.next_multiple_of(4);
        messages = messages.get(aligned..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn address(scope: u8, interface: u32) -> Vec<u8> {
        let mut body = vec![2, 24, 0, scope];
        body.extend(interface.to_ne_bytes());
        message(ADDRESS_ADDED, &body)
    }

    #[test]
    fn only_changes_on_the_way_to_a_cluster_matter() {
        assert!(matters(&address(0, 2)));
        assert!(!matters(&address(0, LOOPBACK)));
        assert!(!matters(&address(253, 2)));
        assert!(matters(&message(ROUTE_REMOVED, &[2, 0, 0, 0])));
        assert!(!matters(&message(ROUTE_ADDED, &[2, 24, 0, 0])));
        let both = [message(ROUTE_ADDED, &[2, 24, 0]), address(0, 3)].concat();
        assert!(matters(&both));
    }

    #[test]
    fn parsing_rubbish_ends() {
        for length in [0_u32, 1, 15, 16, 17, u32::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([0; 60]);
            let _ = matters(&bytes);
        }
        assert!(!matters(&[]));
    }

    #[tokio::test]
    async fn the_socket_opens_without_privilege() {
        let network = Network::new();
        assert!(network.0.is_some());
    }
}
