//! The owner of a TCP peer by `NETLINK_SOCK_DIAG`, or by `/proc/net/tcp` where that is missing.

use std::io;
use std::net::{IpAddr, SocketAddr};

use kubefwd_model::Uid;
use nix::libc;
use nix::sys::socket::SockProtocol;

use crate::net::netlink::{Answer, Netlink, read_u32};
use crate::net::proc_tcp::{self, ESTABLISHED};

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// Offsets in `struct inet_diag_msg` of `linux/inet_diag.h`.
const STATE: usize = 1;
const OWNER: usize = 64;
const INODE: usize = 68;

/// The uid of the process that has the other end of a connection.
pub(super) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
    ask(peer, local).unwrap_or_else(|error| {
        tracing::debug!(%error, "sock_diag is not available, reading /proc/net/tcp");
        look(peer, local)
    })
}

/// Asks for the peer's socket: there, the peer's address is the local one.
fn ask(peer: SocketAddr, local: SocketAddr) -> io::Result<Option<Uid>> {
    let netlink = Netlink::open(SockProtocol::NetlinkSockDiag)?;
    match netlink.ask(BY_FAMILY, 0, &request(peer, local)) {
        Ok(Answer::Message(answer)) => Ok(parse(&answer)),
        Ok(Answer::Done) => Ok(None),
        // No such socket, which is an answer; that there is no such module is told at opening or
        // as another error.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `struct inet_diag_req_v2` for exactly one connection.
fn request(peer: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let family = if peer.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let mut request = Vec::with_capacity(56);
    request.extend([u8::try_from(family).unwrap_or_default()]);
    request.extend([u8::try_from(libc::IPPROTO_TCP).unwrap_or_default(), 0, 0]);
    request.extend(u32::MAX.to_ne_bytes()); // all states
    request.extend(peer.port().to_be_bytes());
    request.extend(local.port().to_be_bytes());
    for address in [peer.ip(), local.ip()] {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(four) => bytes[..4].copy_from_slice(&four.octets()),
            IpAddr::V6(six) => bytes = six.octets(),
        }
        request.extend(bytes);
    }
    request.extend([0; 4]); // any interface
    request.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    request
}

/// Only an open socket that a process has counts: the kernel gives uid 0 for all others.
fn parse(answer: &[u8]) -> Option<Uid> {
    let state = *answer.get(STATE)?;
    let (uid, inode) = (read_u32(answer, OWNER)?, read_u32(answer, INODE)?);
    (state == ESTABLISHED && inode != 0).then_some(Uid::new(uid))
}

fn look(peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
    let rows = proc_tcp::rows();
    let row = rows
        .iter()
        .find(|row| row.local == peer && row.remote == local)?;
    (row.state == ESTABLISHED && row.inode != 0).then_some(row.uid)
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    /// Both ways of asking, which must agree.
    fn both(peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
        let asked = ask(peer, local).expect("sock_diag answers");
        assert_eq!(asked, look(peer, local));
        asked
    }

    fn uid() -> Option<Uid> {
        Some(nix::unistd::getuid().as_raw().into())
    }

    #[test]
    fn finds_the_owner_of_an_open_connection_only() {
        for listen in ["127.0.0.1:0", "127.2.27.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(listen) else {
                continue;
            };
            let local = listener.local_addr().unwrap();
            let client = TcpStream::connect(local).unwrap();
            let peer = client.local_addr().unwrap();
            assert_eq!(both(peer, local), uid(), "before it is accepted");
            let (server, _) = listener.accept().unwrap();
            assert_eq!(both(peer, local), uid());
            let mut other = peer;
            other.set_port(peer.port() ^ 1);
            assert_eq!(both(other, local), None, "another port");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(both(peer, local), None, "half-closed is not ESTABLISHED");
            drop((client, server));
            assert_eq!(both(peer, local), None, "closed");
        }
    }

    #[test]
    fn a_listener_is_not_taken_for_a_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(ask(address, "127.0.0.1:9".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn an_ipv6_socket_with_an_ipv4_address_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", local.port())
            .parse()
            .unwrap();
        let Ok(client) = TcpStream::connect(mapped) else {
            return;
        };
        let peer = client.local_addr().unwrap();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        assert_eq!(both(peer, local), uid());
    }

    #[test]
    fn a_short_answer_is_no_owner() {
        assert_eq!(parse(&[1; 71]), None);
    }
}
