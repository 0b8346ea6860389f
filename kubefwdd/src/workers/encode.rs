//! What the daemon tells a worker, in the form of the worker protocol.

use std::collections::BTreeMap;

use kubefwd_core::state::{Desired, NamespaceSpec};
use kubefwd_model::{NamespaceKey, ServiceKey, Uid};
use kubefwd_proto::common::v1 as common;
use kubefwd_proto::worker::v1::{self as wire, to_worker::Frame};

pub(super) fn environment(variables: BTreeMap<String, String>) -> Frame {
    let variables = variables.into_iter().collect();
    Frame::Environment(wire::Environment { variables })
}

pub(super) fn desired(uid: Uid, desired: Desired) -> wire::Desired {
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
    wire::Desired {
        contexts: contexts.collect(),
    }
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

pub(super) fn service_ref(key: &ServiceKey) -> wire::ServiceRef {
    wire::ServiceRef {
        context: key.context.to_string(),
        namespace: key.namespace.to_string(),
        service: key.service.to_string(),
    }
}
