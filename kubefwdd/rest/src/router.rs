//! All routes together: what holds for every request, the guard, and the routes behind it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use http::{Method, StatusCode, Uri};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::control::Control;
use super::error::{ApiError, Code};
use super::extract::MAX_BODY;
use super::identity::Identity;
use super::openapi::Description;
use super::state::ApiState;
use super::{docs, guard, prometheus, rewrite, routes};

/// The longest that a request may take; one that waits has a shorter limit of its own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The routes that are described, and their description.
pub(crate) fn described() -> (Router<ApiState>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(routes::api())
        .split_for_parts()
}

/// Everything: routes, guard, and what holds for every answer.
pub(crate) fn router(
    control: Arc<dyn Control>,
    identity: watch::Receiver<Arc<Identity>>,
    stop: CancellationToken,
) -> Router {
    let (routes, description) = described();
    // It takes more memory than anything that follows; it is made again for whoever asks for it.
    drop(description);
    control.release_freed_memory();
    let api = ApiState {
        control,
        identity,
        describe: || described().1,
        documents: Arc::default(),
        stop,
    };
    guarded(routes, api)
}

pub(crate) fn guarded(routes: Router<ApiState>, api: ApiState) -> Router {
    let routed = routes
        .route("/", get(docs::root))
        .route("/docs", get(docs::PAGE))
        .route("/docs/", get(docs::PAGE))
        .route("/docs/docs.js", get(docs::SCRIPT))
        .route("/docs/docs.css", get(docs::STYLE))
        .route("/docs/icon.svg", get(docs::ICON))
        .route("/openapi.json", get(docs::json))
        .route("/openapi.yaml", get(docs::yaml))
        .route("/metrics", get(prometheus::metrics))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api.clone());
    // Around the router as a whole: the path has to be put right before it is routed.
    Router::new()
        .fallback_service(routed)
        .layer(middleware::from_fn_with_state(api, guard::guard))
        .layer(middleware::map_request(async |request: Request| {
            rewrite::slashes_in_keys(request)
        }))
        .layer(middleware::from_fn(bounded))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "{} does not support {method}; see the Allow header",
        uri.path()
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadRequest, message)
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path())).hint("see /docs")
}

/// No request takes forever, and a defect in one is an answer, not the end of the connection.
pub(crate) async fn bounded(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            ApiError::defect(text.unwrap_or("a panic without a message")).into_response()
        }
        Err(_) => ApiError::unavailable("the request took too long").into_response(),
    }
}
