//! The `portforward` subresource: negotiation of its three transports, as the API server and kubelet of 1.36 do it.

mod forward;
mod frames;
mod headers;
mod legacy;
mod session;
mod stream;
mod transport;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::legacy::Encoding;
use self::session::EndedBy;
use self::transport::{Framing, Inbound, OUTBOUND_QUEUE, Outbound, Receiver, write_all};
use crate::api::respond::{Answer, plain, status};
use crate::api::uri::Query;
use crate::pods::Sandbox;
use crate::server::ServerIo;
use crate::state::State;
use crate::status::Status;
use crate::world::Lookup;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL_PREFIX: &str = "SPDY/3.1+";
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_HEADER: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
const WS_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const WS_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const WS_PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const WS_VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");

/// What was agreed on.
enum Agreed {
    Spdy,
    Tunnel,
    V4(Vec<u16>, Encoding),
}

/// Answers a request for `pods/NAME/portforward`. On success the connection is served by a task of its own until `cut`.
pub(crate) fn handle(
    state: &Arc<State>,
    mut request: Request<Incoming>,
    namespace: &str,
    name: &str,
    cut: &CancellationToken,
) -> Answer {
    let query = Query::parse(request.uri().query());
    let ports = match requested_ports(&query) {
        Ok(ports) => ports,
        Err(refusal) => return status(&refusal),
    };
    let sandbox = match state.world.sandbox(namespace, name) {
        Lookup::Found(sandbox) => sandbox,
        Lookup::Unscheduled => {
            return status(&Status::bad_request(format!(
                "pod {name} does not have a host assigned"
            )));
        }
        Lookup::Missing => return status(&Status::not_found("", "pods", name)),
    };
    let headers = request.headers();
    let flavour = state.flavour.read();
    let websocket = has_token(headers, &UPGRADE, "websocket");
    let stripped = flavour.strips_upgrades && !websocket;
    if stripped || !has_token(headers, &CONNECTION, "upgrade") {
        return status(&Status::bad_request("Upgrade request required"));
    }
    if flavour.kubelet_syncing {
        return plain(StatusCode::NOT_FOUND, "pod does not exist");
    }
    if websocket && !flavour.websocket || !websocket && !flavour.classic_spdy {
        return plain(StatusCode::FORBIDDEN, "upgrade_failed");
    }
    let negotiated = if websocket {
        negotiate_websocket(request.method(), headers, &ports, flavour.websocket_tunnel)
    } else {
        negotiate_spdy(headers)
    };
    let (agreed, response) = match negotiated {
        Ok(agreed) => agreed,
        Err(refusal) => return *refusal,
    };
    let framing = match agreed {
        Agreed::Tunnel if flavour.tunnel_fragments => Framing::TunnelFragmented,
        Agreed::Tunnel => Framing::Tunnel,
        Agreed::Spdy | Agreed::V4(..) => Framing::Plain,
    };
    match agreed {
        Agreed::Spdy => state.counters.upgrades_spdy.add(1),
        Agreed::Tunnel => state.counters.upgrades_tunnel.add(1),
        Agreed::V4(..) => state.counters.upgrades_v4.add(1),
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let task = serve(Arc::clone(state), sandbox, upgrade, agreed, framing);
    tokio::spawn(cut.clone().run_until_cancelled_owned(task));
    response
}

/// The `ports` of the query, refused by the API server when they are no numbers.
fn requested_ports(query: &Query) -> Result<Vec<u64>, Status> {
    let mut ports = Vec::new();
    for text in query.all("ports").flat_map(|value| value.split(',')) {
        let problem = match text.parse::<u64>() {
            Ok(port) if port <= u64::from(u16::MAX) => {
                ports.push(port);
                continue;
            }
            Ok(_) => "value out of range",
            Err(_) => "invalid syntax",
        };
        return Err(Status::bad_request(format!(
            "cannot convert to []int32: strconv.ParseUint: parsing \"{text}\": {problem}"
        )));
    }
    Ok(ports)
}

type Negotiated = Result<(Agreed, Answer), Box<Answer>>;

fn negotiate_spdy(headers: &HeaderMap) -> Negotiated {
    let offered: Vec<_> = values(headers, &VERSION_HEADER).collect();
    if offered.is_empty() {
        let text = format!(
            "unable to upgrade: header X-Stream-Protocol-Version does not exist in request with {} headers\n",
            // The kubelet counts what the API server's proxy passes on; that adds one.
            headers.len() + 1
        );
        return Err(Box::new(sniffless(plain(StatusCode::BAD_REQUEST, text))));
    }
    if !offered.iter().any(|offer| offer == PROTOCOL) {
        return Err(Box::new(unsupported(&offered)));
    }
    let mut response = switching(&[
        (CONNECTION, "Upgrade"),
        (UPGRADE, "SPDY/3.1"),
        (VERSION_HEADER, PROTOCOL),
    ]);
    crate::api::respond::date(&mut response);
    Ok((Agreed::Spdy, response))
}

fn negotiate_websocket(
    method: &Method,
    headers: &HeaderMap,
    ports: &[u64],
    tunnel: bool,
) -> Negotiated {
    let offered: Vec<_> = values(headers, &WS_PROTOCOL).collect();
    let key = headers.get(WS_KEY).and_then(|key| key.to_str().ok());
    let accept = websocket::accept_key(key.unwrap_or_default());
    let tunnelled: Vec<_> = offered
        .iter()
        .filter_map(|offer| offer.strip_prefix(TUNNEL_PREFIX))
        .map(str::to_owned)
        .collect();
    if tunnel && !tunnelled.is_empty() {
        if method != Method::GET {
            let mut response = sniffless(plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "Method Not Allowed\n",
            ));
            response
                .headers_mut()
                .insert(WS_VERSION, HeaderValue::from_static("13"));
            return Err(Box::new(response));
        }
        if !tunnelled.iter().any(|offer| offer == PROTOCOL) {
            return Err(Box::new(unsupported(&tunnelled)));
        }
        let protocol = format!("{TUNNEL_PREFIX}{PROTOCOL}");
        return Ok((Agreed::Tunnel, switching_websocket(&accept, &protocol)));
    }
    if ports.is_empty() {
        return Err(Box::new(plain(
            StatusCode::BAD_REQUEST,
            "query parameter \"port\" is required",
        )));
    }
    let ports = ports
        .iter()
        .map(|port| u16::try_from(*port).ok().filter(|port| *port > 0));
    let Some(ports) = ports.collect::<Option<Vec<_>>>() else {
        return Err(Box::new(plain(
            StatusCode::BAD_REQUEST,
            "port \"0\" must be > 0",
        )));
    };
    let chosen = if offered.is_empty() {
        Some(("", Encoding::Binary))
    } else {
        offered.iter().find_map(|offer| match offer.as_str() {
            "v4.channel.k8s.io" => Some(("v4.channel.k8s.io", Encoding::Binary)),
            "v4.base64.channel.k8s.io" => Some(("v4.base64.channel.k8s.io", Encoding::Base64)),
            _ => None,
        })
    };
    let Some((protocol, encoding)) = chosen else {
        let mut response = crate::api::respond::empty(StatusCode::FORBIDDEN);
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        return Err(Box::new(response));
    };
    Ok((
        Agreed::V4(ports, encoding),
        switching_websocket(&accept, protocol),
    ))
}

fn unsupported(offered: &[String]) -> Answer {
    let mut response = sniffless(plain(
        StatusCode::FORBIDDEN,
        format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{PROTOCOL}]\n",
            offered.join(" ")
        ),
    ));
    response
        .headers_mut()
        .insert(ACCEPTED_HEADER, HeaderValue::from_static(PROTOCOL));
    response
}

fn sniffless(mut response: Answer) -> Answer {
    response.headers_mut().insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn switching(headers: &[(HeaderName, &str)]) -> Answer {
    let mut response = Response::new(crate::api::respond::Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("the values made here are plain ASCII");
        response.headers_mut().insert(name, value);
    }
    response
}

fn switching_websocket(accept: &str, protocol: &str) -> Answer {
    switching(&[
        (UPGRADE, "websocket"),
        (CONNECTION, "Upgrade"),
        (WS_ACCEPT, accept),
        (WS_PROTOCOL, protocol),
    ])
}

/// The comma-separated values of a header, over all its lines.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    values(headers, name).any(|value| value.eq_ignore_ascii_case(token))
}

async fn serve(
    state: Arc<State>,
    sandbox: Arc<Sandbox>,
    upgrade: OnUpgrade,
    agreed: Agreed,
    framing: Framing,
) {
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    let _open = state.counters.enter_upgraded();
    // Bytes that came before the 101 are lost, as in the API server, which drops its read buffer at this point.
    match upgraded.downcast::<TokioIo<ServerIo>>() {
        Ok(parts) => {
            let io = parts.io.into_inner();
            serve_io(&state, sandbox, io, agreed, framing).await;
        }
        Err(other) => {
            let io: TokioIo<Upgraded> = TokioIo::new(other);
            serve_io(&state, sandbox, io, agreed, framing).await;
        }
    }
}

async fn serve_io<T: AsyncRead + AsyncWrite + Send + 'static>(
    state: &Arc<State>,
    sandbox: Arc<Sandbox>,
    io: T,
    agreed: Agreed,
    framing: Framing,
) {
    let (read, write) = tokio::io::split(io);
    let (out, queue) = mpsc::channel(OUTBOUND_QUEUE);
    let serving = async {
        if let Agreed::V4(ports, encoding) = agreed {
            legacy::serve(Arc::clone(state), sandbox, ports, encoding, read, out).await;
            return;
        }
        let mut receiver = Receiver::new(read, framing);
        let ended = session::serve(Arc::clone(state), sandbox, &mut receiver, out.clone()).await;
        let frame = match (ended, framing) {
            (EndedBy::Runtime, Framing::Tunnel | Framing::TunnelFragmented) => {
                hidden_death(&mut receiver, &out).await;
                Some(websocket::close())
            }
            (EndedBy::Client, Framing::Tunnel | Framing::TunnelFragmented) => {
                Some(websocket::close())
            }
            _ => None,
        };
        let _gone = out.send(Outbound::Close { frame }).await;
    };
    let mut writing = std::pin::pin!(write_all(write, framing, queue));
    tokio::select! {
        // A write error means that the client is gone.
        _ = &mut writing => {}
        () = serving => {
            let _written = writing.await;
        }
    }
}

/// The tunnel's server does not notice that its upstream has gone until the client sends data: it keeps the connection
/// and answers WebSocket pings meanwhile.
async fn hidden_death<R: AsyncRead + Unpin>(
    receiver: &mut Receiver<R>,
    out: &mpsc::Sender<Outbound>,
) {
    loop {
        match receiver.next().await {
            Ok(Inbound::Ping(payload)) => {
                let pong = websocket::frame(websocket::Opcode::Pong, &payload);
                let pong = Outbound::WebSocket(pong, Bytes::new());
                if out.send(pong).await.is_err() {
                    return;
                }
            }
            Ok(Inbound::Spdy(_) | Inbound::Close | Inbound::End) | Err(_) => return,
        }
    }
}
