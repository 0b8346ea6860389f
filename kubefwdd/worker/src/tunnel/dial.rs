//! A byte stream to the API server: TCP, through a proxy where the kubeconfig or the environment names one.

mod proxy;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};

use super::error::OpenError;
use super::link::{Io, Link};
use crate::endpoint::Endpoint;

/// The head start of an address over the next one (RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the API server of `endpoint` and makes TLS with `tls`.
///
/// # Errors
/// The address makes no sense, nobody answers, the proxy refuses, or TLS fails.
pub(super) async fn dial(
    endpoint: &Endpoint,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Link, OpenError> {
    let target = Target::of(&endpoint.server)?;
    let io: Box<dyn Io> = match &endpoint.proxy {
        Some(proxy) => proxy::connect(proxy, &target).await?,
        None => {
            let tcp = connect(&target.host, target.port).await;
            Box::new(tcp.map_err(|source| OpenError::Connect {
                server: target.to_string(),
                source: Arc::new(source),
            })?)
        }
    };
    if !target.tls {
        return Ok(Link::plain(io));
    }
    let name = endpoint.tls_server_name.as_ref().unwrap_or(&target.host);
    let name = ServerName::try_from(name.clone())
        .map_err(|_| OpenError::Address(format!("`{name}` is not a valid TLS server name")))?;
    let config = tls.ok_or_else(|| {
        OpenError::Address(format!("no TLS settings for the API server {target}"))
    })?;
    Link::tls(io, config, name)
        .await
        .map_err(|source| OpenError::Tls {
            server: target.to_string(),
            source: Arc::new(source),
        })
}

/// Where a URI leads.
struct Target {
    host: String,
    port: u16,
    tls: bool,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, OpenError> {
        let invalid = || OpenError::Address(format!("`{uri}` is not the address of a server"));
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(invalid)?;
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            Some("socks5" | "socks5h") => (false, 1080),
            _ => return Err(invalid()),
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(port),
            tls,
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Connects to the first address of `host` that answers; each has a short head start over the next.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    let mut addresses = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        tries.extend(addresses.next().map(TcpStream::connect));
        let head_start = tokio::time::sleep(ATTEMPT_DELAY);
        tokio::select! {
            result = tries.next() => match result {
                Some(Ok(tcp)) => {
                    socket::tune_upstream(&tcp)?;
                    return Ok(tcp);
                }
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
