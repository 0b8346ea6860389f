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

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Face;
use super::extract::Number;

/// Every route under `/api`, with its description.
pub(crate) fn api() -> OpenApiRouter<Face> {
    OpenApiRouter::new()
        .routes(routes!(server::health))
        .routes(routes!(server::info))
        .routes(routes!(services::list, services::add))
        .routes(routes!(services::reconnect_all))
        .routes(routes!(services::get, services::remove))
        .routes(routes!(services::reconnect))
        .routes(routes!(services::sync))
        .routes(routes!(services::http))
        .routes(routes!(history::of_service))
        .routes(routes!(forwards::list))
        .routes(routes!(forwards::get))
        .routes(routes!(forwards::http))
        .routes(routes!(namespaces::list, namespaces::add))
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
        .routes(routes!(metrics::summary))
        .routes(routes!(metrics::services))
        .routes(routes!(metrics::service))
        .routes(routes!(metrics::history))
        .routes(routes!(diagnostics::overview))
        .routes(routes!(diagnostics::errors))
        .routes(routes!(diagnostics::network))
        .routes(routes!(diagnostics::service))
        .routes(routes!(diagnostics::forward))
        .routes(routes!(diagnostics::status))
        .routes(routes!(diagnostics::analyze))
        .routes(routes!(history::events))
        .routes(routes!(history::errors))
        .routes(routes!(history::reconnections))
        .routes(routes!(history::stats))
        .routes(routes!(logs::list))
        .routes(routes!(logs::stream))
        .routes(routes!(logs::system, logs::clear))
        .routes(routes!(events::stream))
        .routes(routes!(server::hostnames))
}

/// How many.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Count {
    /// How many at most.
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
