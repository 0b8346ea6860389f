//! The process at the other end of a local connection: who owns its socket, and whether that is still open.
//!
//! TCP itself does not tell a half-closed socket from a closed one: both send a FIN. The kernel's socket table does, where
//! both ends are on this machine and in this network namespace: a closed socket has no inode.

use std::io;
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

/// The same for a connection that neither side has closed or half-closed.
///
/// # Errors
/// When the system cannot be asked.
pub fn established_owner(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<u32>> {
    system::established_owner(local, peer)
}

/// The state of the socket at `peer`, connected to `local`. One system call: ask at the end of a connection, not for its
/// data.
pub fn look_up(local: SocketAddr, peer: SocketAddr) -> Peer {
    system::look_up(local, peer)
}

#[cfg(target_os = "linux")]
mod system {
    //! `sock_diag(7)` with the four addresses of one socket.

    use std::io;
    use std::net::{IpAddr, SocketAddr};

    use nix::errno::Errno;
    use nix::sys::socket::{AddressFamily, SockProtocol};

    use super::Peer;
    use crate::netlink::{self, HEADER};

    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const IPPROTO_TCP: u8 = 6;
    /// `TCP_ESTABLISHED`.
    const ESTABLISHED: u8 = 1;
    /// `idiag_state` in `struct inet_diag_msg`.
    const STATE: usize = HEADER + 1;
    /// `idiag_uid` in `struct inet_diag_msg`.
    const UID: usize = HEADER + 64;
    /// `idiag_inode` in `struct inet_diag_msg`.
    const INODE: usize = HEADER + 68;

    pub(super) fn look_up(ours: SocketAddr, theirs: SocketAddr) -> Peer {
        match find(ours, theirs) {
            Ok(Some(Found { inode: 0, .. })) => Peer::Closed,
            Ok(Some(_)) => Peer::Open,
            Ok(None) | Err(_) => Peer::Unknown,
        }
    }

    pub(super) fn owner(ours: SocketAddr, theirs: SocketAddr) -> Option<u32> {
        find(ours, theirs).ok()??.owner()
    }

    pub(super) fn established_owner(
        ours: SocketAddr,
        theirs: SocketAddr,
    ) -> io::Result<Option<u32>> {
        let found = find(ours, theirs)?.filter(|found| found.state == ESTABLISHED);
        Ok(found.and_then(Found::owner))
    }

    /// A socket in the kernel's table.
    struct Found {
        state: u8,
        uid: u32,
        inode: u32,
    }

    impl Found {
        /// The kernel gives uid 0 for a socket that no process has.
        fn owner(self) -> Option<u32> {
            (self.inode != 0).then_some(self.uid)
        }
    }

    fn find(ours: SocketAddr, theirs: SocketAddr) -> io::Result<Option<Found>> {
        let request = request(theirs, ours);
        let diagnostics = SockProtocol::NetlinkSockDiag;
        match netlink::ask(diagnostics, SOCK_DIAG_BY_FAMILY, 0, &request) {
            Ok(answer) => parse(&answer).map(Some),
            // No such socket is an answer; no such module is not.
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// `struct inet_diag_req_v2`.
    fn request(source: SocketAddr, destination: SocketAddr) -> [u8; 56] {
        let family = match source.is_ipv4() {
            true => AddressFamily::Inet,
            false => AddressFamily::Inet6,
        };
        let mut body = [0; 56];
        body[0] = family as u8;
        body[1] = IPPROTO_TCP;
        body[4..8].fill(0xff);
        body[8..10].copy_from_slice(&source.port().to_be_bytes());
        body[10..12].copy_from_slice(&destination.port().to_be_bytes());
        put_address(&mut body[12..28], source.ip());
        put_address(&mut body[28..44], destination.ip());
        body[48..56].fill(0xff);
        body
    }

    fn put_address(into: &mut [u8], address: IpAddr) {
        match address {
            IpAddr::V4(v4) => into[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => into.copy_from_slice(&v6.octets()),
        }
    }

    fn parse(answer: &[u8]) -> io::Result<Found> {
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let field = |at: usize| -> io::Result<u32> {
            let bytes = answer.get(at..).and_then(|rest| rest.first_chunk());
            Ok(u32::from_ne_bytes(*bytes.ok_or_else(malformed)?))
        };
        Ok(Found {
            state: *answer.get(STATE).ok_or_else(malformed)?,
            uid: field(UID)?,
            inode: field(INODE)?,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_short_answer_is_no_owner() {
            let answer = [1; HEADER + 71];
            for length in 0..answer.len() {
                assert!(parse(&answer[..length]).is_err());
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::net::SocketAddr;

    use super::Peer;

    pub(super) fn established_owner(
        _ours: SocketAddr,
        _theirs: SocketAddr,
    ) -> io::Result<Option<u32>> {
        Err(io::ErrorKind::Unsupported.into())
    }

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
