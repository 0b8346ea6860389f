//! What is served beside the interface itself: its documentation, complete without any other host.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use http::HeaderName;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::ApiState;

/// What is served as it is: headers and a text.
type Asset<const HEADERS: usize> = ([(HeaderName, &'static str); HEADERS], &'static str);

/// The page may load from this server only, and run no inline script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) const PAGE: Asset<2> = (
    [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ],
    include_str!("docs/index.html"),
);
pub(crate) const SCRIPT: Asset<1> = (
    [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
    include_str!("docs/docs.js"),
);
pub(crate) const STYLE: Asset<1> = (
    [(CONTENT_TYPE, "text/css; charset=utf-8")],
    include_str!("docs/docs.css"),
);
pub(crate) const ICON: Asset<1> = (
    [(CONTENT_TYPE, "image/svg+xml")],
    include_str!("docs/icon.svg"),
);

pub(crate) async fn root() -> Redirect {
    Redirect::to("/docs")
}

pub(crate) async fn json(State(api): State<ApiState>) -> impl IntoResponse {
    let json = api.documents().json.clone();
    ([(CONTENT_TYPE, "application/json")], json)
}

pub(crate) async fn yaml(State(api): State<ApiState>) -> impl IntoResponse {
    let yaml = api.documents().yaml.clone();
    ([(CONTENT_TYPE, "application/yaml")], yaml)
}
