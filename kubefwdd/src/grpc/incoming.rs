//! Connections to the control socket, which every user of the machine may open: limited for each user, so that nobody
//! can take the daemon's descriptors and memory from the others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use kubefwd_core::limiter::{ConnectionLimiter, LimitReached, Permit};
use kubefwd_core::policy::{self, Verb, Via};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tonic::transport::server::{Connected, UdsConnectInfo};

use crate::peer;

/// Connections of one user at a time. A client holds one, for as long as its command runs.
const PER_MEMBER: usize = 256;
/// The same of a user who may ask for no more than version and health.
const PER_OTHER: usize = 8;
/// Connections that may wait to be served.
const QUEUE: usize = 64;
/// A descriptor may be free again after so long.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// The connections that may be served, as they come, until the receiver is dropped. One that is too many is closed at once.
pub(super) fn incoming(listener: UnixListener) -> impl Stream<Item = io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, &sender) => {}
            () = sender.closed() => {}
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        Some((Ok(receiver.recv().await?), receiver))
    })
}

async fn accept(listener: UnixListener, sender: &mpsc::Sender<Connection>) {
    let (members, others) = (
        ConnectionLimiter::new(PER_MEMBER),
        ConnectionLimiter::new(PER_OTHER),
    );
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(NO_DESCRIPTOR).await;
                continue;
            }
        };
        let Ok(uid) = stream.peer_cred().map(|peer| peer.uid().into()) else {
            continue;
        };
        let (members, others) = (members.clone(), others.clone());
        let sender = sender.clone();
        // The user database may be slow, and others do not wait for this one.
        tokio::spawn(async move {
            let actor = peer::actor(uid, Via::UnixSocket).await;
            let limiter = match policy::authorize(&actor, Verb::Observe, None) {
                Ok(()) => members,
                Err(_) => others,
            };
            match limiter.admit(uid) {
                Ok(permit) => {
                    let connection = Connection {
                        stream,
                        _permit: permit,
                    };
                    // Nobody is there to serve it when the daemon stops.
                    let _ = sender.send(connection).await;
                }
                Err(LimitReached { is_first: true }) => tracing::warn!(
                    uid = uid.get(),
                    "too many connections to the control socket; more are refused until some are closed"
                ),
                Err(LimitReached { is_first: false }) => {}
            }
        });
    }
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
