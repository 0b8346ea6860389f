//! Connections to an API server, for requests and tunnels alike: direct, or through an HTTP, HTTPS or SOCKS5 proxy.

mod failure;
mod proxy;
mod socket;
pub mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::api_server::ApiServer;

pub use failure::tls_failure;
pub(crate) use socket::Traffic;

/// How long a connection may take, from the name lookup to the end of the TLS handshake.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The head start of an address over the next one (RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A connected byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connection for Box<dyn Io> {
    fn connected(&self) -> Connected {
        // Proxies only tunnel: requests are written as to the origin.
        Connected::new()
    }
}

/// Why there is no connection to an API server.
#[derive(Debug, Error)]
pub enum DialError {
    /// The URL of the server or its proxy has no host or an unknown scheme.
    #[error("{0:?} is not a valid server address")]
    Address(String),
    /// The name lookup failed.
    #[error("{host} has no address")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {target}")]
    Connect {
        /// The server's `host:port`.
        target: String,
        /// Why the first address failed.
        source: io::Error,
    },
    /// The proxy is unreachable, or refuses.
    #[error("no connection to {target} through the proxy {proxy}")]
    Proxy {
        /// The proxy's `host:port`.
        proxy: String,
        /// The server's `host:port`.
        target: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no TLS connection to {target}")]
    Tls {
        /// The server's `host:port`.
        target: String,
        /// Holds a [`rustls::Error`] where the server or its certificate is at fault.
        source: io::Error,
    },
    /// Neither a DNS name nor an IP address.
    #[error("{0:?} is not a valid TLS server name")]
    ServerName(String),
    /// There was no connection within the time limit.
    #[error("{target} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout {
        /// The server's `host:port`.
        target: String,
    },
}

impl DialError {
    /// Whether a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        !matches!(self, Self::Address(_) | Self::ServerName(_))
    }
}

/// Connects to `server` for requests, under TLS with `tls` unless it speaks plain HTTP.
///
/// # Errors
/// The address is invalid, nobody answers in time, the proxy refuses, or TLS fails.
pub async fn connect(
    server: &ApiServer,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Box<dyn Io>, DialError> {
    let handshake = |io, config, name| async move {
        let stream = TlsConnector::from(config).connect(name, io).await?;
        Ok(Box::new(stream) as Box<dyn Io>)
    };
    dial(server, tls, Traffic::Requests, |io| io, handshake).await
}

/// Connects to `server`: `plain` wraps a connection without TLS, `handshake` makes it.
pub(crate) async fn dial<T, F>(
    server: &ApiServer,
    tls: Option<Arc<ClientConfig>>,
    traffic: Traffic,
    plain: impl FnOnce(Box<dyn Io>) -> T,
    handshake: impl FnOnce(Box<dyn Io>, Arc<ClientConfig>, ServerName<'static>) -> F,
) -> Result<T, DialError>
where
    F: Future<Output = io::Result<T>>,
{
    let target = Target::of(&server.url)?;
    let tls_error = |source| {
        let target = target.to_string();
        DialError::Tls { target, source }
    };
    let connecting = async {
        let io = match &server.proxy {
            Some(proxy) => proxy::connect(proxy, &target, traffic).await?,
            None => Box::new(target.connect_tcp(traffic).await?),
        };
        if !target.is_tls {
            return Ok(plain(io));
        }
        let config = tls.ok_or_else(|| tls_error(io::Error::other("no TLS settings")))?;
        let name = target.server_name(server.tls_server_name.as_deref())?;
        handshake(io, config, name).await.map_err(tls_error)
    };
    let connected = timeout(TIMEOUT, connecting).await;
    connected.unwrap_or_else(|_| {
        let target = target.to_string();
        Err(DialError::Timeout { target })
    })
}

/// Host and port of a URL; shown as `host:port`, never with credentials.
struct Target {
    host: String,
    port: u16,
    /// `https://`
    is_tls: bool,
}

impl Target {
    /// Reads the URL of a server or a proxy.
    fn of(url: &Uri) -> Result<Self, DialError> {
        // The URL itself may hold a password.
        let invalid = || DialError::Address(url.host().unwrap_or_default().to_owned());
        let host = url.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(invalid)?;
        let (is_tls, port) = match url.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            Some("socks5" | "socks5h") => (false, 1080),
            _ => return Err(invalid()),
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_u16().unwrap_or(port),
            is_tls,
        })
    }

    /// The name to verify the server's certificate against.
    fn server_name(&self, other: Option<&str>) -> Result<ServerName<'static>, DialError> {
        let name = other.unwrap_or(&self.host).to_owned();
        ServerName::try_from(name.clone()).map_err(|_| DialError::ServerName(name))
    }

    /// Connects to the first address that answers; each has a short head start over the next.
    async fn connect_tcp(&self, traffic: Traffic) -> Result<TcpStream, DialError> {
        let resolved = lookup_host((self.host.as_str(), self.port)).await;
        let addresses = resolved.map_err(|source| DialError::Resolve {
            host: self.host.clone(),
            source,
        })?;
        let connected = connect_to_first(addresses.collect()).await;
        let tuned = connected.and_then(|tcp| socket::tune(&tcp, traffic).map(|()| tcp));
        tuned.map_err(|source| DialError::Connect {
            target: self.to_string(),
            source,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

async fn connect_to_first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        attempts.extend(addresses.next().map(TcpStream::connect));
        let head_start = tokio::time::sleep(ATTEMPT_DELAY);
        tokio::select! {
            result = attempts.next() => match result {
                Some(Ok(tcp)) => return Ok(tcp),
                Some(Err(error)) => first_error = first_error.or(Some(error)),
                None => {
                    let none = || io::Error::other("the name has no address");
                    return Err(first_error.unwrap_or_else(none));
                }
            },
            () = head_start, if addresses.len() > 0 => {}
        }
    }
}
