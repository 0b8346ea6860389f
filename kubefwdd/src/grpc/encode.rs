//! From the control layer's views to the wire.

use std::collections::BTreeMap;

use kubefwd_proto::common::v1 as common;
use kubefwd_proto::control::v1 as pb;
use kubefwd_proto::time::timestamp;
use kubefwd_proto::worker::v1 as wire;

use super::decode::Filter;
use crate::control::{Control, Health, RestStatus, Severity};
use crate::core::addresses::Reservation;
use crate::core::names::{API_NAME, HostName};
use crate::core::policy::Actor;
use crate::core::state::{
    Changes, Counts, ForwardState, ForwardView, NamespaceKey, NamespaceState, NamespaceView,
    ServiceState, ServiceView, View, WorkerState,
};
use crate::hosts::HostsStatus;
use crate::telemetry::events::Logged;
use crate::worker::selection;

pub(super) fn health(health: Health) -> pb::Health {
    match health {
        Health::Healthy => pb::Health::Healthy,
        Health::Degraded => pb::Health::Degraded,
        Health::Unhealthy => pb::Health::Unhealthy,
    }
}

pub(super) fn severity(severity: Severity) -> pb::Severity {
    match severity {
        Severity::Ok => pb::Severity::Ok,
        Severity::Note => pb::Severity::Note,
        Severity::Warning => pb::Severity::Warning,
        Severity::Error => pb::Severity::Error,
    }
}

pub(super) fn status(control: &Control, actor: &Actor) -> pb::GetStatusResponse {
    let info = control.info();
    let view = control.view();
    let (health, message) = control.health();
    let (rest_url, rest_error) = match control.rest() {
        RestStatus::At(url) => (url, String::new()),
        RestStatus::Off => (String::new(), "turned off in the configuration".to_owned()),
        RestStatus::Failed(why) => (String::new(), why),
    };
    let workers = view
        .workers
        .iter()
        .filter(|(uid, _)| actor.sees(**uid))
        .map(|(uid, worker)| {
            let state = match worker.state {
                WorkerState::Starting => pb::WorkerState::Starting,
                WorkerState::Running => pb::WorkerState::Running,
                WorkerState::Backoff => pb::WorkerState::Backoff,
            };
            pb::Worker {
                uid: *uid,
                user: worker.user.clone(),
                pid: worker.pid,
                state: state.into(),
                restarts: worker.restarts,
                error: worker.error.clone(),
            }
        });
    pb::GetStatusResponse {
        version: info.version.to_owned(),
        pid: info.pid,
        started_at: Some(timestamp(info.started_at)),
        health: self::health(health).into(),
        message,
        counts: Some(counts(control.counts(actor))),
        workers: workers.collect(),
        hosts: Some(hosts_file(control)),
        rest_url,
        rest_error,
        config_path: info.config_path.display().to_string(),
        state_path: info.state_path.display().to_string(),
        warnings: view.warnings.to_vec(),
    }
}

fn counts(counts: Counts) -> pb::Counts {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    pb::Counts {
        namespaces: number(counts.namespaces),
        services: number(counts.services),
        services_active: number(counts.services_active),
        forwards: number(counts.forwards),
        forwards_active: number(counts.forwards_active),
        errors: number(counts.errors),
        bytes_in: counts.bytes_in,
        bytes_out: counts.bytes_out,
    }
}

/// Sums per namespace, so that a listing is one walk over the services.
fn sums(view: &View) -> BTreeMap<NamespaceKey, Counts> {
    let mut sums: BTreeMap<NamespaceKey, Counts> = BTreeMap::new();
    for service in view.services.values() {
        sums.entry(service.key.namespace_key())
            .or_default()
            .add(service);
    }
    sums
}

pub(super) fn listing(view: &View, filter: &Filter) -> pb::ListResponse {
    let sums = sums(view);
    let namespaces = view
        .namespaces
        .values()
        .filter(|n| filter.namespace(&n.key));
    let services = view.services.values().filter(|s| filter.service(&s.key));
    pb::ListResponse {
        revision: view.revision,
        namespaces: namespaces
            .map(|n| namespace(n, sums.get(&n.key), view))
            .collect(),
        services: services.map(|s| service(s, view)).collect(),
    }
}

/// What changed for this filter; `None` when nothing did. The sums of a namespace change with its services.
pub(super) fn changes(changes: Changes, filter: &Filter, view: &View) -> Option<pb::Changes> {
    let services: Vec<_> = changes
        .services
        .iter()
        .filter(|s| filter.service(&s.key))
        .collect();
    let removed: Vec<_> = changes
        .removed_services
        .iter()
        .filter(|k| filter.service(k))
        .collect();
    let touched = services.iter().map(|s| s.key.namespace_key());
    let touched = touched.chain(removed.iter().map(|key| key.namespace_key()));
    let touched = touched.chain(changes.namespaces.iter().map(|n| n.key.clone()));
    let touched: std::collections::BTreeSet<_> =
        touched.filter(|key| filter.namespace(key)).collect();
    let removed_namespaces: Vec<_> = changes
        .removed_namespaces
        .iter()
        .filter(|key| filter.namespace(key))
        .collect();
    if touched.is_empty() && removed_namespaces.is_empty() {
        return None;
    }
    let sums = sums(view);
    let namespaces = touched.iter().filter_map(|key| view.namespaces.get(key));
    Some(pb::Changes {
        namespaces: namespaces
            .map(|n| namespace(n, sums.get(&n.key), view))
            .collect(),
        services: services.into_iter().map(|s| service(s, view)).collect(),
        removed_namespaces: removed_namespaces
            .into_iter()
            .map(|key| pb::ObjectRef {
                key: key.to_string(),
                uid: key.uid,
            })
            .collect(),
        removed_services: removed
            .into_iter()
            .map(|key| pb::ObjectRef {
                key: key.to_string(),
                uid: key.uid,
            })
            .collect(),
    })
}

fn namespace(view: &NamespaceView, sums: Option<&Counts>, all: &View) -> pb::Namespace {
    let (state, failure) = match &view.state {
        NamespaceState::Connecting => (pb::NamespaceState::Connecting, None),
        NamespaceState::Watching => (pb::NamespaceState::Watching, None),
        NamespaceState::Failed(problem) => {
            let failure = common::Failure {
                reason: problem.reason,
                message: problem.message.clone(),
                hint: problem.hint.clone(),
            };
            (pb::NamespaceState::Failed, Some(failure))
        }
    };
    let sums = counts(sums.copied().unwrap_or_default());
    pb::Namespace {
        key: view.key.to_string(),
        namespace: view.key.namespace.to_string(),
        context: view.key.context.to_string(),
        uid: view.key.uid,
        user: all.user_name(view.key.uid),
        state: state.into(),
        failure,
        selection: view.selection.clone().map(selection),
        services: sums.services,
        services_active: sums.services_active,
        errors: sums.errors,
        added_at: Some(timestamp(view.added_at)),
        attached: view.attached,
        notes: view.notes.clone(),
    }
}

fn service(view: &ServiceView, all: &View) -> pb::Service {
    let state = match view.state {
        ServiceState::Pending => pb::ServiceState::Pending,
        ServiceState::Active => pb::ServiceState::Active,
        ServiceState::Partial => pb::ServiceState::Partial,
        ServiceState::Error => pb::ServiceState::Error,
        ServiceState::Unsupported => pb::ServiceState::Unsupported,
    };
    let refused = view.refused_names.iter();
    pb::Service {
        key: view.key.to_string(),
        service: view.key.service.to_string(),
        namespace: view.key.namespace.to_string(),
        context: view.key.context.to_string(),
        uid: view.key.uid,
        user: all.user_name(view.key.uid),
        headless: view.headless,
        state: state.into(),
        reason: view.reason.clone(),
        hint: view.hint.clone(),
        local_ip: view
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        hostnames: HostName::texts(&view.hostnames),
        refused_names: refused
            .map(|(name, reason)| pb::RefusedName {
                name: name.clone(),
                reason: reason.clone(),
            })
            .collect(),
        forwards: view.forwards.iter().map(forward).collect(),
        ready_pods: view.ready_pods,
        skipped_ports: view.skipped_ports.clone(),
    }
}

fn forward(view: &ForwardView) -> pb::Forward {
    let (state, error) = match &view.state {
        ForwardState::Pending => (pb::ForwardState::Pending, String::new()),
        ForwardState::Connecting => (pb::ForwardState::Connecting, String::new()),
        ForwardState::Active => (pb::ForwardState::Active, String::new()),
        ForwardState::Error { message, .. } => (pb::ForwardState::Error, message.clone()),
        ForwardState::Stopping => (pb::ForwardState::Stopping, String::new()),
    };
    let traffic = view.traffic;
    pb::Forward {
        key: view.key.clone(),
        local_ip: view.address.to_string(),
        local_port: view.local_port.into(),
        service_port: view.service_port.into(),
        port_name: view.port_name.clone(),
        pod: view.pod.clone(),
        container: view.container.clone(),
        pod_port: view.pod_port.into(),
        pod_address: view.pod_address,
        state: state.into(),
        error,
        bytes_in: traffic.bytes_in,
        bytes_out: traffic.bytes_out,
        connections: traffic.active,
        total_connections: traffic.opened,
        failed_connections: traffic.failed,
        started_at: Some(timestamp(view.since)),
        last_active: traffic.last_active.map(timestamp),
        hostnames: HostName::texts(&view.hostnames),
        first_byte_us: traffic
            .first_byte_us
            .checked_div(traffic.first_bytes)
            .unwrap_or_default(),
    }
}

pub(super) fn contexts(contexts: wire::ListContextsAnswer) -> pb::ListContextsResponse {
    let wire::ListContextsAnswer {
        current_context,
        contexts,
    } = contexts;
    let contexts = contexts.into_iter().map(|context| pb::Context {
        name: context.name,
        cluster: context.cluster,
        user: context.user,
        namespace: context.namespace,
        server: context.server,
    });
    pb::ListContextsResponse {
        current_context,
        contexts: contexts.collect(),
    }
}

pub(super) fn event(logged: &Logged) -> pb::Event {
    let event = &logged.event;
    pb::Event {
        id: logged.id,
        time: Some(timestamp(event.time)),
        r#type: event.kind.name().to_owned(),
        service_key: event
            .service
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        forward_key: event.forward.clone().unwrap_or_default(),
        pod: event.pod.clone().unwrap_or_default(),
        namespace_key: event.namespace.to_string(),
        message: event.message.clone(),
    }
}

pub(super) fn hosts(control: &Control, actor: &Actor) -> pb::GetHostsResponse {
    let view = control.view();
    let mut entries = Vec::new();
    if let RestStatus::At(_) = control.rest() {
        entries.push(pb::HostsEntry {
            address: crate::core::addresses::API_ADDRESS.to_string(),
            name: API_NAME.to_owned(),
            service_key: String::new(),
            uid: 0,
        });
    }
    for service in view.services.values().filter(|s| actor.sees(s.key.uid)) {
        let mut seen = std::collections::BTreeSet::new();
        for forward in &service.forwards {
            for name in forward
                .hostnames
                .iter()
                .filter(|name| seen.insert(name.as_str()))
            {
                entries.push(pb::HostsEntry {
                    address: forward.address.to_string(),
                    name: name.to_string(),
                    service_key: service.key.to_string(),
                    uid: service.key.uid,
                });
            }
        }
    }
    pb::GetHostsResponse {
        file: Some(hosts_file(control)),
        entries,
    }
}

fn hosts_file(control: &Control) -> pb::HostsFile {
    let HostsStatus {
        entries,
        writes,
        last_written,
        error,
        ..
    } = control.hosts();
    pb::HostsFile {
        path: control.info().hosts_path.display().to_string(),
        entries: u32::try_from(entries).unwrap_or(u32::MAX),
        writes,
        last_written: last_written.map(timestamp),
        error: error.unwrap_or_default(),
    }
}

pub(super) fn reservation(reservation: Reservation, all: &View) -> pb::Reservation {
    pb::Reservation {
        key: reservation.target.to_string(),
        address: reservation.address.to_string(),
        uid: reservation.owner.unwrap_or_default(),
        user: reservation
            .owner
            .map(|uid| all.user_name(uid))
            .unwrap_or_default(),
        configured: reservation.owner.is_none(),
    }
}
