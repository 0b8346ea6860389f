//! Socket options of a connection to an API server.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// What a connection carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Traffic {
    /// Requests: what was sent must be acknowledged within 20 s.
    Requests,
    /// Forwarded connections.
    Tunnel,
}

/// Small frames do not wait for a full segment, and dead peers are found.
pub(super) fn tune(tcp: &TcpStream, traffic: Traffic) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    tune_system(&socket, traffic)
}

/// The kernel applies the user timeout to a peer with a closed window too, alive or not, and a forwarded program may well
/// stop reading for a while: in tunnels PINGs find dead peers much earlier, so there it is only the last resort. Their bulk
/// data waits in user space, where PINGs and new streams can overtake it.
#[cfg(target_os = "linux")]
fn tune_system(socket: &SockRef<'_>, traffic: Traffic) -> io::Result<()> {
    const NOT_SENT: u32 = 128 * 1024;
    match traffic {
        Traffic::Requests => socket.set_tcp_user_timeout(Some(Duration::from_secs(20))),
        Traffic::Tunnel => {
            socket.set_tcp_user_timeout(Some(Duration::from_secs(120)))?;
            socket.set_tcp_notsent_lowat(NOT_SENT)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn tune_system(_socket: &SockRef<'_>, _traffic: Traffic) -> io::Result<()> {
    Ok(())
}
