//! Forwards: single listening ports.

use kubefwd_model as model;
use kubefwd_model::entry::ForwardEntry;
use kubefwd_telemetry::meters::Reading;
use serde::Serialize;
use utoipa::ToSchema;

use super::services::Summary;

/// Forwards and their sums.
#[derive(Serialize, ToSchema)]
pub(crate) struct ForwardList {
    /// The forwards, by key.
    #[schema(value_type = Vec<ForwardEntry<'static>>)]
    pub(crate) forwards: [(); 0],
    /// Sums over everything that matches, not only this page.
    pub(crate) summary: Summary,
}

/// A forward with its rates.
pub(crate) fn forward_entry<'a>(
    service: &'a model::Service,
    forward: &'a model::Forward,
    meters: &Reading<'_>,
) -> ForwardEntry<'a> {
    let rates = meters.forward_rates(&service.key, forward);
    ForwardEntry::new(service, forward, Some(rates))
}
