//! The router as a whole, over a daemon that forwards nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware;
use axum::routing::get;
use http::header::{self, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kubefwd_core::policy::RootOverTcp;
use kubefwd_model::Uid;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::extract::MAX_BODY;
use super::fake::Fake;
use super::identity::{Identity, Peer};
use super::router::{bounded, router};
use super::server::{address, url};

struct Daemon {
    router: Router,
    stop: CancellationToken,
}

impl Daemon {
    fn new() -> Self {
        let identity = watch::Sender::new(Arc::new(Identity::Peer(RootOverTcp::Auto))).subscribe();
        let stop = CancellationToken::new();
        let router = router(Arc::new(Fake::default()), identity, stop.clone());
        Self { router, stop }
    }

    /// Sends a request as a user on the unix socket.
    async fn send(
        &self,
        uid: Option<Uid>,
        request: Request<Body>,
    ) -> (StatusCode, HeaderMap, Value) {
        let (status, headers, text) = self.text(Peer::Unix { uid }, request).await;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, headers, value)
    }

    async fn text(
        &self,
        peer: Peer,
        mut request: Request<Body>,
    ) -> (StatusCode, HeaderMap, String) {
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, value) = self.send(Some(0.into()), request("GET", path, None)).await;
        (status, value)
    }
}

fn request(method: &str, path: &str, body: Option<&str>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .body(Body::from(body.to_owned())),
        None => request.body(Body::empty()),
    }
    .unwrap()
}

#[tokio::test]
async fn health_stands_bare_and_wrapped() {
    let daemon = Daemon::new();
    let (status, headers, value) = daemon.send(None, request("GET", "/api/health", None)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(value["data"]["status"], "healthy");
    assert_eq!(
        (&value["status"], &value["version"]),
        (&value["data"]["status"], &"1.2.3".into())
    );
    assert!(value["error"].is_null() && value["timestamp"].is_string());
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test]
async fn who_is_not_known_gets_health_only() {
    let daemon = Daemon::new();
    for path in [
        "/api/info",
        "/api/v1/services",
        "/api/v1/logs",
        "/metrics",
        "/api/nothing",
    ] {
        for uid in [None, Some(Uid::new(4_000_000_123))] {
            let (status, _, value) = daemon.send(uid, request("GET", path, None)).await;
            assert_eq!(
                (status, &value["error"]["code"]),
                (StatusCode::FORBIDDEN, &"FORBIDDEN".into()),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn every_list_is_empty_and_none_is_null() {
    let daemon = Daemon::new();
    for (path, list) in [
        ("/api/v1/services", "/data/services"),
        ("/api/v1/forwards", "/data/forwards"),
        ("/api/v1/namespaces", "/data/namespaces"),
        ("/api/v1/metrics/services", "/data"),
        ("/api/v1/history/events", "/data"),
        ("/api/v1/history/errors", "/data"),
        ("/api/v1/history/reconnections", "/data"),
        ("/api/v1/diagnostics/errors", "/data"),
        ("/api/v1/logs", "/data/logs"),
        ("/api/v1/logs/system", "/data/logs"),
        ("/api/v1/hostnames", "/data/hostnames"),
        ("/api/v1/analyze", "/data/suggestedActions"),
    ] {
        let (status, value) = daemon.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        assert_eq!(
            value.pointer(list),
            Some(&Value::Array(Vec::new())),
            "{path}: {value}"
        );
        assert!(value["meta"]["timestamp"].is_string());
    }
    for path in [
        "/api/info",
        "/api/v1/metrics",
        "/api/v1/status",
        "/api/v1/history/stats",
    ] {
        let (status, value) = daemon.get(path).await;
        assert_eq!(
            (status, &value["success"]),
            (StatusCode::OK, &true.into()),
            "{path}: {value}"
        );
    }
}

#[tokio::test]
async fn every_mistake_is_answered_in_the_envelope() {
    let daemon = Daemon::new();
    let too_large = format!("{{\"namespace\":\"{}\"}}", "a".repeat(MAX_BODY));
    for (method, path, body, expected, code) in [
        ("GET", "/api/v1/nothing", None, 404, "NOT_FOUND"),
        ("GET", "/nothing", None, 404, "NOT_FOUND"),
        (
            "GET",
            "/api/v1/services/api.shop.kind",
            None,
            404,
            "NOT_FOUND",
        ),
        ("GET", "/api/v1/services/api", None, 400, "BAD_REQUEST"),
        ("GET", "/api/v1/services/%ff", None, 400, "BAD_REQUEST"),
        (
            "GET",
            "/api/v1/services?status=odd",
            None,
            400,
            "BAD_REQUEST",
        ),
        ("GET", "/api/v1/services?limit=0", None, 400, "BAD_REQUEST"),
        (
            "GET",
            "/api/v1/history/events?type=odd",
            None,
            400,
            "BAD_REQUEST",
        ),
        (
            "GET",
            "/api/v1/namespaces/shop.kind",
            None,
            404,
            "NOT_FOUND",
        ),
        (
            "GET",
            "/api/v1/kubernetes/services",
            None,
            400,
            "BAD_REQUEST",
        ),
        ("POST", "/api/v1/namespaces", Some("{"), 400, "BAD_REQUEST"),
        ("POST", "/api/v1/namespaces", Some("{}"), 400, "BAD_REQUEST"),
        (
            "POST",
            "/api/v1/namespaces",
            Some(too_large.as_str()),
            413,
            "BAD_REQUEST",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/shop.kind",
            None,
            404,
            "NOT_FOUND",
        ),
        ("PATCH", "/api/v1/services", None, 405, "BAD_REQUEST"),
    ] {
        let (status, _, value) = daemon
            .send(Some(0.into()), request(method, path, body))
            .await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {value}");
        assert_eq!(value["error"]["code"], code, "{method} {path}");
        assert_eq!(
            (&value["success"], &value["data"]),
            (&false.into(), &Value::Null)
        );
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let daemon = Daemon::new();
    for (path, allowed) in [
        ("/api/v1/services", "GET,HEAD,POST"),
        ("/api/v1/events", "GET,HEAD"),
        ("/api/v1/services/a.b.c/sync", "POST"),
    ] {
        let (status, headers, _) = daemon
            .send(Some(0.into()), request("PUT", path, None))
            .await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        let mut found: Vec<&str> = headers[header::ALLOW]
            .to_str()
            .unwrap()
            .split(',')
            .map(str::trim)
            .collect();
        found.sort_unstable();
        assert_eq!(found.join(","), allowed, "{path}");
    }
}

#[tokio::test]
async fn contexts_with_slashes_reach_their_route() {
    let daemon = Daemon::new();
    for context in [
        "arn:aws:eks:eu-1:12:cluster/prod",
        "arn:aws:eks:eu-1:12:cluster%2Fprod",
        "a@b",
    ] {
        for (method, path, message) in [
            (
                "GET",
                format!("/api/v1/services/api.shop.{context}"),
                "no service has the key",
            ),
            (
                "POST",
                format!("/api/v1/services/api.shop.{context}/reconnect"),
                "no service has the key",
            ),
            (
                "GET",
                format!("/api/v1/metrics/services/api.shop.{context}/history?duration=1h"),
                "no service has the key",
            ),
            (
                "GET",
                format!("/api/v1/forwards/api.shop.{context}.pod.80/http?count=10"),
                "no forward has the key",
            ),
            (
                "DELETE",
                format!("/api/v1/namespaces/shop.{context}"),
                "is not forwarded",
            ),
        ] {
            let (status, _, value) = daemon
                .send(Some(0.into()), request(method, &path, None))
                .await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            let text = value["error"]["message"].as_str().unwrap();
            assert!(text.contains(message), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn documentation_needs_no_identity_and_no_other_host() {
    let daemon = Daemon::new();
    for (path, kind) in [
        ("/docs", "text/html"),
        ("/docs/docs.js", "text/javascript"),
        ("/docs/docs.css", "text/css"),
        ("/docs/icon.svg", "image/svg+xml"),
        ("/openapi.json", "application/json"),
        ("/openapi.yaml", "application/yaml"),
    ] {
        let (status, headers, text) = daemon
            .text(Peer::Unix { uid: None }, request("GET", path, None))
            .await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(
            headers[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with(kind),
            "{path}"
        );
        assert!(
            headers[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'")
        );
        let without_names = text
            .replace("http://www.w3.org/2000/svg", "")
            .replace("http://127.", "");
        let foreign = without_names.contains("src=\"http") || without_names.contains("href=\"http");
        assert!(!foreign, "{path} loads from elsewhere");
    }
    let (status, headers, _) = daemon.send(None, request("GET", "/", None)).await;
    assert_eq!(
        (status, headers[header::LOCATION].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/docs")
    );
}

#[tokio::test]
async fn another_page_cannot_reach_anything() {
    let daemon = Daemon::new();
    let local = "127.2.27.1:80".parse().unwrap();
    let peer = Peer::Tcp {
        peer: "127.0.0.1:5".parse().unwrap(),
        local,
        accepted: None,
    };
    for (name, value) in [
        (header::HOST, "evil.example"),
        (header::ORIGIN, "http://evil.example"),
        (header::REFERER, "http://evil.example/page"),
        (
            header::HeaderName::from_static("sec-fetch-site"),
            "cross-site",
        ),
    ] {
        let mut request = request("GET", "/api/health", None);
        request
            .headers_mut()
            .insert(header::HOST, "kubefwd.internal".parse().unwrap());
        let (status, ..) = daemon.text(peer.clone(), clone(&request)).await;
        assert_eq!(status, StatusCode::OK);
        request
            .headers_mut()
            .insert(name.clone(), value.parse().unwrap());
        let (status, headers, text) = daemon.text(peer.clone(), request).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{name}: {text}");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}

fn clone(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::builder()
        .method(request.method())
        .uri(request.uri());
    for (name, value) in request.headers() {
        copy = copy.header(name, value);
    }
    copy.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_stream_begins_at_once_and_ends_with_the_daemon() {
    let daemon = Daemon::new();
    let stop = daemon.stop.clone();
    for path in ["/api/v1/events", "/api/v1/logs/stream?level=error"] {
        let mut request = request("GET", path, None);
        request.extensions_mut().insert(Peer::Unix {
            uid: Some(0.into()),
        });
        let response = daemon.router.clone().oneshot(request).await.unwrap();
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&first[..], b": connected\n\n");
        if path.contains("logs") {
            stop.cancel();
            assert!(body.frame().await.is_none());
        }
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_with_an_id() {
    async fn breaks() {
        panic!("a secret");
    }
    let router: Router = Router::new()
        .route("/", get(breaks))
        .layer(middleware::from_fn(bounded));
    let response = router.oneshot(request("GET", "/", None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    let text = value["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("under id ") && !text.contains("a secret"),
        "{text}"
    );
}

#[test]
fn only_loopback_is_listened_on() {
    assert_eq!(address("off").unwrap(), None);
    assert_eq!(address("").unwrap(), None);
    assert_eq!(
        address("127.2.27.1:80").unwrap(),
        Some("127.2.27.1:80".parse().unwrap())
    );
    assert!(address("[::1]:80").unwrap().is_some());
    for value in ["0.0.0.0:80", "10.0.0.1:80", "localhost:80", "127.0.0.1"] {
        assert!(address(value).is_err(), "{value}");
    }
    assert_eq!(
        url("127.2.27.1:80".parse().unwrap()),
        "http://kubefwd.internal/api"
    );
    assert_eq!(
        url("127.0.0.1:8080".parse().unwrap()),
        "http://127.0.0.1:8080/api"
    );
}
