//! One upgrade of one connection: from HTTP to the frames of a port-forward.

use std::io;
use std::time::Duration;

use http::header::{self, HeaderMap};
use http::{StatusCode, Uri};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use super::{Transport, websocket};
use crate::backend::Backend;
use crate::http1::{HeadError, MAX_HEAD, Reason, names, parse_head, reason, request};
use crate::upstream::Upstream;

/// How long to wait for the body of a refusal.
const BODY_WAIT: Duration = Duration::from_secs(1);

/// The pod and the request to the server.
pub(crate) struct Request<'a> {
    pub(crate) server: &'a Uri,
    pub(crate) pod: &'a Backend,
    /// Only [`Transport::Channel`] names its port here.
    pub(crate) port: u16,
    /// Authorization and impersonation.
    pub(crate) headers: &'a HeaderMap,
}

/// A connection that now carries frames.
pub(crate) struct Upgraded {
    pub(crate) upstream: Upstream,
    pub(crate) transport: Transport,
    /// What came behind the response's head.
    pub(crate) initial: Vec<u8>,
    /// From the request to the response: one round trip and the cluster's own work.
    pub(crate) took: Duration,
}

/// Why a connection carries no frames.
#[derive(Debug, Error)]
pub(crate) enum UpgradeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("{status}: {}", reason.message)]
    Refused { status: StatusCode, reason: Reason },
    #[error("the upgrade response does not confirm the protocol")]
    Unconfirmed,
}

/// Sends the request over `upstream` and reads the response.
///
/// Nothing is sent after the request before the response has arrived: the API server would lose it.
///
/// # Errors
/// The connection broke, or the server did not switch protocols.
pub(crate) async fn upgrade(
    mut upstream: Upstream,
    transport: Transport,
    ask: &Request<'_>,
) -> Result<Upgraded, UpgradeError> {
    let key = websocket::key();
    let started = Instant::now();
    upstream.write_all(&head(transport, ask, &key)).await?;
    let mut bytes = Vec::new();
    let head = loop {
        upstream.read(&mut bytes).await?;
        if let Some(head) = parse_head(&bytes)? {
            break head;
        }
    };
    let took = started.elapsed();
    let initial = bytes.split_off(head.length);
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        let body = body(&mut upstream, &head.headers, initial).await;
        return Err(UpgradeError::Refused {
            status: head.status,
            reason: reason(&body),
        });
    }
    let confirmed = match transport {
        Transport::Spdy => names(&head.headers, header::UPGRADE, SPDY),
        Transport::WebSocket | Transport::Channel => {
            let protocol = subprotocol(transport);
            let accept = head.headers.get(header::SEC_WEBSOCKET_ACCEPT);
            names(&head.headers, header::SEC_WEBSOCKET_PROTOCOL, protocol)
                && accept.is_some_and(|accept| *accept == websocket::accept(&key))
        }
    };
    if !confirmed {
        return Err(UpgradeError::Unconfirmed);
    }
    Ok(Upgraded {
        upstream,
        transport,
        initial,
        took,
    })
}

const SPDY: &str = "SPDY/3.1";
const PROTOCOL_VERSION: &str = "X-Stream-Protocol-Version";

fn subprotocol(transport: Transport) -> &'static str {
    match transport {
        Transport::Spdy => "portforward.k8s.io",
        Transport::WebSocket => "SPDY/3.1+portforward.k8s.io",
        Transport::Channel => "v4.channel.k8s.io",
    }
}

fn head(transport: Transport, ask: &Request<'_>, key: &str) -> Vec<u8> {
    let authority = ask
        .server
        .authority()
        .map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let prefix = ask.server.path().trim_end_matches('/');
    let mut target = format!(
        "{prefix}/api/v1/namespaces/{}/pods/{}/portforward",
        ask.pod.namespace, ask.pod.pod
    );
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("Host", host.as_bytes()),
        (
            "User-Agent",
            concat!("kubefwd/", env!("CARGO_PKG_VERSION")).as_bytes(),
        ),
        ("Connection", b"Upgrade"),
    ];
    for (name, value) in ask.headers {
        headers.push((name.as_str(), value.as_bytes()));
    }
    let protocol = subprotocol(transport).as_bytes();
    if transport == Transport::Spdy {
        headers.push(("Upgrade", SPDY.as_bytes()));
        headers.push((PROTOCOL_VERSION, protocol));
        headers.push(("Content-Length", b"0"));
        return request("POST", &target, &headers);
    }
    if transport == Transport::Channel {
        target = format!("{target}?ports={}", ask.port);
    }
    headers.push(("Upgrade", b"websocket"));
    headers.push(("Sec-WebSocket-Version", b"13"));
    headers.push(("Sec-WebSocket-Key", key.as_bytes()));
    headers.push(("Sec-WebSocket-Protocol", protocol));
    request("GET", &target, &headers)
}

/// The body of a refusal, as far as it comes in time: it only serves the error text.
async fn body(upstream: &mut Upstream, headers: &HeaderMap, mut body: Vec<u8>) -> Vec<u8> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(MAX_HEAD).min(MAX_HEAD);
    let _ = timeout(BODY_WAIT, async {
        while body.len() < length && upstream.read(&mut body).await.is_ok() {}
    })
    .await;
    body.truncate(length);
    body
}

#[cfg(test)]
mod tests;
