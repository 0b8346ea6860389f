//! The API server's listener: TLS, connections, their end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Peer};
use crate::state::State;

/// A connection to the API server. rustls asks for 4 KiB at a time; the buffer below it makes fewer system calls of that.
pub(crate) type ServerIo = TlsStream<BufReader<TcpStream>>;

/// The size of that buffer.
const SOCKET_READ: usize = 128 * 1024;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take for the head of its first request; Go's ReadHeaderTimeout in the API server.
const FIRST_REQUEST: Duration = Duration::from_secs(32);

/// The running API server. It can be stopped and started again at the same address.
pub(crate) struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Mutex<CancellationToken>,
}

struct Shared {
    state: Arc<State>,
    tls: TlsAcceptor,
    /// Cuts all present connections, upgraded ones too.
    connections: Mutex<CancellationToken>,
    tasks: TaskTracker,
}

impl ApiServer {
    /// Listens at the address; port 0 chooses a free one.
    pub(crate) async fn start(
        state: Arc<State>,
        tls: Arc<ServerConfig>,
        address: SocketAddr,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let server = Self {
            shared: Arc::new(Shared {
                state,
                tls: TlsAcceptor::from(tls),
                connections: Mutex::default(),
                tasks: TaskTracker::new(),
            }),
            address: listener.local_addr()?,
            listening: Mutex::default(),
        };
        server.accept_on(listener);
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and cuts all connections: new ones are refused. Returns when that is so.
    pub(crate) async fn stop(&self) {
        self.close();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Listens again at the same address.
    pub(crate) async fn resume(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        *lock(&self.listening) = CancellationToken::new();
        self.shared.tasks.reopen();
        self.accept_on(listener);
        Ok(())
    }

    /// Cuts all connections; new ones are accepted.
    pub(crate) fn cut_connections(&self) {
        std::mem::take(&mut *lock(&self.shared.connections)).cancel();
    }

    fn close(&self) {
        lock(&self.listening).cancel();
        self.cut_connections();
    }

    fn accept_on(&self, listener: TcpListener) {
        let listening = lock(&self.listening).clone();
        let accepting = accept(Arc::clone(&self.shared), listener, listening.clone());
        self.shared
            .tasks
            .spawn(listening.run_until_cancelled_owned(accepting));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(token: &Mutex<CancellationToken>) -> std::sync::MutexGuard<'_, CancellationToken> {
    token.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, listening: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                // A child, so that one connection can be cut by itself. Whoever stops the server cancels `listening` before
                // all connections: one that comes in between is not served, since nothing would cut it.
                let cut = {
                    let connections = lock(&shared.connections);
                    if listening.is_cancelled() {
                        return;
                    }
                    connections.child_token()
                };
                let serving = serve(Arc::clone(&shared), tcp, cut.clone());
                shared.tasks.spawn(cut.run_until_cancelled_owned(serving));
            }
            Err(error) => {
                tracing::warn!(%error, "the API server cannot accept; it tries again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, tcp: TcpStream, cut: CancellationToken) {
    let state = &shared.state;
    state.counters.connections.add(1);
    let _open = state.counters.connections_open.enter();
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it was served");
        return;
    }
    let buffered = BufReader::with_capacity(SOCKET_READ, tcp);
    let handshake = tokio::time::timeout(HANDSHAKE, shared.tls.accept(buffered)).await;
    let Ok(Ok(tls)) = handshake else {
        state.counters.tls_failures.add(1);
        return;
    };
    let certificate = tls.get_ref().1.peer_certificates();
    let certificate = certificate.and_then(|chain| Some(chain.first()?.to_vec()));
    let peer = Arc::new(Peer { certificate, cut });
    let service_state = Arc::clone(state);
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, peer) = (Arc::clone(&service_state), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(api::handle(&state, request, &peer).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_REQUEST)
        .auto_date_header(false)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(tls), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
