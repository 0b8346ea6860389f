//! Connections to an API server: no delay, dead peers noticed within 20 s, through a proxy where there is one.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::{BoxError, Service, ServiceExt};

use crate::access::tls;
use crate::endpoint::Endpoint;

/// From name to the end of the TLS handshake.
const LIMIT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// What was sent must be acknowledged within this time.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// Why there is no connection to an API server.
#[derive(Debug, Error)]
pub(super) enum DialError {
    #[error("{host} has no address")]
    Resolve { host: String, source: io::Error },
    #[error("{target} cannot be reached")]
    Connect { target: String, source: BoxError },
    #[error("the proxy {proxy} does not lead to {target}")]
    Proxy {
        proxy: String,
        target: String,
        source: BoxError,
    },
    #[error("no TLS connection to {target}")]
    Tls { target: String, source: io::Error },
    #[error("{target} did not answer within {} s", LIMIT.as_secs())]
    Timeout { target: String },
    #[error("{0:?} is no server name that a certificate can have")]
    ServerName(String),
}

/// Makes connections to one API server with one TLS configuration.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    proxy: Option<Uri>,
    tls_server_name: Option<String>,
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    pub(super) fn new(endpoint: &Endpoint, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            tcp: tcp(),
            proxy: endpoint.proxy.clone(),
            tls_server_name: endpoint.tls_server_name.clone(),
            tls,
        }
    }

    async fn dial(self, to: Uri) -> Result<Stream, DialError> {
        let target = authority(&to);
        let dialing = async {
            let raw = match &self.proxy {
                Some(proxy) => self.through(proxy, to.clone(), &target).await?,
                None => boxed(self.tcp.clone().oneshot(to.clone()).await, |source| {
                    unreachable_target(&target, source)
                })?,
            };
            match &self.tls {
                Some(config) => {
                    let name = self.tls_server_name.as_deref();
                    let host = to.host().unwrap_or_default();
                    encrypt(raw, config.clone(), name.unwrap_or(host), &target).await
                }
                None => Ok(raw),
            }
        };
        timeout(LIMIT, dialing).await.unwrap_or_else(|_| {
            Err(DialError::Timeout {
                target: target.clone(),
            })
        })
    }

    async fn through(&self, proxy: &Uri, to: Uri, target: &str) -> Result<Stream, DialError> {
        // The matcher is asked for what it makes of the address: the proxy without its credentials, and those.
        let shown = authority(proxy);
        let failed = |source| DialError::Proxy {
            proxy: shown.clone(),
            target: target.to_owned(),
            source,
        };
        let intercept =
            intercept(proxy).ok_or_else(|| failed("its address is not understood".into()))?;
        let address = intercept.uri().clone();
        match address.scheme_str() {
            Some("socks5") => {
                let mut socks = SocksV5::new(address, self.tcp.clone());
                if let Some((user, password)) = intercept.raw_auth() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                boxed(socks.oneshot(to).await, failed)
            }
            Some("https") => {
                let encrypted = tower::service_fn({
                    let tcp = self.tcp.clone();
                    move |proxy: Uri| dial_proxy(tcp.clone(), proxy)
                });
                boxed(tunnel(encrypted, &intercept).oneshot(to).await, failed)
            }
            _ => boxed(
                tunnel(self.tcp.clone(), &intercept).oneshot(to).await,
                failed,
            ),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Stream, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        self.clone().dial(to).boxed()
    }
}

fn tcp() -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE_IDLE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

fn intercept(proxy: &Uri) -> Option<Intercept> {
    let matcher = Matcher::builder().all(proxy.to_string()).build();
    matcher.intercept(&Uri::from_static("https://any"))
}

fn tunnel<C>(connector: C, intercept: &Intercept) -> Tunnel<C> {
    let tunnel = Tunnel::new(intercept.uri().clone(), connector);
    match intercept.basic_auth() {
        Some(header) => tunnel.with_auth(header.clone()),
        None => tunnel,
    }
}

/// A connection to an `https://` proxy itself.
async fn dial_proxy(tcp: HttpConnector<Resolver>, proxy: Uri) -> Result<Stream, BoxError> {
    let target = authority(&proxy);
    let config = tls::proxy_config()?;
    let raw = boxed(tcp.oneshot(proxy.clone()).await, |source| {
        unreachable_target(&target, source)
    })?;
    let host = proxy.host().unwrap_or_default();
    Ok(encrypt(raw, config, host, &target).await?)
}

async fn encrypt(
    raw: Stream,
    config: Arc<ClientConfig>,
    name: &str,
    target: &str,
) -> Result<Stream, DialError> {
    let bare = name.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(bare.clone()).map_err(|_| DialError::ServerName(bare))?;
    let tls = TlsConnector::from(config)
        .connect(name, TokioIo::new(raw))
        .await
        .map_err(|source| DialError::Tls {
            target: target.to_owned(),
            source,
        })?;
    Ok(Stream(Box::new(TokioIo::new(tls))))
}

fn boxed<T: Io + 'static, E: Into<BoxError>>(
    result: Result<T, E>,
    failed: impl FnOnce(BoxError) -> DialError,
) -> Result<Stream, DialError> {
    match result {
        Ok(io) => Ok(Stream(Box::new(io))),
        Err(error) => Err(failed(error.into())),
    }
}

/// Tells a name without address from an address that does not answer.
fn unreachable_target(target: &str, source: BoxError) -> DialError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&*source);
    while let Some(error) = cause {
        if let Some(NoAddress { host, source }) = error.downcast_ref() {
            return DialError::Resolve {
                host: host.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            };
        }
        cause = error.source();
    }
    DialError::Connect {
        target: target.to_owned(),
        source,
    }
}

/// `host:port`, never with credentials.
fn authority(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let default = if uri.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    format!("{host}:{}", uri.port_u16().unwrap_or(default))
}

/// The system's resolver, with errors that name what was looked up.
#[derive(Clone)]
pub(super) struct Resolver(GaiResolver);

#[derive(Debug, Error)]
#[error("{host} has no address")]
struct NoAddress {
    host: String,
    source: io::Error,
}

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<GaiAddrs, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(&mut self.0, cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let resolving = self.0.call(name);
        async move {
            let resolved = resolving.await;
            resolved.map_err(|source| NoAddress { host, source }.into())
        }
        .boxed()
    }
}

trait Io: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection of any kind.
pub(super) struct Stream(Box<dyn Io>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        // Even through a proxy the request is written as to the origin: what a proxy carries here is a tunnel.
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, buffers)
    }
}
