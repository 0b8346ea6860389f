//! Listening on a port of a service's address.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt,
    shutdown, socket, sockopt,
};

use super::port_owner::{self, PortOwner};

/// How many connections wait while a worker restarts. The system caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// Somebody listens there.
    #[error(
        "port {} of {} is taken by {}", address.port(), address.ip(), taker(owner.as_ref(), *address)
    )]
    InUse {
        /// What was to be bound.
        address: SocketAddrV4,
        /// Who has it, where that can be told.
        owner: Option<PortOwner>,
    },
    /// The machine does not have the address.
    #[error(
        "{} is not an address of this machine", address.ip()
    )]
    NotLocal {
        /// What was to be bound.
        address: SocketAddrV4,
    },
    /// Not allowed.
    #[error("cannot listen on {address}: permission denied")]
    Denied {
        /// What was to be bound.
        address: SocketAddrV4,
    },
    /// Out of descriptors.
    #[error("cannot listen on {address}: too many open files")]
    TooManyFiles {
        /// What was to be bound.
        address: SocketAddrV4,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// What was to be bound.
        address: SocketAddrV4,
        /// What the system said.
        source: io::Error,
    },
}

// === impl BindError ===

impl BindError {
    /// What to do about it; empty where nothing is known to help.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::InUse { address, .. } => format!(
                "stop that program, or map the service to another port (--port-map {}:OTHER)",
                address.port()
            ),
            Self::NotLocal { .. } => {
                "kubefwdd adds it to the loopback interface: check that the interface is up"
                    .to_owned()
            }
            Self::Denied { .. } => "run kubefwdd as root or with CAP_NET_BIND_SERVICE".to_owned(),
            Self::TooManyFiles { .. } => {
                "raise the limit (LimitNOFILE of the service, or `ulimit -n`)".to_owned()
            }
            Self::Other { .. } => String::new(),
        }
    }
}

/// How ports are listened on.
#[derive(Debug, Default)]
pub(crate) struct Listen {
    /// What an earlier daemon listened on and nobody has asked for since; connections may be waiting in it.
    kept: BTreeMap<SocketAddrV4, TcpListener>,
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
        }
    }

    /// Where listeners are that were taken over and not asked for.
    pub(crate) fn kept(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.kept.keys().copied()
    }

    /// A listener on `address:port`, not blocking, closed on exec.
    ///
    /// # Errors
    /// When it cannot be had; where another program has the port, the error says which.
    pub(crate) fn tcp(&mut self, address: Ipv4Addr, port: u16) -> Result<TcpListener, BindError> {
        let address = SocketAddrV4::new(address, port);
        if let Some(kept) = self.kept.remove(&address) {
            return Ok(kept);
        }
        open(address).map_err(|errno| explain(address, errno))
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

fn open(address: SocketAddrV4) -> Result<TcpListener, Errno> {
    let flags = SockFlag::empty();
    #[cfg(target_os = "linux")]
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    #[cfg(not(target_os = "linux"))]
    {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // Old connections in TIME_WAIT must not keep a port from its service. A listener of another
    // program still does.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&socket, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).map_err(|_| Errno::last())?;
    Ok(listener)
}

fn explain(address: SocketAddrV4, errno: Errno) -> BindError {
    match errno {
        Errno::EADDRINUSE => {
            let owner = port_owner::find(*address.ip(), address.port());
            BindError::InUse { address, owner }
        }
        Errno::EADDRNOTAVAIL => BindError::NotLocal { address },
        Errno::EACCES | Errno::EPERM => BindError::Denied { address },
        Errno::EMFILE | Errno::ENFILE => BindError::TooManyFiles { address },
        errno => BindError::Other {
            address,
            source: errno.into(),
        },
    }
}

/// Who has the port, or how to find out.
fn taker(owner: Option<&PortOwner>, address: SocketAddrV4) -> String {
    match owner {
        Some(owner) => owner.to_string(),
        None => {
            let port = address.port();
            format!("another program (`sudo lsof -nP -iTCP:{port} -sTCP:LISTEN` shows which)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_takes_connections_and_does_not_block() {
        let listener = Listen::default()
            .tcp(Ipv4Addr::new(127, 200, 0, 1), 0)
            .unwrap();
        let blocked = listener.accept().unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
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
            let error = Listen::default()
                .tcp(Ipv4Addr::new(127, 200, 0, 1), port)
                .unwrap_err();
            let BindError::InUse {
                owner: Some(owner), ..
            } = &error
            else {
                panic!("{error}");
            };
            assert_eq!(owner.pid, Some(std::process::id()));
            assert_eq!(owner.address, holder.local_addr().unwrap());
            let text = error.to_string();
            assert!(
                text.contains(&format!("(pid {})", std::process::id())),
                "{text}"
            );
            assert!(error.hint().contains("--port-map"), "{}", error.hint());
        }
    }

    #[test]
    fn what_was_taken_over_is_found_again_with_the_connections_in_it() {
        let address = Ipv4Addr::new(127, 200, 0, 2);
        let before = Listen::default().tcp(address, 0).unwrap();
        let port = before.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect((address, port)).unwrap();
        let mut listen = Listen::with(vec![before]);
        let (accepted, peer) = listen.tcp(address, port).unwrap().accept().unwrap();
        assert_eq!(client.local_addr().unwrap(), peer);
        drop(accepted);
        assert_eq!(listen.kept().count(), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_nobody_asked_for_is_closed_whoever_else_has_it() {
        let address = Ipv4Addr::new(127, 200, 0, 3);
        let before = Listen::default().tcp(address, 0).unwrap();
        let port = before.local_addr().unwrap().port();
        let elsewhere = before.try_clone().unwrap();
        let mut listen = Listen::with(vec![before]);
        assert_eq!(listen.close_kept(), [SocketAddrV4::new(address, port)]);
        let refused = std::net::TcpStream::connect((address, port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        listen.tcp(address, port).unwrap();
        drop(elsewhere);
    }

    #[test]
    fn a_foreign_address_is_not_local() {
        let error = Listen::default()
            .tcp(Ipv4Addr::new(192, 0, 2, 1), 0)
            .unwrap_err();
        assert!(matches!(error, BindError::NotLocal { .. }), "{error}");
    }
}
