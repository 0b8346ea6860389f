//! Sockets that were open before this process was: those that systemd or launchd listen on for us, and the listeners of
//! forwarded ports that the last daemon left with systemd.
//!
//! They are told apart by what they are bound to, which nobody can get wrong, and not by their names.

use std::ffi::CStr;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};

use crate::sys;

/// The keys under `Sockets` in the property list for launchd.
const LAUNCHD_NAMES: [&CStr; 2] = [c"Control", c"Rest"];

/// What was inherited and is not yet in use.
#[derive(Default)]
pub(super) struct Inherited {
    unix: Vec<UnixListener>,
    /// Listeners of forwarded ports.
    pub(super) ports: Vec<TcpListener>,
}

// === impl Inherited ===

impl Inherited {
    /// Takes what the service manager passes on; nothing where there is none.
    ///
    /// # Errors
    /// When what was announced is not there.
    pub(super) fn take() -> Result<Self> {
        let sockets = sys::inherited_sockets(&LAUNCHD_NAMES)
            .context("cannot take over the service manager's sockets")?;
        let mut inherited = Self::default();
        for (name, socket) in sockets {
            inherited.sort_in(&name, socket);
        }
        Ok(inherited)
    }

    /// The socket that is bound to this path, if the service manager listens on it.
    pub(super) fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let is_there = |listener: &UnixListener| {
            let address = listener.local_addr().ok();
            address.is_some_and(|address| address.as_pathname() == Some(path))
        };
        let index = self.unix.iter().position(is_there)?;
        Some(self.unix.swap_remove(index))
    }

    /// Closes the sockets that the configuration has no use for, and says so.
    pub(super) fn close_strangers(&mut self) {
        for listener in self.unix.drain(..) {
            let address = listener.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname());
            let path = path.unwrap_or(Path::new("?")).display();
            tracing::warn!(
                "the service manager listens on {path}, but this configuration has no socket there: change the path in one of \
                 the two (`systemctl edit kubefwdd.socket`)"
            );
        }
    }

    fn sort_in(&mut self, name: &str, socket: OwnedFd) {
        let listens = getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false);
        let is_stream = getsockopt(&socket, sockopt::SockType) == Ok(SockType::Stream);
        let address = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok();
        match address.and_then(|address| address.family()) {
            Some(AddressFamily::Unix) if listens && is_stream => self.unix.push(socket.into()),
            Some(AddressFamily::Inet) if listens && is_stream => self.ports.push(socket.into()),
            // A listener that was closed while the last daemon ended, or somebody's joke.
            _ => tracing::debug!(
                name,
                "inherited a descriptor that is not a listening socket"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn sockets_are_told_apart_by_what_they_are_bound_to() {
        let directory = tempfile::tempdir().unwrap();
        let (wanted, other) = (directory.path().join("a"), directory.path().join("b"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(port.local_addr().unwrap()).unwrap();
        let mut inherited = Inherited::default();
        for socket in [
            OwnedFd::from(UnixListener::bind(&other).unwrap()),
            UnixListener::bind(&wanted).unwrap().into(),
            client.into(),
            std::fs::File::open("/dev/null").unwrap().into(),
            port.into(),
        ] {
            inherited.sort_in("any", socket);
        }
        assert_eq!(inherited.ports.len(), 1, "a connection is no listener");
        let found = inherited.unix(&wanted).unwrap();
        assert_eq!(
            found.local_addr().unwrap().as_pathname(),
            Some(wanted.as_path())
        );
        assert!(inherited.unix(&wanted).is_none(), "it is given once");
        inherited.close_strangers();
        assert!(std::os::unix::net::UnixStream::connect(&other).is_err());
    }
}
