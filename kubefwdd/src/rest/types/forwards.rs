//! Forwards: single listening ports.

use kubefwd_model as model;
use serde::Serialize;
use utoipa::ToSchema;

use super::services::Summary;
use kubefwd_model::entry::ForwardEntry;

use crate::telemetry::meters::Reading;

/// Forwards and their totals.
#[derive(Serialize, ToSchema)]
pub(crate) struct ForwardList<'a> {
    /// The forwards, by key.
    pub(crate) forwards: Vec<ForwardEntry<'a>>,
    /// Totals over everything that matches, not only this page.
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
