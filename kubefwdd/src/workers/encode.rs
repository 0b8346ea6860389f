//! What the daemon tells a worker, in the form of the worker protocol.

use std::collections::BTreeMap;

use kubefwd_core::policy::GROUP;
use kubefwd_core::state::{Desired, NamespaceSpec};
use kubefwd_model::{ListenerId, NamespaceKey, PodName, ServiceKey, Uid};
use kubefwd_proto::common::v1 as common;
use kubefwd_proto::worker::v1::{self as wire, to_worker::Frame};

pub(super) fn welcome(tuning: wire::Tuning) -> wire::ToWorker {
    let protocol = kubefwd_proto::worker::PROTOCOL;
    frame(Frame::Welcome(wire::Welcome {
        protocol,
        tuning: Some(tuning),
    }))
}

pub(super) fn environment(variables: BTreeMap<String, String>) -> wire::ToWorker {
    let variables = variables.into_iter().collect();
    frame(Frame::Environment(wire::Environment { variables }))
}

pub(super) fn shutdown() -> wire::ToWorker {
    frame(Frame::Shutdown(wire::Shutdown {}))
}

pub(super) fn query(query: wire::Query) -> wire::ToWorker {
    frame(Frame::Query(query))
}

pub(super) fn cancel_query(id: u64) -> wire::ToWorker {
    frame(Frame::CancelQuery(wire::CancelQuery { id }))
}

pub(super) fn access(limited: bool) -> wire::ToWorker {
    let group = GROUP.to_owned();
    frame(Frame::Access(wire::Access { limited, group }))
}

pub(super) fn revoke(listener: ListenerId) -> wire::ToWorker {
    frame(Frame::Revoke(wire::Revoke {
        listener: listener.0,
    }))
}

pub(super) fn grant(
    listener: ListenerId,
    service: &ServiceKey,
    pod: Option<PodName>,
    service_port: u16,
) -> wire::ToWorker {
    frame(Frame::Grant(wire::Grant {
        listener: listener.0,
        service: Some(service_ref(service)),
        pod: pod.map(String::from).unwrap_or_default(),
        service_port: service_port.into(),
    }))
}

pub(super) fn reconnect(services: &[ServiceKey], resync: bool) -> wire::ToWorker {
    let services = services.iter().map(service_ref).collect();
    frame(Frame::Reconnect(wire::Reconnect { services, resync }))
}

pub(super) fn resync(services: &[ServiceKey]) -> wire::ToWorker {
    let services = services.iter().map(service_ref).collect();
    frame(Frame::Resync(wire::Resync { services }))
}

pub(super) fn desired(uid: Uid, desired: Desired) -> wire::ToWorker {
    let Desired {
        contexts,
        generations,
    } = desired;
    let contexts = contexts.into_iter().map(|(name, spec)| {
        let namespaces = spec.namespaces.into_iter().map(|(namespace, spec)| {
            let (context, namespace) = (name.clone(), namespace);
            let key = NamespaceKey {
                uid,
                context,
                namespace,
            };
            desired_namespace(&key, spec, generations.get(&key).copied())
        });
        wire::DesiredContext {
            kubeconfig: spec.kubeconfig,
            namespaces: namespaces.collect(),
            name: name.into(),
        }
    });
    let contexts = contexts.collect();
    frame(Frame::Desired(wire::Desired { contexts }))
}

fn desired_namespace(
    key: &NamespaceKey,
    spec: NamespaceSpec,
    generation: Option<u64>,
) -> wire::DesiredNamespace {
    let services = spec.services.into_iter();
    let services = services.map(|(name, spec)| wire::DesiredService {
        name: name.into(),
        balance: common::Balance::from(spec.options.balance).into(),
    });
    let capture = spec.capture.into_iter();
    let balance = spec.all.as_ref().map(|all| all.options.balance);
    wire::DesiredNamespace {
        name: key.namespace.to_string(),
        selection: spec.all.map(|all| all.selection.into()),
        balance: common::Balance::from(balance.unwrap_or_default()).into(),
        services: services.collect(),
        generation: generation.unwrap_or_default(),
        capture: capture.map(|(name, on)| (name.into(), on)).collect(),
    }
}

fn service_ref(key: &ServiceKey) -> wire::ServiceRef {
    wire::ServiceRef {
        context: key.context.to_string(),
        namespace: key.namespace.to_string(),
        service: key.service.to_string(),
    }
}

fn frame(frame: Frame) -> wire::ToWorker {
    wire::ToWorker { frame: Some(frame) }
}
