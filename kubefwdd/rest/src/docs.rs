//! What is served beside the interface itself: its documentation, complete without any other host.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::header;

use super::ApiState;

/// The page may load from this server only, and run no inline script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = include_str!("docs/docs.js");
const STYLE: &str = include_str!("docs/docs.css");
const ICON: &str = include_str!("docs/icon.svg");

pub(crate) async fn root() -> Redirect {
    Redirect::to("/docs")
}

pub(crate) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE).into_response()
}

pub(crate) async fn script() -> Response {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        SCRIPT,
    )
        .into_response()
}

pub(crate) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

pub(crate) async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], ICON).into_response()
}

pub(crate) async fn json(State(api): State<ApiState>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        api.documents().json.clone(),
    )
        .into_response()
}

pub(crate) async fn yaml(State(api): State<ApiState>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/yaml")],
        api.documents().yaml.clone(),
    )
        .into_response()
}
