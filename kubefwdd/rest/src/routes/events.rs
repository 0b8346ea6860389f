//! Events as they happen.

use axum::response::Response;
use http::HeaderMap;
use kubefwd_model::EventKind;
use kubefwd_telemetry::events::Logged;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{ApiError, ErrorResponses};
use crate::extract::{Call, Query};
use crate::sse;
use crate::types::history::StreamedEvent;

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only of this type.
    #[serde(rename = "type")]
    #[param(inline)]
    kind: Option<EventKind>,
}

/// Follow events
///
/// Server-sent events, from now on; with `Last-Event-ID` from after that event, if it is still kept. A client that is too
/// slow, or asks for events no longer kept, gets one event `resync` and should read the lists again.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "Events (SSE)",
    params(Filter, ("Last-Event-ID" = Option<u64>, Header, description = "The last event seen")),
    responses(
        (status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String,
         example = "id: 17\nevent: service.added\ndata: {\"key\":\"api.shop.kind\",\"namespace\":\"shop\",\"service\":\"api\",\"context\":\"kind\"}\n\n"),
        ErrorResponses,
    ),
)]
pub(crate) async fn stream(
    call: Call,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let from = sse::last_event_id(&headers)?;
    let telemetry = call.control.telemetry().clone();
    let caller = call.caller.clone();
    let encode = move |logged: &Logged| {
        let event = &logged.event;
        let wanted =
            call.caller.sees(event.uid) && filter.kind.is_none_or(|kind| kind == event.kind);
        wanted.then(|| sse::numbered(logged.id, event.kind.as_str(), &StreamedEvent::from(event)))
    };
    Ok(sse::follow(
        telemetry,
        |telemetry| &telemetry.events,
        from,
        caller,
        encode,
        call.stop.clone(),
    ))
}
