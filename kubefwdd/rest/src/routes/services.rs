//! Services.

use std::sync::Arc;
use std::time::SystemTime;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kubefwd_core::requests::{ClusterAccess, Reconnect, ServiceRequest};
use kubefwd_model as model;
use kubefwd_model::entry::ServiceEntry;
use kubefwd_model::{Options, ServiceStatus, Uid};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Count;
use crate::envelope::{Envelope, json};
use crate::error::{ApiError, ErrorResponses, Outcome};
use crate::extract::{Body, Call, Key, Query, switch};
use crate::filter::{Page, ServiceFilter};
use crate::types::adding::{AddService, AddedService};
use crate::types::http::{CaptureSet, HttpTraffic, ServiceHttp, SetCapture};
use crate::types::services::{
    Reconnected, Removed, ServiceList, Summary, Synced, pod_entry, service_entry,
};
use crate::wait::{self, Awaited};
use crate::{keys, list};

/// By status.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusFilter {
    /// Only with this status.
    #[param(inline)]
    status: Option<ServiceStatus>,
}

/// Whether to include everything.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Force {
    /// Include working ones.
    #[serde(default, deserialize_with = "switch")]
    #[param(value_type = Option<bool>, default = false)]
    force: bool,
}

/// List services
///
/// Every service of the caller, including those that cannot be forwarded, with the reason.
#[utoipa::path(get, path = "/api/v1/services", tag = "Services", params(ServiceFilter, StatusFilter, Page), responses(
    (status = 200, description = "The services", body = Envelope<ServiceList>), ErrorResponses,
))]
pub(crate) async fn list(
    call: Call,
    Query(place): Query<ServiceFilter>,
    Query(StatusFilter { status }): Query<StatusFilter>,
    Query(page): Query<Page>,
) -> Response {
    let view = call.control.view();
    let in_state = |service: &model::Service| status.is_none_or(|status| status == service.status);
    let matching: Vec<&Arc<model::Service>> = keys::visible(&view, &call.caller)
        .filter(|service| place.holds(&service.key) && in_state(service) && place.finds(service))
        .collect();
    let telemetry = call.control.telemetry().clone();
    let mut summary = Summary::default();
    let meters = call.meters();
    matching
        .iter()
        .for_each(|service| summary.add(service, &meters));
    drop(meters);
    let services: Vec<Arc<model::Service>> = page.of(matching).cloned().collect();
    let shell = ServiceList {
        services: [],
        summary,
    };
    let shell = Envelope::list(shell, services.len());
    list::respond(&shell, services, move |service, out| {
        let entry = service_entry(service, &telemetry.meters.read(SystemTime::now()));
        serde_json::to_writer(out, &entry)
    })
}

/// Add a service
///
/// Forwards one service. With `wait` the response comes when it is active, or says why it is not.
#[utoipa::path(post, path = "/api/v1/services", tag = "Services", request_body = AddService, responses(
    (status = 201, description = "Added", body = Envelope<AddedService<'static>>), ErrorResponses,
))]
pub(crate) async fn add(call: Call, Body(body): Body<AddService>) -> Result<Response, ApiError> {
    if body.namespace.is_empty() || body.service_name.is_empty() {
        return Err(ApiError::bad_request(
            "namespace and serviceName must not be empty",
        ));
    }
    let request = ServiceRequest {
        access: ClusterAccess::context(body.context.clone().unwrap_or_default()),
        namespace: body.namespace.clone(),
        service: body.service_name.clone(),
        ports: body.wanted_ports(),
        address: body.local_ip,
        options: Options {
            port_mappings: body.port_mappings().collect(),
            ..Default::default()
        },
        ..Default::default()
    };
    let key = call.control.add_service(&call.caller, request).await?;
    let target = Awaited::Service(key.clone());
    let view = wait::until_active(call.control.watch(), &target, body.wait).await?;
    let service = view.services.get(&key).map(|service| &**service);
    let added = AddedService::new(&key, service);
    Ok(json(StatusCode::CREATED, &Envelope::new(added)))
}

/// Get a service
///
/// The key is `service.namespace.context`, or `pod.service.namespace.context` for one pod of a headless service.
#[utoipa::path(get, path = "/api/v1/services/{key}", tag = "Services", params(
    ("key" = String, Path, description = "Key of the service", example = "api.shop.kind"),
), responses(
    (status = 200, description = "The service", body = Envelope<ServiceEntry<'static>>), ErrorResponses,
))]
pub(crate) async fn get(call: Call, Key(key): Key) -> Result<Response, ApiError> {
    let found = call.service(&key)?;
    let meters = call.meters();
    let entry = match &found.pod {
        Some(pod) => pod_entry(&found.service, pod, &meters),
        None => service_entry(&found.service, &meters),
    };
    drop(meters);
    Ok(Envelope::new(entry).into_response())
}

/// Stop forwarding a service
///
/// Removes its names, ports and tunnels; its address stays reserved for a while.
#[utoipa::path(delete, path = "/api/v1/services/{key}", tag = "Services", params(
    ("key" = String, Path, description = "Key of the service", example = "my-service.default.minikube"),
), responses(
    (status = 200, description = "Removed", body = Envelope<Removed>), ErrorResponses,
))]
pub(crate) async fn remove(call: Call, Key(key): Key) -> Outcome<Removed> {
    let found = match keys::service(&call.control.view(), &call.caller, &key) {
        Ok(found) => found.service.key.clone(),
        // It may be asked for and not be there: then no snapshot has it.
        Err(error) => match call.caller.uid() {
            Some(uid) if error.status == StatusCode::NOT_FOUND => keys::service_key(uid, &key)?,
            _ => return Err(error),
        },
    };
    call.control.remove_service(&call.caller, &found).await?;
    Ok(Envelope::new(Removed::new(&found)))
}

/// Reconnect a service
///
/// Closes and reopens its tunnels, and retries ports that were not available.
#[utoipa::path(post, path = "/api/v1/services/{key}/reconnect", tag = "Services", params(
    ("key" = String, Path, description = "Key of the service", example = "api.shop.kind"),
), responses(
    (status = 200, description = "Started", body = Envelope<Reconnected>), ErrorResponses,
))]
pub(crate) async fn reconnect(call: Call, Key(key): Key) -> Outcome<Reconnected> {
    let found = call.service(&key)?;
    let key = &found.service.key;
    let which = Reconnect::Keys(vec![key.to_string()]);
    reconnect_these(&call, Some(key.uid), which).await
}

/// Reconnect all services
///
/// Those in error; with `force=true` all of them.
#[utoipa::path(post, path = "/api/v1/services/reconnect", tag = "Services", params(Force), responses(
    (status = 200, description = "Started", body = Envelope<Reconnected>), ErrorResponses,
))]
pub(crate) async fn reconnect_all(
    call: Call,
    Query(Force { force }): Query<Force>,
) -> Outcome<Reconnected> {
    let which = if force {
        Reconnect::All
    } else {
        Reconnect::Failed
    };
    reconnect_these(&call, None, which).await
}

async fn reconnect_these(
    call: &Call,
    owner: Option<Uid>,
    which: Reconnect,
) -> Outcome<Reconnected> {
    let services = call.control.reconnect(&call.caller, owner, which).await?;
    let services: Vec<String> = services.iter().map(ToString::to_string).collect();
    Ok(Envelope::new(Reconnected {
        triggered: services.len(),
        services,
    }))
}

/// Sync a service
///
/// Reads its pods from the cluster again; with `force=true` also reopens its tunnels.
#[utoipa::path(post, path = "/api/v1/services/{key}/sync", tag = "Services", params(
    ("key" = String, Path, description = "Key of the service", example = "api.shop.kind"), Force,
), responses(
    (status = 200, description = "Started", body = Envelope<Synced>), ErrorResponses,
))]
pub(crate) async fn sync(
    call: Call,
    Key(key): Key,
    Query(Force { force }): Query<Force>,
) -> Outcome<Synced> {
    let found = call.service(&key)?;
    let key = &found.service.key;
    let synced = call.control.resync(&call.caller, key, force).await?;
    let service = synced.to_string();
    Ok(Envelope::new(Synced { service, force }))
}

/// Requests through a service
///
/// Captured HTTP requests, newest first.
#[utoipa::path(get, path = "/api/v1/services/{key}/http", tag = "HTTP Traffic", params(
    ("key" = String, Path, description = "Key of the service", example = "api.shop.kind"), Count,
), responses(
    (status = 200, description = "The requests", body = Envelope<ServiceHttp<'static>>), ErrorResponses,
))]
pub(crate) async fn http(
    call: Call,
    Key(key): Key,
    Query(count): Query<Count>,
) -> Result<Response, ApiError> {
    let found = call.service(&key)?;
    let service = &found.service;
    let log = &call.control.telemetry().http;
    let forwards = found.forwards().map(|forward| {
        let only = (forward, &[][..]);
        HttpTraffic::new(&forward.key, &service.key, only, log, count.get())
    });
    let forwards: Vec<HttpTraffic<'_>> = forwards.collect();
    let logged = forwards.iter().map(|traffic| traffic.logs.len()).sum();
    let answer = ServiceHttp {
        service_key: key,
        capture: service.capture,
        summary: log.summary(service.key.uid, found.forwards()).into(),
        forwards,
    };
    Ok(Envelope::list(answer, logged).into_response())
}

/// Turn request capture on or off
///
/// Applies to the service's new connections, overrides the configuration, and lasts until the service is removed.
#[utoipa::path(put, path = "/api/v1/services/{key}/http", tag = "HTTP Traffic", params(
    ("key" = String, Path, description = "Key of the service", example = "api.shop.kind"),
), request_body = SetCapture, responses(
    (status = 200, description = "The new setting", body = Envelope<CaptureSet>), ErrorResponses,
))]
pub(crate) async fn set_capture(
    call: Call,
    Key(key): Key,
    Body(SetCapture { capture }): Body<SetCapture>,
) -> Outcome<CaptureSet> {
    let found = call.service(&key)?;
    let key = &found.service.key;
    let set = call.control.set_capture(&call.caller, key, capture).await?;
    let service = set.to_string();
    Ok(Envelope::new(CaptureSet { service, capture }))
}
