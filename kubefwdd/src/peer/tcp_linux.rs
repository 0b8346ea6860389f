//! The owner of a TCP peer by `sock_diag(7)`, or by `/proc/net/tcp` where that is missing.

use std::net::SocketAddr;

use kubefwd_model::Uid;
use kubefwd_os::peer::established_owner;

use crate::net::proc_tcp::{self, ESTABLISHED};

/// The uid of the process that has the other end of a connection.
pub(super) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
    match established_owner(local, peer) {
        Ok(uid) => uid.map(Uid::new),
        Err(error) => {
            tracing::debug!(%error, "sock_diag is not available, reading /proc/net/tcp");
            look(peer, local)
        }
    }
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
        let asked = established_owner(local, peer).expect("sock_diag answers");
        let asked = asked.map(Uid::new);
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
        let nobody = "127.0.0.1:9".parse().unwrap();
        assert_eq!(established_owner(nobody, address).unwrap(), None);
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
}
