//! The process at the other end of a local connection: who owns its socket, and whether that is still open.
//!
//! TCP itself does not tell a half-closed socket from a closed one: both send a FIN. The kernel's socket table does, where
//! both ends are on this machine and in this network namespace: a closed socket has no inode.

use std::net::SocketAddr;

/// The socket at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Closed: its process neither sends nor reads.
    Closed,
    /// Open: its process may still read.
    Open,
    /// Not on this machine, or the system does not say.
    Unknown,
}

/// The uid of the process that holds the socket at `peer`, connected to `local`; `None` if that is closed or unknown.
/// Half-closed is open: `ESTABLISHED` alone would miss clients that send one request and shut down.
pub fn owner(local: SocketAddr, peer: SocketAddr) -> Option<u32> {
    system::owner(local, peer)
}

/// The state of the socket at `peer`, connected to `local`. One system call: ask at the end of a connection, not for its
/// data.
pub fn look_up(local: SocketAddr, peer: SocketAddr) -> Peer {
    system::look_up(local, peer)
}

#[cfg(target_os = "linux")]
mod system {
    //! `sock_diag(7)` with the four addresses of one socket.

    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;
    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
    };

    use super::Peer;

    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const IPPROTO_TCP: u8 = 6;
    const HEADER: usize = 16;
    const REQUEST: usize = HEADER + 56;
    /// `idiag_uid` in `struct inet_diag_msg`.
    const UID: usize = HEADER + 64;
    /// `idiag_inode` in `struct inet_diag_msg`.
    const INODE: usize = HEADER + 68;

    pub(super) fn look_up(ours: SocketAddr, theirs: SocketAddr) -> Peer {
        ask(ours, theirs).map_or(Peer::Unknown, |answer| match parse(&answer) {
            Some(Found { inode: 0, .. }) => Peer::Closed,
            Some(_) => Peer::Open,
            None => Peer::Unknown,
        })
    }

    pub(super) fn owner(ours: SocketAddr, theirs: SocketAddr) -> Option<u32> {
        let found = parse(&ask(ours, theirs).ok()?)?;
        // The kernel gives uid 0 for a socket that no process has.
        (found.inode != 0).then_some(found.uid)
    }

    /// A socket in the kernel's table.
    struct Found {
        uid: u32,
        inode: u32,
    }

    fn ask(ours: SocketAddr, theirs: SocketAddr) -> Result<Vec<u8>, Errno> {
        let netlink = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?;
        send(
            netlink.as_raw_fd(),
            &request(theirs, ours),
            MsgFlags::empty(),
        )?;
        let mut answer = [0; 1024];
        let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
        Ok(answer[..length].to_vec())
    }

    fn request(source: SocketAddr, destination: SocketAddr) -> [u8; REQUEST] {
        let mut out = [0; REQUEST];
        out[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
        out[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        out[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        let family = if source.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let body = &mut out[HEADER..];
        body[0] = family as u8;
        body[1] = IPPROTO_TCP;
        body[4..8].fill(0xff);
        body[8..10].copy_from_slice(&source.port().to_be_bytes());
        body[10..12].copy_from_slice(&destination.port().to_be_bytes());
        put_address(&mut body[12..28], source.ip());
        put_address(&mut body[28..44], destination.ip());
        body[48..56].fill(0xff);
        out
    }

    fn put_address(into: &mut [u8], address: IpAddr) {
        match address {
            IpAddr::V4(v4) => into[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => into.copy_from_slice(&v6.octets()),
        }
    }

    fn parse(answer: &[u8]) -> Option<Found> {
        let field = |at: usize| -> Option<u32> {
            let bytes = answer.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        // An error is the other kind: no such socket, or no such module.
        let kind = answer.get(4..6)?;
        if u16::from_ne_bytes([kind[0], kind[1]]) != SOCK_DIAG_BY_FAMILY {
            return None;
        }
        Some(Found {
            uid: field(UID)?,
            inode: field(INODE)?,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::net::SocketAddr;

    use super::Peer;

    pub(super) fn look_up(_ours: SocketAddr, _theirs: SocketAddr) -> Peer {
        Peer::Unknown
    }

    pub(super) fn owner(_ours: SocketAddr, _theirs: SocketAddr) -> Option<u32> {
        None
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Read;
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn peer_of(ours: &TcpStream) -> Peer {
        look_up(ours.local_addr().unwrap(), ours.peer_addr().unwrap())
    }

    #[test]
    fn a_half_closed_peer_still_reads() {
        let (client, mut ours) = pair();
        assert_eq!(peer_of(&ours), Peer::Open);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(peer_of(&ours), Peer::Open);
    }

    #[test]
    fn a_closed_peer_is_gone() {
        let (client, mut ours) = pair();
        drop(client);
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(peer_of(&ours), Peer::Closed);
    }
}
