//! What happened.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kubefwd_model::EventKind;
use kubefwd_telemetry::{errors, reconnections};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Count;
use crate::ApiState;
use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses};
use crate::extract::{Caller, Key, Number, Query};
use crate::keys;
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
pub(crate) async fn events(
    State(api): State<ApiState>,
    caller: Caller,
    Query(filter): Query<EventFilter>,
) -> Response {
    let log = &api.control.telemetry().events;
    let wanted = log.newest_where(filter.count.map_or(50, Number::get), |logged| {
        caller.sees(logged.event.uid) && filter.kind.is_none_or(|kind| kind == logged.event.kind)
    });
    let events: Vec<Event<'_>> = wanted.iter().map(|logged| Event::from(&**logged)).collect();
    let count = events.len();
    Envelope::list(events, count).into_response()
}

/// Errors
///
/// Newest first, with the times at which each began and ended.
#[utoipa::path(get, path = "/api/v1/history/errors", tag = "History", params(Count), responses(
    (status = 200, description = "The errors", body = Envelope<Vec<ErrorRecord>>), ErrorResponses,
))]
pub(crate) async fn errors(
    State(api): State<ApiState>,
    caller: Caller,
    Query(count): Query<Count>,
) -> Envelope<Vec<ErrorRecord>> {
    let found = api
        .control
        .telemetry()
        .errors
        .newest(count.get(), |uid| caller.sees(uid));
    let errors: Vec<ErrorRecord> = found.into_iter().map(ErrorRecord::from).collect();
    let count = errors.len();
    Envelope::list(errors, count)
}

/// Reconnections
///
/// Newest first: reason, number of attempts, duration.
#[utoipa::path(get, path = "/api/v1/history/reconnections", tag = "History", params(Count), responses(
    (status = 200, description = "The reconnections", body = Envelope<Vec<Reconnection>>), ErrorResponses,
))]
pub(crate) async fn reconnections(
    State(api): State<ApiState>,
    caller: Caller,
    Query(count): Query<Count>,
) -> Envelope<Vec<Reconnection>> {
    let found = api
        .control
        .telemetry()
        .reconnections
        .newest(count.get(), |uid| caller.sees(uid));
    encode(found)
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
    State(api): State<ApiState>,
    caller: Caller,
    Key(key): Key,
    Query(count): Query<Count>,
) -> Result<Envelope<Vec<Reconnection>>, ApiError> {
    let found = keys::service(&api.control.view(), &caller, &key)?;
    Ok(encode(
        api.control
            .telemetry()
            .reconnections
            .of(&found.service.key, count.get()),
    ))
}

fn encode(found: Vec<reconnections::Reconnection>) -> Envelope<Vec<Reconnection>> {
    let list: Vec<Reconnection> = found.into_iter().map(Reconnection::from).collect();
    let count = list.len();
    Envelope::list(list, count)
}

/// Retention
#[utoipa::path(get, path = "/api/v1/history/stats", tag = "History", responses(
    (status = 200, description = "The numbers", body = Envelope<HistoryStats>), ErrorResponses,
))]
pub(crate) async fn stats(State(api): State<ApiState>, caller: Caller) -> Envelope<HistoryStats> {
    let telemetry = api.control.telemetry();
    let sees = |uid| caller.sees(uid);
    Envelope::new(HistoryStats {
        total_events: telemetry
            .events
            .count_where(|logged| caller.sees(logged.event.uid)),
        total_errors: telemetry.errors.count(sees),
        total_reconnects: telemetry.reconnections.count(sees),
        max_events: telemetry.events.totals().1,
        max_errors: errors::PER_USER,
        max_reconnects: reconnections::PER_USER,
    })
}
