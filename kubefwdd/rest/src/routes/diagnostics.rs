//! What is wrong, since when, and how to fix it.

use std::collections::BTreeSet;

use axum::response::{IntoResponse, Response};
use kubefwd_model::{Time, duration};

use super::Count;
use super::analysis::{advice, health_of};
use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses};
use crate::extract::{Call, Key, Query};
use crate::keys;
use crate::types::diagnostics::{
    Diagnostics, ForwardDiag, HostsFile, Network, PortConflict, ServiceCounts, ServiceDiag,
};
use crate::types::errors::ErrorDetail;

/// Errors in the overview.
const MAX_ERRORS: usize = 10;
/// The interface that loopback addresses belong to.
const LOOPBACK: &str = if cfg!(target_os = "macos") {
    "lo0"
} else {
    "lo"
};
/// Overview
///
/// Health, totals, network, errors and what to do about them.
#[utoipa::path(get, path = "/api/v1/diagnostics", tag = "Diagnostics", responses(
    (status = 200, description = "The overview", body = Envelope<Diagnostics>), ErrorResponses,
))]
pub(crate) async fn overview(call: Call) -> Envelope<Diagnostics> {
    let network = network_of(&call);
    let services = ServiceCounts::of(keys::visible(&call.control.view(), &call.caller));
    let info = call.control.info();
    let findings = call.control.diagnose(&call.caller);
    let advice: BTreeSet<String> = advice(&findings).map(|(_, hint)| hint).collect();
    Envelope::new(Diagnostics {
        status: health_of(&call, &findings),
        timestamp: Time::now(),
        uptime: duration::since(info.started_at),
        version: info.version,
        services,
        network,
        errors: current(&call, MAX_ERRORS),
        recommendations: advice.into_iter().collect(),
    })
}

/// Current errors
///
/// Current errors, newest first, with the time each began.
#[utoipa::path(
    get, path = "/api/v1/diagnostics/errors", tag = "Diagnostics", params(Count),
    responses((status = 200, description = "The errors", body = Envelope<Vec<ErrorDetail>>), ErrorResponses),
)]
pub(crate) async fn errors(call: Call, Query(count): Query<Count>) -> Envelope<Vec<ErrorDetail>> {
    current(&call, count.get()).into_iter().collect()
}

/// Addresses, ports and names
#[utoipa::path(get, path = "/api/v1/diagnostics/network", tag = "Diagnostics", responses(
    (status = 200, description = "The network", body = Envelope<Network>), ErrorResponses,
))]
pub(crate) async fn network(call: Call) -> Envelope<Network> {
    Envelope::new(network_of(&call))
}

/// Inspect a service
#[utoipa::path(
    get, path = "/api/v1/diagnostics/services/{key}", tag = "Diagnostics",
    params(("key" = String, Path, description = "Key of the service", example = "api.shop.kind")),
    responses((status = 200, description = "The service", body = Envelope<ServiceDiag<'static>>), ErrorResponses),
)]
pub(crate) async fn service(call: Call, Key(key): Key) -> Result<Response, ApiError> {
    let found = call.service(&key)?;
    let telemetry = call.control.telemetry();
    let service = ServiceDiag::new(&found.service, &call.meters(), telemetry);
    Ok(Envelope::new(service).into_response())
}

/// Inspect a forward
#[utoipa::path(
    get, path = "/api/v1/diagnostics/forwards/{key}", tag = "Diagnostics",
    params(("key" = String, Path, description = "Key of the forward", example = "api.shop.kind.api-6f.80")),
    responses((status = 200, description = "The forward", body = Envelope<ForwardDiag<'static>>), ErrorResponses),
)]
pub(crate) async fn forward(call: Call, Key(key): Key) -> Result<Response, ApiError> {
    let found = keys::forward(&call.control.view(), &call.caller, &key)?;
    let forward = ForwardDiag::new(&found.service, found.forward(), &call.meters());
    Ok(Envelope::new(forward).into_response())
}

fn current(call: &Call, limit: usize) -> Vec<ErrorDetail> {
    let telemetry = call.control.telemetry();
    let open = telemetry.errors.open(limit, |uid| call.caller.sees(uid));
    let mut errors: Vec<ErrorDetail> = open.into_iter().map(ErrorDetail::from).collect();
    let hosts = call.control.hosts();
    if let Some(message) = hosts.error {
        let since = hosts
            .failing_since
            .unwrap_or(call.control.info().started_at);
        errors.insert(0, ErrorDetail::of_hosts_file(since, message));
        errors.truncate(limit);
    }
    errors
}

fn network_of(call: &Call) -> Network {
    let ip_range = call.control.info().address_range.clone();
    let view = call.control.view();
    let hosts = call.control.hosts();
    let (mut addresses, mut hostnames) = (Vec::new(), Vec::new());
    let mut foreign_conflicts = BTreeSet::new();
    let mut ports_in_use = 0;
    for service in keys::visible(&view, &call.caller) {
        addresses.extend(service.address);
        addresses.extend(service.forwards.iter().map(|forward| forward.address));
        let of_forwards = service.forwards.iter().map(|forward| &forward.hostnames);
        let lists = [&service.hostnames].into_iter().chain(of_forwards);
        hostnames.extend(lists.flat_map(|names| names.iter().cloned()));
        ports_in_use += service.forwards.len();
        let is_foreign = |name: &str| hosts.foreign_names.contains(name);
        let refused = service.refused_names.iter().map(|refused| &refused.name);
        foreign_conflicts.extend(refused.filter(|name| is_foreign(name)).cloned());
    }
    addresses.sort_unstable();
    addresses.dedup();
    hostnames.sort_unstable();
    hostnames.dedup();
    let open = call
        .control
        .telemetry()
        .errors
        .open(usize::MAX, |uid| call.caller.sees(uid));
    let port_conflicts: Vec<PortConflict> = open.iter().filter_map(PortConflict::new).collect();
    Network {
        loopback_interface: LOOPBACK,
        ips_allocated: addresses.len(),
        ip_range,
        ports_in_use: ports_in_use - port_conflicts.len().min(ports_in_use),
        hostnames,
        hosts_file: HostsFile {
            path: call.control.info().hosts_path.display().to_string(),
            entries: hosts.entries,
            last_written: hosts.last_written.map(Time::from),
            tampered: hosts.tampered,
            error: hosts.error,
            foreign_conflicts: foreign_conflicts.into_iter().collect(),
        },
        port_conflicts,
    }
}
