//! The daemon itself, and the names it gave.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use kubefwd_model as model;
use kubefwd_model::entry::{Key, NamespaceId, ServiceId};
use kubefwd_model::{HostName, ServiceName, Uid};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ApiState;
use crate::compat::{HealthData, HealthResponse};
use crate::envelope::{Envelope, json};
use crate::error::ErrorResponses;
use crate::extract::Call;
use crate::types::server::InfoData;
use crate::{keys, list};

/// Names of forwarded services.
#[derive(Serialize, ToSchema)]
pub(crate) struct HostnameList<'a> {
    /// Sorted by name.
    #[schema(value_type = Vec<Hostname<'static>>)]
    hostnames: [(); 0],
    /// How many.
    total: usize,
    /// Names that the caller's services did not get.
    conflicts: Vec<NameConflict<'a>>,
}

/// A name.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hostname<'a> {
    /// The name.
    hostname: &'a HostName,
    /// Its address.
    ip: Ipv4Addr,
    /// The service.
    service: &'a ServiceName,
    #[serde(flatten)]
    namespace: NamespaceId<'a>,
    /// The uid of the user who forwards it.
    owner: Uid,
}

/// A name that was not available.
#[derive(Serialize, ToSchema)]
pub(crate) struct NameConflict<'a> {
    /// The name.
    hostname: &'a str,
    /// The service that needed it.
    service: Key<'a>,
    /// Why it did not get it.
    reason: &'a str,
    /// What to do about that.
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: &'a str,
}

/// Health
///
/// The daemon's health. Anybody may ask. The fields are repeated next to the envelope.
#[utoipa::path(get, path = "/api/health", tag = "Health & Info", responses(
    (status = 200, description = "The health", body = HealthResponse), ErrorResponses,
))]
pub(crate) async fn health(State(api): State<ApiState>) -> Response {
    let health = HealthData::new(api.control.health(), api.control.info());
    json(http::StatusCode::OK, &HealthResponse::from(health))
}

/// Information
///
/// Version and times of the daemon, and what the caller forwards.
#[utoipa::path(get, path = "/api/info", tag = "Health & Info", responses(
    (status = 200, description = "The facts", body = Envelope<InfoData>), ErrorResponses,
))]
pub(crate) async fn info(call: Call) -> Envelope<InfoData> {
    let view = call.control.view();
    let own = view
        .namespaces
        .keys()
        .filter(|key| call.caller.sees(key.uid));
    let contexts: BTreeSet<String> = own.clone().map(|key| key.context.to_string()).collect();
    let namespaces: BTreeSet<String> = own.map(|key| key.namespace.to_string()).collect();
    Envelope::new(InfoData::new(
        call.control.info(),
        namespaces.into_iter().collect(),
        contexts.into_iter().collect(),
    ))
}

/// Names
///
/// Every name of the caller's forwards, and those that were not available.
#[utoipa::path(get, path = "/api/v1/hostnames", tag = "Names", responses(
    (status = 200, description = "The names", body = Envelope<HostnameList<'static>>), ErrorResponses,
))]
pub(crate) async fn hostnames(call: Call) -> Response {
    let view = call.control.view();
    let mut names: Vec<(HostName, Ipv4Addr, &Arc<model::Service>)> = Vec::new();
    let mut conflicts = Vec::new();
    for service in keys::visible(&view, &call.caller) {
        let own = service.address.map(|address| (address, &service.hostnames));
        let forwards = service.forwards.iter();
        let of_forwards = forwards.map(|forward| (forward.address, &forward.hostnames));
        for (address, hostnames) in own.into_iter().chain(of_forwards) {
            let hostnames = hostnames.iter().cloned();
            names.extend(hostnames.map(|name| (name, address, service)));
        }
        conflicts.extend(service.refused_names.iter().map(|refused| NameConflict {
            hostname: &refused.name,
            service: (&service.key).into(),
            reason: &refused.reason,
            hint: &refused.hint,
        }));
    }
    names.sort_unstable_by(|a, b| (&a.0, a.1, &a.2.key).cmp(&(&b.0, b.1, &b.2.key)));
    names.dedup_by(|a, b| (&a.0, a.1, &a.2.key) == (&b.0, b.1, &b.2.key));
    let names: Vec<_> = names
        .into_iter()
        .map(|(name, address, service)| (name, address, service.clone()))
        .collect();
    let shell = HostnameList {
        hostnames: [],
        total: names.len(),
        conflicts,
    };
    let shell = Envelope::list(shell, names.len());
    list::respond(&shell, names, |(name, address, service), out| {
        let key = &service.key;
        let hostname = Hostname {
            hostname: name,
            ip: *address,
            service: &key.service,
            namespace: ServiceId::from(key).namespace,
            owner: key.uid,
        };
        serde_json::to_writer(out, &hostname)
    })
}
