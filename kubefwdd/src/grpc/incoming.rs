//! Connections to the control socket, which every user of the machine may open: limited for each user, so that nobody
//! can take the daemon's descriptors and memory from the others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use kubefwd_core::limiter::{ConnectionLimiter, LimitReached, Permit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::server::{Connected, UdsConnectInfo};

/// Connections of one user at a time. A client holds one, for as long as its command runs.
const PER_USER: usize = 256;
/// A descriptor may be free again after so long.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// The connections that may be served, as they come. One that is too many is closed at once.
pub(super) fn incoming(listener: UnixListener) -> impl Stream<Item = io::Result<Connection>> {
    let limiter = ConnectionLimiter::new(PER_USER);
    stream::unfold((listener, limiter), |(listener, limiter)| async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(NO_DESCRIPTOR).await;
                    continue;
                }
            };
            let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else {
                continue;
            };
            match limiter.admit(uid.into()) {
                Ok(permit) => {
                    let connection = Connection {
                        stream,
                        _permit: permit,
                    };
                    return Some((Ok(connection), (listener, limiter)));
                }
                Err(LimitReached { is_first }) => {
                    if is_first {
                        tracing::warn!(
                            uid,
                            "has {PER_USER} connections to the control socket; more are refused until some are closed"
                        );
                    }
                }
            }
        }
    })
}

/// A connection that counts for its user as long as it lives.
pub(super) struct Connection {
    stream: UnixStream,
    _permit: Permit,
}

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
