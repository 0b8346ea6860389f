//! What is wrong, since when, and what mends it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use axum::extract::State;
use kubefwd_model::{Finding, Health, ServiceStatus, Time};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Count;
use kubefwd_core::policy::Actor;

use crate::rest::Face;
use crate::rest::envelope::{ApiError, Envelope, Refusals};
use crate::rest::extract::{Caller, Key, Query};
use crate::rest::keys;
use crate::rest::types::analysis::{
    Analysis, AnalysisStats, Issue, Recommendation, Status, SuggestedAction, severity,
};
use crate::rest::types::diagnostics::{
    Diagnostics, ErrorDetail, ForwardDiag, HostsFile, Network, PortConflict, ServiceCounts,
    ServiceDiag,
};
use crate::rest::types::non_empty;
use crate::telemetry::errors::{Component, ErrorRecord, Holder};
use kubefwd_model::duration as time;

/// Errors in the overview.
const SHOWN: usize = 10;
/// Things to do in one answer.
const ADVICE: usize = 100;
/// The interface that loopback addresses belong to.
const LOOPBACK: &str = if cfg!(target_os = "macos") {
    "lo0"
} else {
    "lo"
};
/// What may stand in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b':')
    .remove(b'@');

/// Overview
///
/// Health, totals, network, errors and what to do about them.
#[utoipa::path(get, path = "/api/v1/diagnostics", tag = "Diagnostics", responses(
    (status = 200, description = "The overview", body = Envelope<Diagnostics>), Refusals,
))]
pub(crate) async fn overview(
    State(face): State<Face>,
    caller: Caller,
) -> Result<Envelope<Diagnostics>, ApiError> {
    let network = network_of(&face, &caller).await?;
    let mut services = ServiceCounts::default();
    for service in keys::visible(&face.control.view(), &caller) {
        services.add(service);
    }
    let info = face.control.info();
    let findings = face.control.diagnose(&caller);
    Ok(Envelope::new(Diagnostics {
        status: status_of(&face, &caller),
        timestamp: Time::now(),
        uptime: time::since(info.started_at),
        version: info.version,
        services,
        network,
        errors: current(&face, &caller, SHOWN),
        recommendations: advice(&findings)
            .map(|(_, hint)| hint)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    }))
}

/// Current errors
///
/// Current errors, newest first, with the time each began.
#[utoipa::path(
    get, path = "/api/v1/diagnostics/errors", tag = "Diagnostics", params(Count),
    responses((status = 200, description = "The errors", body = Envelope<Vec<ErrorDetail>>), Refusals),
)]
pub(crate) async fn errors(
    State(face): State<Face>,
    caller: Caller,
    Query(count): Query<Count>,
) -> Envelope<Vec<ErrorDetail>> {
    let errors = current(&face, &caller, count.get());
    let count = errors.len();
    Envelope::list(errors, count)
}

/// Addresses, ports and names
#[utoipa::path(get, path = "/api/v1/diagnostics/network", tag = "Diagnostics", responses(
    (status = 200, description = "The network", body = Envelope<Network>), Refusals,
))]
pub(crate) async fn network(
    State(face): State<Face>,
    caller: Caller,
) -> Result<Envelope<Network>, ApiError> {
    Ok(Envelope::new(network_of(&face, &caller).await?))
}

/// Inspect a service
#[utoipa::path(
    get, path = "/api/v1/diagnostics/services/{key}", tag = "Diagnostics",
    params(("key" = String, Path, description = "Key of the service", example = "api.shop.kind")),
    responses((status = 200, description = "The service", body = Envelope<ServiceDiag>), Refusals),
)]
pub(crate) async fn service(
    State(face): State<Face>,
    caller: Caller,
    Key(key): Key,
) -> Result<Envelope<ServiceDiag>, ApiError> {
    let found = keys::service(&face.control.view(), &caller, &key)?;
    let telemetry = face.control.telemetry();
    let meters = telemetry.meters.read(SystemTime::now());
    Ok(Envelope::new(ServiceDiag::new(
        &found.service,
        &meters,
        telemetry,
    )))
}

/// Inspect a forward
#[utoipa::path(
    get, path = "/api/v1/diagnostics/forwards/{key}", tag = "Diagnostics",
    params(("key" = String, Path, description = "Key of the forward", example = "api.shop.kind.api-6f.80")),
    responses((status = 200, description = "The forward", body = Envelope<ForwardDiag>), Refusals),
)]
pub(crate) async fn forward(
    State(face): State<Face>,
    caller: Caller,
    Key(key): Key,
) -> Result<Envelope<ForwardDiag>, ApiError> {
    let found = keys::forward(&face.control.view(), &caller, &key)?;
    let meters = face.control.telemetry().meters.read(SystemTime::now());
    Ok(Envelope::new(ForwardDiag::new(
        &found.service,
        found.forward(),
        &meters,
    )))
}

/// Status
///
/// The overall state in one sentence.
#[utoipa::path(get, path = "/api/v1/status", tag = "Analysis", responses(
    (status = 200, description = "The status", body = Envelope<Status>), Refusals,
))]
pub(crate) async fn status(State(face): State<Face>, caller: Caller) -> Envelope<Status> {
    let sums = face.sums(&caller);
    let findings = face.control.diagnose(&caller);
    let worst = findings
        .iter()
        .filter(|finding| severity(finding) == Some("high"));
    let hopeless = |state| state == ServiceStatus::Unsupported;
    let view = face.control.view();
    let hopeless = keys::visible(&view, &caller)
        .filter(|service| hopeless(service.status))
        .count();
    let possible = sums.total_services.saturating_sub(hopeless);
    let message = match (worst.clone().next(), possible) {
        (Some(first), _) => {
            let count = worst.count();
            format!(
                "{count} problems; the first: {}: {}",
                first.subject, first.message
            )
        }
        (None, 0) => "Nothing is forwarded yet".to_owned(),
        (None, possible) if possible > sums.active_services => {
            format!("{} of {possible} services forwarding", sums.active_services)
        }
        (None, _) if hopeless == 0 => "All services forwarding normally".to_owned(),
        (None, _) => {
            format!("All services forwarding normally, except {hopeless} that cannot be forwarded")
        }
    };
    Envelope::new(Status {
        status: status_of(&face, &caller),
        message,
        total_services: sums.total_services,
        active_services: sums.active_services,
        error_count: sums.error_count,
        uptime: time::since(face.control.info().started_at),
    })
}

/// Analysis
///
/// What is wrong, since when, and the command or call that fixes it.
#[utoipa::path(get, path = "/api/v1/analyze", tag = "Analysis", responses(
    (status = 200, description = "The analysis", body = Envelope<Analysis>), Refusals,
))]
pub(crate) async fn analyze(State(face): State<Face>, caller: Caller) -> Envelope<Analysis> {
    let sums = face.sums(&caller);
    let view = face.control.view();
    let findings = face.control.diagnose(&caller);
    let open = face
        .control
        .telemetry()
        .errors
        .open(ADVICE, |uid| caller.sees(uid));
    let issues: Vec<Issue> = findings
        .iter()
        .filter_map(|finding| issue(finding, &open))
        .collect();
    let recommendations = advice(&findings)
        .take(ADVICE)
        .filter_map(|(finding, message)| {
            let (priority, category) = (severity(finding)?, finding.subject.clone());
            Some(Recommendation {
                priority,
                category,
                message,
            })
        })
        .collect();
    let failing = keys::visible(&view, &caller).filter(|service| {
        matches!(
            service.status,
            ServiceStatus::Error | ServiceStatus::Partial
        )
    });
    let suggested_actions = failing.take(ADVICE).map(|service| {
        let key = service.key.to_string();
        let path = utf8_percent_encode(&key, PLAIN);
        SuggestedAction {
            action: "reconnect",
            reason: service.status_reason.clone(),
            endpoint: format!("/api/v1/services/{path}/reconnect"),
            method: "POST",
            target: key,
        }
    });
    let dead = |state| matches!(state, ServiceStatus::Error | ServiceStatus::Unsupported);
    let errored = keys::visible(&view, &caller)
        .filter(|service| dead(service.status))
        .count();
    let affected = sums.total_services - sums.active_services.min(sums.total_services);
    let summary = match (issues.len(), sums.total_services) {
        (_, 0) => "Nothing is forwarded yet".to_owned(),
        (0, total) => format!("All {total} services are forwarded"),
        (n, total) => format!("{n} findings; {affected} of {total} services are not active"),
    };
    Envelope::new(Analysis {
        status: status_of(&face, &caller),
        summary,
        issues,
        recommendations,
        suggested_actions: suggested_actions.collect(),
        stats: AnalysisStats {
            total_services: sums.total_services,
            active_services: sums.active_services,
            errored_services: errored,
            total_forwards: sums.total_forwards,
            active_forwards: sums.active_forwards,
            total_bytes_in: sums.total_bytes_in,
            total_bytes_out: sums.total_bytes_out,
            uptime: time::since(face.control.info().started_at),
        },
    })
}

fn issue(finding: &Finding, open: &[ErrorRecord]) -> Option<Issue> {
    let severity = severity(finding)?;
    let record = open.iter().find(|record| {
        let forward = record
            .found
            .forward
            .as_ref()
            .map(|(_, _, key)| key == &finding.subject);
        forward == Some(true) || record.holder.to_string() == finding.subject
    });
    let service_key = record.and_then(|record| match &record.holder {
        Holder::Service(key) => Some(key.to_string()),
        Holder::Namespace(_) | Holder::Worker(_) => None,
    });
    let since = record.map(|record| record.time.into()).or(finding.since);
    Some(Issue {
        severity,
        component: finding.subject.clone(),
        service_key,
        message: finding.message.clone(),
        hint: non_empty(&finding.hint),
        since,
        error_type: record.map(|record| record.found.kind),
    })
}

/// What to do, of everything that is not as it should be.
fn advice(findings: &[Finding]) -> impl Iterator<Item = (&Finding, String)> {
    findings
        .iter()
        .filter(|finding| severity(finding).is_some())
        .filter_map(|finding| Some((finding, non_empty(&finding.hint)?)))
}

/// How well everything is, for one caller: the daemon as a whole, and what they forward.
fn status_of(face: &Face, actor: &Actor) -> Health {
    let (health, _) = face.control.health();
    match Health::from(health) {
        Health::Unhealthy => Health::Unhealthy,
        _ => {
            let findings = face.control.diagnose(actor);
            match findings
                .iter()
                .any(|finding| severity(finding) == Some("high"))
            {
                true => Health::Degraded,
                false => Health::Healthy,
            }
        }
    }
}

fn current(face: &Face, caller: &Actor, limit: usize) -> Vec<ErrorDetail> {
    let telemetry = face.control.telemetry();
    let open = telemetry.errors.open(limit, |uid| caller.sees(uid));
    let mut errors: Vec<ErrorDetail> = open.into_iter().map(ErrorDetail::from).collect();
    let hosts = face.control.hosts();
    if let Some(message) = hosts.error {
        let hosts = ErrorDetail {
            timestamp: hosts
                .last_written
                .unwrap_or(face.control.info().started_at)
                .into(),
            component: Component::Hosts.name(),
            service_key: None,
            namespace_key: None,
            forward_key: None,
            pod_name: None,
            message,
            hint: None,
            recoverable: true,
        };
        errors.insert(0, hosts);
        errors.truncate(limit);
    }
    errors
}

async fn network_of(face: &Face, caller: &Actor) -> Result<Network, ApiError> {
    let ip_range = face.control.info().address_range.clone();
    let view = face.control.view();
    let mut addresses = BTreeSet::new();
    let mut hostnames = BTreeSet::new();
    let mut foreign_conflicts = BTreeSet::new();
    let mut ports_in_use = 0;
    let hosts = face.control.hosts();
    for service in keys::visible(&view, caller) {
        addresses.extend(service.address);
        addresses.extend(service.forwards.iter().map(|forward| forward.address));
        hostnames.extend(service.hostnames.iter().cloned());
        hostnames.extend(
            service
                .forwards
                .iter()
                .flat_map(|forward| forward.hostnames.iter().cloned()),
        );
        ports_in_use += service.forwards.len();
        let refused = service.refused_names.iter().map(|refused| &refused.name);
        let foreign = refused.filter(|name| {
            hosts
                .foreign_names
                .iter()
                .any(|known| known.as_str() == *name)
        });
        foreign_conflicts.extend(foreign.cloned());
    }
    let open = face
        .control
        .telemetry()
        .errors
        .open(usize::MAX, |uid| caller.sees(uid));
    let port_conflicts: Vec<PortConflict> = open.iter().filter_map(PortConflict::new).collect();
    Ok(Network {
        loopback_interface: LOOPBACK,
        ips_allocated: addresses.len(),
        ip_range,
        ports_in_use: ports_in_use - port_conflicts.len().min(ports_in_use),
        hostnames: hostnames.iter().map(ToString::to_string).collect(),
        hosts_file: HostsFile {
            path: face.control.info().hosts_path.display().to_string(),
            entries: hosts.entries,
            last_written: hosts.last_written.map(Time::from),
            tampered: hosts.tampered,
            error: hosts.error,
            foreign_conflicts: foreign_conflicts.into_iter().collect(),
        },
        port_conflicts,
    })
}
