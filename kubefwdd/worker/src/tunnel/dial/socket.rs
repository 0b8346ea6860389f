//! Socket options of a connection that carries many others.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// No small frame waits for a full segment; a dead peer is found; bulk data waits in user space, where PING and new streams
/// can pass it.
pub(super) fn tune_upstream(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    tune_system(&socket)
}

/// The kernel applies the user timeout to a peer with a closed window too, alive or not, and a forwarded program may well
/// stop reading for a while: PINGs find dead peers much earlier, so this is only the last resort.
#[cfg(target_os = "linux")]
fn tune_system(socket: &SockRef<'_>) -> io::Result<()> {
    const USER_TIMEOUT: Duration = Duration::from_secs(120);
    const NOT_SENT: u32 = 128 * 1024;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(NOT_SENT)
}

#[cfg(not(target_os = "linux"))]
fn tune_system(_socket: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}
