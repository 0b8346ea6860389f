//! The routes, by topic. No handler holds logic of its own: it decodes, calls the control layer or reads a snapshot,
//! and encodes.

mod diagnostics;
mod events;
mod forwards;
mod history;
mod kubernetes;
mod logs;
mod metrics;
mod namespaces;
mod pods;
mod server;
mod services;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Face;
use super::envelope::ApiError;
use super::extract::Number;

/// Places for long answers: each keeps a processor busy and is held in memory as a whole.
static ASIDE: Semaphore = Semaphore::const_new(2);

/// Every route under `/api`, with its description.
pub(crate) fn api() -> OpenApiRouter<Face> {
    short().merge(long())
}

/// What looks at every service.
fn long() -> OpenApiRouter<Face> {
    OpenApiRouter::new()
        .routes(routes!(services::list))
        .routes(routes!(forwards::list))
        .routes(routes!(namespaces::list))
        .routes(routes!(metrics::summary))
        .routes(routes!(metrics::services))
        .routes(routes!(diagnostics::overview))
        .routes(routes!(diagnostics::network))
        .routes(routes!(diagnostics::status))
        .routes(routes!(diagnostics::analyze))
        .routes(routes!(server::hostnames))
        .route_layer(middleware::from_fn(aside))
}

fn short() -> OpenApiRouter<Face> {
    OpenApiRouter::new()
        .routes(routes!(server::health))
        .routes(routes!(server::info))
        .routes(routes!(services::add))
        .routes(routes!(services::reconnect_all))
        .routes(routes!(services::get, services::remove))
        .routes(routes!(services::reconnect))
        .routes(routes!(services::sync))
        .routes(routes!(services::http, services::set_capture))
        .routes(routes!(history::of_service))
        .routes(routes!(forwards::get))
        .routes(routes!(forwards::http))
        .routes(routes!(namespaces::add))
        .routes(routes!(namespaces::get, namespaces::remove))
        .routes(routes!(kubernetes::contexts))
        .routes(routes!(kubernetes::namespaces))
        .routes(routes!(kubernetes::services))
        .routes(routes!(kubernetes::service))
        .routes(routes!(kubernetes::events))
        .routes(routes!(kubernetes::endpoints))
        .routes(routes!(pods::list))
        .routes(routes!(pods::get))
        .routes(routes!(pods::logs))
        .routes(routes!(metrics::service))
        .routes(routes!(metrics::history))
        .routes(routes!(diagnostics::errors))
        .routes(routes!(diagnostics::service))
        .routes(routes!(diagnostics::forward))
        .routes(routes!(history::events))
        .routes(routes!(history::errors))
        .routes(routes!(history::reconnections))
        .routes(routes!(history::stats))
        .routes(routes!(logs::list))
        .routes(routes!(logs::stream))
        .routes(routes!(logs::system, logs::clear))
        .routes(routes!(events::stream))
}

/// Makes an answer on a thread of its own: one that goes over thousands of services would hold up whatever else runs on
/// this one, the owner of the state among it.
pub(crate) async fn aside(request: Request, next: Next) -> Response {
    // The semaphore is never closed.
    let place = ASIDE.acquire().await.ok();
    let runtime = Handle::current();
    let made = tokio::task::spawn_blocking(move || {
        let _place = place;
        runtime.block_on(next.run(request))
    });
    match made.await.map_err(JoinError::try_into_panic) {
        Ok(response) => response,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => ApiError::unavailable("the daemon is stopping").into_response(),
    }
}

/// How many.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Count {
    /// Maximum number of items.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50, example = 10)]
    count: Option<Number<1, 1000>>,
}

// === impl Count ===

impl Count {
    fn get(&self) -> usize {
        self.count.map_or(50, Number::get)
    }
}
