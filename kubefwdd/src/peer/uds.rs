//! The peer of a unix socket: `SO_PEERCRED`, `LOCAL_PEERCRED`.

use tokio::net::UnixStream;

/// The effective uid of the peer at the time it connected.
pub(super) fn owner(stream: &UnixStream) -> Option<u32> {
    match stream.peer_cred() {
        Ok(credentials) => Some(credentials.uid()),
        Err(error) => {
            tracing::warn!(%error, "a unix peer without credentials");
            None
        }
    }
}
