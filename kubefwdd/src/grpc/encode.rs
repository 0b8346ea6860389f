//! From the control layer's views to the wire.

use std::collections::BTreeSet;

use kubefwd_core::addresses::Reservation;
use kubefwd_core::names::API_NAME;
use kubefwd_core::policy::Actor;
use kubefwd_core::state::{Changes, View};
use kubefwd_core::status::HostsStatus;
use kubefwd_core::status::RestStatus;
use kubefwd_model as model;
use kubefwd_model::{ServiceKey, Uid, discovery};
use kubefwd_proto::control::v1 as pb;
use kubefwd_proto::convert::timestamp;

use super::decode::Filter;
use crate::control::Control;

pub(super) fn status(control: &Control, actor: &Actor) -> pb::GetStatusResponse {
    let info = &control.info;
    let view = control.store.view();
    let (health, message) = control.health();
    let (rest_url, rest_error) = match &control.rest {
        RestStatus::At(url) => (url.clone(), String::new()),
        RestStatus::Off => (String::new(), "disabled in the configuration".to_owned()),
        RestStatus::Failed(why) => (String::new(), why.clone()),
    };
    let workers = view
        .workers
        .iter()
        .filter(|(uid, _)| actor.sees(**uid))
        .map(|(_, worker)| (&worker.worker).into());
    pb::GetStatusResponse {
        version: info.version.to_owned(),
        pid: info.pid,
        started_at: Some(timestamp(info.started_at)),
        health: pb::Health::from(health).into(),
        message,
        counts: Some(view.counts(|uid| actor.sees(uid)).into()),
        workers: workers.collect(),
        hosts: Some(hosts_file(control)),
        rest_url,
        rest_error,
        config_path: info.config_path.display().to_string(),
        state_path: info.state_path.display().to_string(),
        warnings: view.warnings.to_vec(),
    }
}

pub(super) fn listing(view: &View, filter: &Filter) -> pb::ListResponse {
    let namespaces = view
        .namespaces
        .values()
        .filter(|n| filter.namespace(&n.key));
    let services = view.services.values().filter(|s| filter.service(&s.key));
    pb::ListResponse {
        revision: view.revision,
        namespaces: namespaces.map(|n| namespace(n, view)).collect(),
        services: services.map(|s| service(s, view)).collect(),
    }
}

/// What changed for this filter; `None` when nothing did. The sums of a namespace change with its services.
pub(super) fn changes(mut changes: Changes, filter: &Filter, view: &View) -> Option<pb::Changes> {
    changes.services.retain(|s| filter.service(&s.key));
    changes.removed_services.retain(|key| filter.service(key));
    changes
        .removed_namespaces
        .retain(|key| filter.namespace(key));
    let services = changes.services.iter().map(|s| s.key.namespace_key());
    let removed = changes.removed_services.iter();
    let touched = services.chain(removed.map(ServiceKey::namespace_key));
    let touched = touched.chain(changes.namespaces.iter().map(|n| n.key.clone()));
    let touched: BTreeSet<_> = touched.filter(|key| filter.namespace(key)).collect();
    if touched.is_empty() && changes.removed_namespaces.is_empty() {
        return None;
    }
    let namespaces = touched.iter().filter_map(|key| view.namespaces.get(key));
    let services = changes.services.iter();
    let removed_namespaces = changes.removed_namespaces.iter();
    let removed_services = changes.removed_services.iter();
    Some(pb::Changes {
        namespaces: namespaces.map(|n| namespace(n, view)).collect(),
        services: services.map(|s| service(s, view)).collect(),
        removed_namespaces: removed_namespaces.map(|key| object(key, key.uid)).collect(),
        removed_services: removed_services.map(|key| object(key, key.uid)).collect(),
    })
}

fn object(key: &impl ToString, uid: Uid) -> pb::ObjectRef {
    pb::ObjectRef {
        key: key.to_string(),
        uid: uid.get(),
    }
}

fn namespace(namespace: &model::Namespace, all: &View) -> pb::Namespace {
    let sums = pb::Counts::from(all.counts_of(&namespace.key));
    pb::Namespace {
        user: all.user_name(namespace.key.uid),
        services: sums.services,
        services_active: sums.services_active,
        errors: sums.errors,
        ..namespace.into()
    }
}

fn service(service: &model::Service, all: &View) -> pb::Service {
    pb::Service {
        user: all.user_name(service.key.uid),
        ..service.into()
    }
}

pub(super) fn contexts(contexts: discovery::Contexts) -> pb::ListContextsResponse {
    let discovery::Contexts {
        current_context,
        contexts,
    } = contexts;
    let contexts = contexts.into_iter().map(|context| pb::Context {
        name: context.name.into(),
        cluster: context.cluster.into(),
        user: context.user.into(),
        namespace: context.namespace.into(),
        server: context.server.into(),
    });
    pb::ListContextsResponse {
        current_context: current_context.into(),
        contexts: contexts.collect(),
    }
}

pub(super) fn hosts(control: &Control, actor: &Actor) -> pb::GetHostsResponse {
    let view = control.store.view();
    let mut entries = Vec::new();
    if let RestStatus::At(_) = &control.rest {
        entries.push(pb::HostsEntry {
            address: kubefwd_core::addresses::API_ADDRESS.to_string(),
            name: API_NAME.to_owned(),
            service_key: String::new(),
            uid: 0,
        });
    }
    for service in view.services.values().filter(|s| actor.sees(s.key.uid)) {
        let mut seen = BTreeSet::new();
        let forwards = service.forwards.iter();
        let named = forwards.flat_map(|f| f.hostnames.iter().map(|name| (f.address, name)));
        for (address, name) in named.filter(|(_, name)| seen.insert(name.as_str())) {
            entries.push(pb::HostsEntry {
                address: address.to_string(),
                name: name.to_string(),
                service_key: service.key.to_string(),
                uid: service.key.uid.get(),
            });
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
    } = control.hosts.borrow().clone();
    pb::HostsFile {
        path: control.info.hosts_path.display().to_string(),
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
        uid: reservation.owner.unwrap_or_default().get(),
        user: reservation
            .owner
            .map(|uid| all.user_name(uid))
            .unwrap_or_default(),
        configured: reservation.owner.is_none(),
    }
}
