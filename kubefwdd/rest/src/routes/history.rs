//! What happened.

use axum::response::{IntoResponse, Response};
use kubefwd_model::EventKind;
use kubefwd_telemetry::{errors, reconnections};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Count;
use crate::envelope::Envelope;
use crate::error::{ErrorResponses, Outcome};
use crate::extract::{Call, Key, Number, Query};
use crate::types::history::{ErrorRecord, Event, HistoryStats, Reconnection};

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventFilter {
    /// Maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50, example = 20)]
    count: Option<Number<1, 1000>>,
    /// Only of this type.
    #[serde(rename = "type")]
    #[param(inline)]
    kind: Option<EventKind>,
}

/// Events
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/history/events", tag = "History", params(EventFilter), responses(
    (status = 200, description = "The events", body = Envelope<Vec<Event<'static>>>), ErrorResponses,
))]
pub(crate) async fn events(call: Call, Query(filter): Query<EventFilter>) -> Response {
    let log = &call.control.telemetry().events;
    let wanted = log.newest_where(filter.count.map_or(50, Number::get), |logged| {
        call.caller.sees(logged.event.uid)
            && filter.kind.is_none_or(|kind| kind == logged.event.kind)
    });
    let events: Envelope<Vec<_>> = wanted.iter().map(|logged| Event::from(&**logged)).collect();
    events.into_response()
}

/// Errors
///
/// Newest first, with the times at which each began and ended.
#[utoipa::path(get, path = "/api/v1/history/errors", tag = "History", params(Count), responses(
    (status = 200, description = "The errors", body = Envelope<Vec<ErrorRecord>>), ErrorResponses,
))]
pub(crate) async fn errors(call: Call, Query(count): Query<Count>) -> Envelope<Vec<ErrorRecord>> {
    let found = call
        .control
        .telemetry()
        .errors
        .newest(count.get(), |uid| call.caller.sees(uid));
    found.into_iter().map(ErrorRecord::from).collect()
}

/// Reconnections
///
/// Newest first: reason, number of attempts, duration.
#[utoipa::path(get, path = "/api/v1/history/reconnections", tag = "History", params(Count), responses(
    (status = 200, description = "The reconnections", body = Envelope<Vec<Reconnection>>), ErrorResponses,
))]
pub(crate) async fn reconnections(
    call: Call,
    Query(count): Query<Count>,
) -> Envelope<Vec<Reconnection>> {
    let found = call
        .control
        .telemetry()
        .reconnections
        .newest(count.get(), |uid| call.caller.sees(uid));
    found.into_iter().map(Reconnection::from).collect()
}

/// Reconnections of a service
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/v1/services/{key}/history/reconnections", tag = "History",
    params(("key" = String, Path, description = "Key of the service", example = "api.shop.kind"), Count),
    responses(
        (status = 200, description = "The reconnections", body = Envelope<Vec<Reconnection>>), ErrorResponses,
    ),
)]
pub(crate) async fn of_service(
    call: Call,
    Key(key): Key,
    Query(count): Query<Count>,
) -> Outcome<Vec<Reconnection>> {
    let found = call.service(&key)?;
    let reconnections = &call.control.telemetry().reconnections;
    let found = reconnections.of(&found.service.key, count.get());
    Ok(found.into_iter().map(Reconnection::from).collect())
}

/// Retention
#[utoipa::path(get, path = "/api/v1/history/stats", tag = "History", responses(
    (status = 200, description = "The numbers", body = Envelope<HistoryStats>), ErrorResponses,
))]
pub(crate) async fn stats(call: Call) -> Envelope<HistoryStats> {
    let telemetry = call.control.telemetry();
    let sees = |uid| call.caller.sees(uid);
    Envelope::new(HistoryStats {
        total_events: telemetry
            .events
            .count_where(|logged| call.caller.sees(logged.event.uid)),
        total_errors: telemetry.errors.count(sees),
        total_reconnects: telemetry.reconnections.count(sees),
        max_events: telemetry.events.totals().1,
        max_errors: errors::PER_USER,
        max_reconnects: reconnections::PER_USER,
    })
}
