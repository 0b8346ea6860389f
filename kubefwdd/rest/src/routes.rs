//! The routes, by topic. No handler holds logic of its own: it decodes, calls the control layer or reads a snapshot,
//! and encodes.

mod analysis;
mod diagnostics;
mod events;
mod forwards;
mod history;
mod kubernetes;
mod logs;
mod metrics;
mod namespaces;
mod pod_logs;
mod pods;
mod server;
mod services;

use axum::middleware::from_fn;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::extract::Number;
use super::guard;

/// Every route under `/api`, with its description.
pub(crate) fn api() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(forwards::list))
        .routes(routes!(metrics::summary))
        .routes(routes!(metrics::services))
        .routes(routes!(diagnostics::overview))
        .routes(routes!(diagnostics::network))
        .routes(routes!(analysis::status))
        .routes(routes!(analysis::analyze))
        .routes(routes!(server::hostnames))
        .routes(routes!(server::health))
        .routes(routes!(server::info))
        .routes(routes!(services::add, services::list))
        .routes(routes!(services::reconnect_all))
        .routes(routes!(services::get, services::remove))
        .routes(routes!(services::reconnect))
        .routes(routes!(services::sync))
        .routes(routes!(services::http, services::set_capture))
        .routes(routes!(history::of_service))
        .routes(routes!(forwards::get))
        .routes(routes!(forwards::http))
        .routes(routes!(namespaces::add, namespaces::list))
        .routes(routes!(namespaces::get, namespaces::remove))
        .merge(cluster())
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

/// The routes that ask a cluster: they may start a worker, and that a credential plugin, though they change nothing.
fn cluster() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(kubernetes::contexts))
        .routes(routes!(kubernetes::namespaces))
        .routes(routes!(kubernetes::services))
        .routes(routes!(kubernetes::service))
        .routes(routes!(kubernetes::events))
        .routes(routes!(kubernetes::endpoints))
        .routes(routes!(pods::list))
        .routes(routes!(pods::get))
        .routes(routes!(pod_logs::logs))
        .route_layer(from_fn(guard::refuse_navigation))
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
