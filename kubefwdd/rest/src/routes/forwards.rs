//! Forwards.

use std::sync::Arc;
use std::time::SystemTime;

use axum::response::{IntoResponse, Response};
use kubefwd_model as model;
use kubefwd_model::entry::ForwardEntry;
use kubefwd_model::{ForwardStatus, ServiceKey};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Count;
use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses};
use crate::extract::{Call, Key, Query, text};
use crate::filter::{Page, ServiceFilter};
use crate::keys::{self, FoundForward};
use crate::list;
use crate::types::forwards::{ForwardList, forward_entry};
use crate::types::http::HttpTraffic;
use crate::types::services::Summary;

/// By service and status.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ForwardFilter {
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
#[utoipa::path(get, path = "/api/v1/forwards", tag = "Forwards", params(ServiceFilter, ForwardFilter, Page), responses(
    (status = 200, description = "The forwards", body = Envelope<ForwardList>), ErrorResponses,
))]
pub(crate) async fn list(
    call: Call,
    Query(place): Query<ServiceFilter>,
    Query(ForwardFilter { service, status }): Query<ForwardFilter>,
    Query(page): Query<Page>,
) -> Response {
    let view = call.control.view();
    let telemetry = call.control.telemetry().clone();
    let is_meant = |key: &ServiceKey| {
        let named = service.as_deref();
        place.holds(key) && named.is_none_or(|name| key.service.as_str() == name)
    };
    let mut summary = Summary::default();
    let mut matching: Vec<(&Arc<model::Service>, usize)> = Vec::new();
    let meters = call.meters();
    for service in keys::visible(&view, &call.caller).filter(|service| is_meant(&service.key)) {
        let by_name = place.finds(service);
        let wanted = service.forwards.iter().enumerate().filter(|(_, forward)| {
            let in_state = status.is_none_or(|status| status == forward.status);
            in_state && (by_name || place.is_in(&forward.key))
        });
        let before = matching.len();
        matching.extend(wanted.map(|(index, _)| (service, index)));
        let added = matching[before..].iter();
        if matching.len() > before {
            let added = added.map(|(service, index)| &service.forwards[*index]);
            summary.add_forwards(service, added, &meters);
        }
    }
    drop(meters);
    let forwards: Vec<(Arc<model::Service>, usize)> = page
        .of(matching)
        .map(|(service, index)| (service.clone(), index))
        .collect();
    let shell = ForwardList {
        forwards: [],
        summary,
    };
    let shell = Envelope::list(shell, forwards.len());
    list::respond(&shell, forwards, move |(service, index), out| {
        let entry = forward_entry(
            service,
            &service.forwards[*index],
            &telemetry.meters.read(SystemTime::now()),
        );
        serde_json::to_writer(out, &entry)
    })
}

/// Get a forward
///
/// The key is `service.namespace.context.pod.localPort`; `pod.namespace.context`, `pod.service.namespace.context` and
/// `service.namespace.context` select the first match.
#[utoipa::path(get, path = "/api/v1/forwards/{key}", tag = "Forwards", params(
    ("key" = String, Path, description = "Key of the forward", example = "api.shop.kind.api-6f.80"),
), responses(
    (status = 200, description = "The forward", body = Envelope<ForwardEntry<'static>>), ErrorResponses,
))]
pub(crate) async fn get(call: Call, Key(key): Key) -> Result<Response, ApiError> {
    let found = keys::forward(&call.control.view(), &call.caller, &key)?;
    let entry = forward_entry(&found.service, found.forward(), &call.meters());
    Ok(Envelope::new(entry).into_response())
}

/// Requests through a forward
///
/// Captured HTTP requests, newest first; of all matching forwards if the key matches several.
#[utoipa::path(get, path = "/api/v1/forwards/{key}/http", tag = "HTTP Traffic", params(
    ("key" = String, Path, description = "Key of the forward", example = "api.shop.kind"), Count,
), responses(
    (status = 200, description = "The requests", body = Envelope<HttpTraffic<'static>>), ErrorResponses,
))]
pub(crate) async fn http(
    call: Call,
    Key(key): Key,
    Query(count): Query<Count>,
) -> Result<Response, ApiError> {
    let found = keys::forwards(&call.control.view(), &call.caller, &key)?;
    let log = &call.control.telemetry().http;
    let forwards: Vec<&model::Forward> = found.iter().map(FoundForward::forward).collect();
    let (Some(found), Some((first, others))) = (found.first(), forwards.split_first()) else {
        return Err(keys::no_forward(&key));
    };
    let shown = if others.is_empty() { &first.key } else { &key };
    let service = &found.service.key;
    let traffic = HttpTraffic::new(shown, service, (first, others), log, count.get());
    let logged = traffic.logs.len();
    Ok(Envelope::list(traffic, logged).into_response())
}
