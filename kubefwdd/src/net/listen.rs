//! Listening on a port of a service's address.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use kubefwd_core::state::BindFailure;
use kubefwd_model::{Failure, Uid, failure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt,
    shutdown, socket, sockopt,
};
#[cfg(target_os = "linux")]
use nix::{
    sys::stat::fstat,
    unistd::{fchown, geteuid},
};

use super::port_owner::PortOwners;

/// How many connections wait while a worker restarts. The system caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// How ports are listened on.
#[derive(Debug, Default)]
pub(crate) struct Listen {
    /// What an earlier daemon listened on and nobody has asked for since; connections may be waiting in it.
    kept: BTreeMap<SocketAddrV4, TcpListener>,
    owners: PortOwners,
}

impl Listen {
    /// Takes listeners over, to be found again by their addresses.
    pub(crate) fn with(kept: Vec<TcpListener>) -> Self {
        let kept = kept.into_iter().filter_map(|listener| {
            // A socket that cannot be used without blocking is of no use, and is closed.
            listener.set_nonblocking(true).ok()?;
            match listener.local_addr().ok()? {
                SocketAddr::V4(address) => Some((address, listener)),
                SocketAddr::V6(_) => None,
            }
        });
        Self {
            kept: kept.collect(),
            owners: PortOwners::default(),
        }
    }

    /// Where listeners are that were taken over and not asked for.
    pub(crate) fn kept(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.kept.keys().copied()
    }

    /// A listener of `owner` on `address:port`, not blocking, closed on exec.
    ///
    /// Whoever holds a listener can turn it into a connection, of which the kernel's table then says whose it is: so it
    /// belongs to its user, as if the user had made it.
    ///
    /// # Errors
    /// When it cannot be had; where another program has the port, the error says which.
    pub(crate) fn tcp(
        &mut self,
        owner: Uid,
        address: Ipv4Addr,
        port: u16,
    ) -> Result<TcpListener, BindFailure> {
        let address = SocketAddrV4::new(address, port);
        if let Some(kept) = self.kept.remove(&address) {
            return Ok(kept);
        }
        open(owner, address).map_err(|errno| self.explain(address, errno))
    }

    /// Closes what was taken over for an address, unless it is this user's; whether there was such a thing.
    pub(crate) fn close_foreign(&mut self, owner: Uid, address: SocketAddrV4) -> bool {
        match self.kept.entry(address) {
            Entry::Occupied(kept) if belongs_to(kept.get()) != Some(owner) => {
                close(&kept.remove());
                true
            }
            _ => false,
        }
    }

    /// What the state is told.
    fn explain(&mut self, address: SocketAddrV4, errno: Errno) -> BindFailure {
        let (ip, port) = (*address.ip(), address.port());
        if errno != Errno::EADDRINUSE {
            return failure(address, errno).into();
        }
        let taker = self.owners.find(ip, port).unwrap_or_else(|| {
            format!("another program (`sudo lsof -nP -iTCP:{port} -sTCP:LISTEN` shows which)")
        });
        let failure = failure!(PortUnavailable, "port {port} of {ip} is taken by {taker}");
        BindFailure {
            failure: failure.hint(format!(
                "stop that program, or map the service to another port (--port-map {port}:OTHER)"
            )),
            only_here: is_free_elsewhere(port),
        }
    }

    /// Closes what was taken over and nobody asked for; says where that was.
    pub(crate) fn close_kept(&mut self) -> Vec<SocketAddrV4> {
        let kept = std::mem::take(&mut self.kept);
        kept.into_iter()
            .map(|(address, listener)| {
                close(&listener);
                address
            })
            .collect()
    }
}

/// Ends a listener for everybody who has a descriptor of it: nothing more is accepted, and the port is free.
pub(crate) fn close(listener: &TcpListener) {
    // Not on macOS, where nobody else keeps one.
    if let Err(errno) = shutdown(listener.as_raw_fd(), Shutdown::Both) {
        tracing::trace!(%errno, "a listener is closed by its descriptor alone");
    }
}

fn open(owner: Uid, address: SocketAddrV4) -> Result<TcpListener, Errno> {
    let socket = stream_socket()?;
    give_to(owner, &socket)?;
    // Old connections in TIME_WAIT must not keep a port from its service. A listener of another
    // program still does.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&socket, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).map_err(|_| Errno::last())?;
    Ok(listener)
}

/// Closed on exec.
fn stream_socket() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::empty();
    #[cfg(target_os = "linux")]
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    #[cfg(not(target_os = "linux"))]
    {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        fcntl(&stream, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok(stream)
}

/// Makes the socket's owner in the kernel's table `owner`; no connection of it was root's at any time.
#[cfg(target_os = "linux")]
fn give_to(owner: Uid, socket: &OwnedFd) -> Result<(), Errno> {
    if owner.get() == geteuid().as_raw() {
        return Ok(());
    }
    fchown(socket, Some(owner.get().into()), None)
}

/// The user to whom a socket belongs.
#[cfg(target_os = "linux")]
fn belongs_to(listener: &TcpListener) -> Option<Uid> {
    fstat(listener).ok().map(|status| Uid::new(status.st_uid))
}

/// macOS has no owner of a socket that can be changed, and gives a listener that is shut down back to nobody.
#[cfg(not(target_os = "linux"))]
fn give_to(_owner: Uid, _socket: &OwnedFd) -> Result<(), Errno> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn belongs_to(_listener: &TcpListener) -> Option<Uid> {
    None
}

/// Whether another address could listen on this port. Nothing listens there.
fn is_free_elsewhere(port: u16) -> bool {
    /// The last but one of those that are loopback everywhere.
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 253);
    let bound = stream_socket().and_then(|socket| {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(
            socket.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(ELSEWHERE, port)),
        )
    });
    bound.is_ok()
}

/// Why a port cannot be had, and what to do about it.
fn failure(address: SocketAddrV4, errno: Errno) -> Failure {
    let ip = address.ip();
    match errno {
        Errno::EADDRNOTAVAIL => failure!(PortUnavailable, "{ip} is not an address of this machine")
            .hint("kubefwdd adds it to the loopback interface: check that the interface is up"),
        Errno::EACCES | Errno::EPERM => failure!(
            PortUnavailable,
            "cannot listen on {address}: permission denied"
        )
        .hint("run kubefwd as root or with CAP_NET_BIND_SERVICE"),
        Errno::EMFILE | Errno::ENFILE => failure!(
            PortUnavailable,
            "cannot listen on {address}: too many open files"
        )
        .hint("raise the limit (LimitNOFILE of the service, or `ulimit -n`)"),
        errno => {
            let error = std::io::Error::from(errno);
            failure!(PortUnavailable, "cannot listen on {address}: {error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Uid {
        nix::unistd::geteuid().as_raw().into()
    }

    #[test]
    fn a_listener_takes_connections_and_does_not_block() {
        let listener = Listen::default()
            .tcp(own(), Ipv4Addr::new(127, 200, 0, 1), 0)
            .unwrap();
        let blocked = listener.accept().unwrap_err();
        assert_eq!(blocked.kind(), std::io::ErrorKind::WouldBlock);
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_taken_port_names_the_process() {
        for holder in ["127.200.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(holder) = TcpListener::bind(holder) else {
                continue;
            };
            let port = holder.local_addr().unwrap().port();
            let failure = Listen::default()
                .tcp(own(), Ipv4Addr::new(127, 200, 0, 1), port)
                .unwrap_err();
            let wanted = format!(
                "(pid {}), which listens on {}",
                std::process::id(),
                holder.local_addr().unwrap()
            );
            assert!(failure.failure.message.contains(&wanted), "{failure:?}");
            assert!(failure.failure.hint.contains("--port-map"), "{failure:?}");
            let is_here = holder.local_addr().unwrap().ip().is_loopback();
            assert_eq!(failure.only_here, is_here);
        }
    }

    #[test]
    fn what_was_taken_over_is_found_again_with_the_connections_in_it() {
        let address = Ipv4Addr::new(127, 200, 0, 2);
        let before = Listen::default().tcp(own(), address, 0).unwrap();
        let port = before.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect((address, port)).unwrap();
        let mut listen = Listen::with(vec![before]);
        let (accepted, peer) = listen.tcp(own(), address, port).unwrap().accept().unwrap();
        assert_eq!(client.local_addr().unwrap(), peer);
        drop(accepted);
        assert_eq!(listen.kept().count(), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_nobody_asked_for_is_closed_whoever_else_has_it() {
        let address = Ipv4Addr::new(127, 200, 0, 3);
        let before = Listen::default().tcp(own(), address, 0).unwrap();
        let port = before.local_addr().unwrap().port();
        let elsewhere = before.try_clone().unwrap();
        let mut listen = Listen::with(vec![before]);
        assert_eq!(listen.close_kept(), [SocketAddrV4::new(address, port)]);
        let refused = std::net::TcpStream::connect((address, port)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        listen.tcp(own(), address, port).unwrap();
        drop(elsewhere);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_was_taken_over_goes_to_its_owner_only() {
        let address = Ipv4Addr::new(127, 200, 0, 4);
        let before = Listen::default().tcp(own(), address, 0).unwrap();
        let place = SocketAddrV4::new(address, before.local_addr().unwrap().port());
        let mut listen = Listen::with(vec![before]);
        assert!(!listen.close_foreign(own(), place));
        let other = Uid::new(own().get() + 1);
        assert!(listen.close_foreign(other, place));
        assert!(!listen.close_foreign(other, place), "it is gone");
        std::net::TcpStream::connect(place).unwrap_err();
    }

    #[test]
    fn a_foreign_address_is_not_local() {
        let failure = Listen::default()
            .tcp(own(), Ipv4Addr::new(192, 0, 2, 1), 0)
            .unwrap_err();
        assert_eq!(
            failure.failure.message,
            "192.0.2.1 is not an address of this machine"
        );
    }
}
