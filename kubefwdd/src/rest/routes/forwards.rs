//! Forwards.

use std::time::SystemTime;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kubefwd_model::{ForwardStatus, ServiceKey, Uid};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Count;
use kubefwd_model::entry::ForwardEntry;

use crate::rest::Face;
use crate::rest::envelope::{ApiError, Envelope, Refusals};
use crate::rest::extract::{Caller, Key, Query, text};
use crate::rest::keys;
use crate::rest::select::{Page, Where};
use crate::rest::types::forwards::{ForwardList, forward_entry};
use crate::rest::types::http::HttpTraffic;
use crate::rest::types::services::Summary;

/// By service and status.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfService {
    /// Only of the service with this name.
    #[serde(
        default,
        deserialize_with = "text",
        alias = "service_name",
        alias = "serviceName"
    )]
    #[param(example = "api")]
    service: Option<String>,
    /// Only with this status.
    #[param(inline)]
    status: Option<ForwardStatus>,
}

/// List forwards
///
/// Every listening port of the caller; a service may have several.
#[utoipa::path(get, path = "/api/v1/forwards", tag = "Forwards", params(Where, OfService, Page), responses(
    (status = 200, description = "The forwards", body = Envelope<ForwardList>), Refusals,
))]
pub(crate) async fn list(
    State(face): State<Face>,
    caller: Caller,
    Query(place): Query<Where>,
    Query(OfService { service, status }): Query<OfService>,
    Query(page): Query<Page>,
) -> Response {
    let view = face.control.view();
    let meters = face.control.telemetry().meters.read(SystemTime::now());
    let mut summary = Summary::default();
    let mut matching = Vec::new();
    let is_meant = |key: &ServiceKey| {
        let named = service.as_deref();
        place.holds(key) && named.is_none_or(|name| key.service.as_str() == name)
    };
    for service in keys::visible(&view, &caller).filter(|service| is_meant(&service.key)) {
        let by_name = place.finds(service);
        let wanted = service.forwards.iter().filter(|forward| {
            let in_state = status.is_none_or(|status| status == forward.status);
            in_state && (by_name || place.is_in(&forward.key))
        });
        let before = matching.len();
        matching.extend(wanted.map(|forward| (service, forward)));
        let added = matching[before..].iter().map(|(_, forward)| *forward);
        if matching.len() > before {
            summary.add_forwards(service, added, &meters);
        }
    }
    let forwards: Vec<_> = page
        .of(matching)
        .map(|(service, forward)| forward_entry(service, forward, &meters))
        .collect();
    let count = forwards.len();
    Envelope::list(ForwardList { forwards, summary }, count).into_response()
}

/// Get a forward
///
/// The key is `service.namespace.context.pod.localPort`; `pod.namespace.context`, `pod.service.namespace.context` and
/// `service.namespace.context` select the first match.
#[utoipa::path(get, path = "/api/v1/forwards/{key}", tag = "Forwards", params(
    ("key" = String, Path, description = "Key of the forward", example = "api.shop.kind.api-6f.80"),
), responses(
    (status = 200, description = "The forward", body = Envelope<ForwardEntry>), Refusals,
))]
pub(crate) async fn get(
    State(face): State<Face>,
    caller: Caller,
    Key(key): Key,
) -> Result<Response, ApiError> {
    let found = keys::forward(&face.control.view(), &caller, &key)?;
    let meters = face.control.telemetry().meters.read(SystemTime::now());
    let entry = forward_entry(&found.service, found.forward(), &meters);
    Ok(Envelope::new(entry).into_response())
}

/// Requests through a forward
///
/// Captured HTTP requests, newest first; of all matching forwards if the key matches several.
#[utoipa::path(get, path = "/api/v1/forwards/{key}/http", tag = "HTTP Traffic", params(
    ("key" = String, Path, description = "Key of the forward", example = "api.shop.kind"), Count,
), responses(
    (status = 200, description = "The requests", body = Envelope<HttpTraffic>), Refusals,
))]
pub(crate) async fn http(
    State(face): State<Face>,
    caller: Caller,
    Key(key): Key,
    Query(count): Query<Count>,
) -> Result<Envelope<HttpTraffic>, ApiError> {
    let found = keys::forwards(&face.control.view(), &caller, &key)?;
    let log = &face.control.telemetry().http;
    let traffic = match found.as_slice() {
        [one] => HttpTraffic::new(&one.service, one.forward(), log, count.get()),
        several => {
            let uid = several
                .first()
                .map_or(Uid::ROOT, |found| found.service.key.uid);
            let forwards = several.iter().map(keys::FoundForward::forward);
            HttpTraffic::merged(&key, uid, forwards, log, count.get())
        }
    };
    let logged = traffic.logs.len();
    Ok(Envelope::list(traffic, logged))
}
