//! Who may call, before anything is routed.
//!
//! A browser runs as the right user, so pages from elsewhere are kept out by what they cannot change: the Host they
//! were loaded from (DNS rebinding), Origin, Referer and Sec-Fetch-Site (requests across sites), and the content types that
//! a form can send. No CORS header is ever given. Then the user is found from the kernel, and policy decides.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method, StatusCode, Uri};
use kubefwd_core::names::API_NAME;
use kubefwd_core::policy::{self, Actor, Verb, Via};

use super::ApiState;
use super::error::{ApiError, Code};
use super::extract::{MAX_BODY, too_large};
use super::identity::{self, Peer};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Whatever its value: a page of another site cannot send it without asking first, and is never allowed to.
const X_KUBEFWD: HeaderName = HeaderName::from_static("x-kubefwd");
/// Names that a local client may use for this machine; a page from elsewhere has another.
const LOCAL: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// What does not need to know who asks: whether the daemon is well, and its documentation.
fn is_public(path: &str) -> bool {
    path == "/api/health"
        || path == "/"
        || path == "/docs"
        || path.starts_with("/docs/")
        || path.starts_with("/openapi.")
}

/// The layer around every route.
pub(crate) async fn guard(
    State(api): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match admit(&api, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    add_security_headers(response.headers_mut());
    response
}

/// The layer around routes that start programs of the user: a browser gets there only with a header that no link, form or
/// image can send. Pages of ours send it.
pub(crate) async fn refuse_navigation(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if is_browser(headers) && !headers.contains_key(X_KUBEFWD) {
        let message = "a browser may not start a credential plugin by following a link";
        let refusal = ApiError::forbidden(message);
        return refusal
            .hint("send the header X-Kubefwd: 1 with the request")
            .into_response();
    }
    next.run(request).await
}

fn is_browser(headers: &HeaderMap) -> bool {
    let mut agents = headers.get_all(header::USER_AGENT).iter();
    agents.any(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("sec-fetch-"))
}

async fn admit(api: &ApiState, request: &mut Request) -> Result<(), ApiError> {
    let peer = request.extensions().get::<Peer>().cloned();
    let local = peer.as_ref().and_then(Peer::local);
    is_for_us(request.uri(), request.headers(), local)?;
    is_not_foreign(request.headers(), local)?;
    is_json(request.method(), request.headers())?;
    let actor = match (&peer, is_public(request.uri().path())) {
        (_, true) => Actor::unknown(Via::TcpPeer),
        (None, false) => return Err(ApiError::forbidden("the caller is unknown")),
        (Some(peer), false) => {
            let identity = api.identity.borrow().clone();
            let headers = request.headers();
            let actor = identity::actor(&*api.control, &identity, peer, headers).await?;
            policy::authorize(&actor, Verb::Observe, None)?;
            actor
        }
    };
    request.extensions_mut().insert(actor);
    Ok(())
}

/// The request is for a name or address of ours. `local` is the address it came to; `None` for a unix socket, which no
/// page can reach and whose clients write any host.
fn is_for_us(uri: &Uri, headers: &HeaderMap, local: Option<SocketAddr>) -> Result<(), ApiError> {
    let Some(local) = local else { return Ok(()) };
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(ApiError::forbidden(
            "a request needs exactly one Host header",
        ));
    };
    let named = host.to_str().unwrap_or_default();
    let in_line = uri.authority().map(|authority| authority.as_str());
    for authority in [Some(named), in_line].into_iter().flatten() {
        if !is_ours(authority, local) {
            return Err(ApiError::forbidden(format!(
                "{authority:?} is not a host name of kubefwd"
            ))
            .hint(format!("use http://{API_NAME}, or http://{local}")));
        }
    }
    Ok(())
}

/// `host[:port]` is exactly one of ours.
fn is_ours(authority: &str, local: SocketAddr) -> bool {
    let (host, port) = split(authority);
    let port = match port {
        None => Some(80),
        Some(port) => port
            .parse()
            .ok()
            .filter(|number: &u16| number.to_string() == port),
    };
    let address = match local {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let host = host.to_ascii_lowercase();
    port == Some(local.port())
        && (host == API_NAME || host == address || LOCAL.contains(&host.as_str()))
}

fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address does not begin a port.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// No page from elsewhere made this request. Pages of other programs on this machine are from elsewhere too: what counts is
/// the name or address that this request is for, and not that it is local.
fn is_not_foreign(headers: &HeaderMap, local: Option<SocketAddr>) -> Result<(), ApiError> {
    for name in [header::ORIGIN, header::REFERER] {
        for value in headers.get_all(&name) {
            let ours = value
                .to_str()
                .ok()
                .is_some_and(|value| is_our_page(value, headers, local));
            if !ours {
                let message = format!("requests from other pages are refused ({name}: {value:?})");
                return Err(ApiError::forbidden(message));
            }
        }
    }
    for value in headers.get_all(SEC_FETCH_SITE) {
        if !matches!(value.as_bytes(), b"none" | b"same-origin") {
            let message =
                format!("requests from other sites are refused (Sec-Fetch-Site: {value:?})");
            return Err(ApiError::forbidden(message));
        }
    }
    Ok(())
}

fn is_our_page(value: &str, headers: &HeaderMap, local: Option<SocketAddr>) -> bool {
    let Some(rest) = value.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    local.is_some_and(|local| is_ours(authority, local))
        && host.is_some_and(|host| is_same(authority, host))
}

/// Two names of a host with their ports are the same one.
fn is_same(left: &str, right: &str) -> bool {
    let ((left, left_port), (right, right_port)) = (split(left), split(right));
    left.eq_ignore_ascii_case(right) && left_port.unwrap_or("80") == right_port.unwrap_or("80")
}

/// What changes something carries JSON or nothing: a form of another page can send neither as such.
fn is_json(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let length = length
        .and_then(|length| length.parse::<u64>().ok())
        .unwrap_or(0);
    if length > MAX_BODY as u64 {
        return Err(too_large());
    }
    if method.is_safe() {
        return Ok(());
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let has_body = length > 0 || headers.contains_key(header::TRANSFER_ENCODING);
    let json = kind.is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    if json || (kind.is_none() && !has_body) {
        return Ok(());
    }
    let message = "the body must be declared as application/json";
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::BadRequest,
        message,
    )
    .hint("add the header Content-Type: application/json"))
}

/// What every answer says to browsers and caches.
fn add_security_headers(headers: &mut HeaderMap) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let defaults = [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in defaults {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests;
