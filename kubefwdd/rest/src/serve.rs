//! Connections: accepted up to a limit, for all and for each user; each with the identity of its other end, closed in an orderly way at the end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kubefwd_core::limiter::{ConnectionLimiter, LimitReached};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::control::Control;
use super::error::ApiError;
use super::identity::Peer;

/// Connections on each socket at a time: streams are connections too.
const CONNECTIONS: usize = 4_096;
/// The most of one user, so that there are always some for others.
const PER_USER: usize = CONNECTIONS / 2;
/// How long the head of a request may take to come.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request, bytes.
const HEAD_BYTES: usize = 32 * 1024;
/// How long requests under way may take when the daemon stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a refusal may take to be sent.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait when there is no free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A socket that connections come from.
pub(crate) trait Listener: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The other end.
    fn peer(stream: &Self::Stream, control: &dyn Control) -> impl Future<Output = Peer> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn peer(stream: &TcpStream, control: &dyn Control) -> Peer {
        match (stream.peer_addr(), stream.local_addr()) {
            (Ok(peer), Ok(local)) => Peer::Tcp {
                peer,
                local,
                accepted: control.tcp_owner(peer, local).await,
            },
            _ => Peer::Gone,
        }
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }

    async fn peer(stream: &UnixStream, _: &dyn Control) -> Peer {
        Peer::Unix {
            uid: stream
                .peer_cred()
                .ok()
                .map(|credentials| credentials.uid().into()),
        }
    }
}

/// Serves a socket until `stop`.
pub(crate) async fn serve<L: Listener>(
    listener: L,
    router: Router,
    control: Arc<dyn Control>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let limiter = ConnectionLimiter::new(PER_USER);
    let connections = TaskTracker::new();
    loop {
        let next = async {
            // The semaphore is never closed; without a permit new connections wait in the kernel's queue.
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let next = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        match next {
            Some((permit, Ok(stream))) => {
                let (router, limiter) = (router.clone(), limiter.clone());
                let (control, stop) = (control.clone(), stop.clone());
                connections.spawn(async move {
                    let peer = L::peer(&stream, &*control).await;
                    connection::<L>(stream, peer, router, limiter, stop).await;
                    drop(permit);
                });
            }
            Some((_, Err(error))) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
            None => break,
        }
    }
    connections.close();
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, connections.wait()).await;
}

/// Answers the requests of one connection, each of which knows its other end.
pub(crate) fn service(
    router: Router,
    peer: Peer,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> {
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(Body::new))
    })
}

async fn connection<L: Listener>(
    mut stream: L::Stream,
    peer: Peer,
    router: Router,
    limiter: ConnectionLimiter,
    stop: CancellationToken,
) {
    // An unknown caller gets next to nothing, and counts among all connections only.
    let user_permit = match peer.accepted_uid().map(|uid| (uid, limiter.admit(uid))) {
        Some((uid, Err(LimitReached { is_first }))) => {
            if is_first {
                tracing::warn!(
                    uid = uid.get(),
                    "has {PER_USER} connections to the REST API; more are refused until some are closed"
                );
            }
            refuse(&mut stream).await;
            return;
        }
        Some((_, Ok(permit))) => Some(permit),
        None => None,
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service(router, peer));
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended");
    }
    drop(user_permit);
}

/// Says why the connection is closed, without waiting for a request that may never come.
async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S) {
    let message = format!("you already have {PER_USER} connections to this API");
    let refusal = ApiError::unavailable(message).hint("close some, and try again");
    let answer = refusal.to_http1();
    let told = stream.write_all(&answer);
    // Somebody who does not read it is not waited for.
    let _ = tokio::time::timeout(REFUSE_TIMEOUT, told).await;
}
