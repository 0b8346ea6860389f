//! What the daemon tells a worker, in the form of the worker protocol.

use std::collections::BTreeMap;

use kubefwd_core::policy::GROUP;
use kubefwd_core::state::Desired;
use kubefwd_model::{ListenerId, PodName, ServiceKey};
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

pub(super) fn desired(desired: Desired) -> wire::ToWorker {
    let contexts = desired
        .contexts
        .into_iter()
        .map(|context| wire::DesiredContext {
            name: context.name,
            kubeconfig: context.kubeconfig,
            namespaces: context
                .namespaces
                .into_iter()
                .map(|namespace| wire::DesiredNamespace {
                    name: namespace.name,
                    selection: namespace.selection.map(Into::into),
                    balance: common::Balance::from(namespace.balance).into(),
                    services: namespace
                        .services
                        .into_iter()
                        .map(|(name, how)| wire::DesiredService {
                            name,
                            balance: common::Balance::from(how).into(),
                        })
                        .collect(),
                    generation: namespace.generation,
                    capture: namespace.capture.into_iter().collect(),
                })
                .collect(),
        });
    frame(Frame::Desired(wire::Desired {
        contexts: contexts.collect(),
    }))
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
