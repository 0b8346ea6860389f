//! Small objects for tests.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::policy::{Actor, User, Via};
use crate::state::View;
use kubefwd_model as model;
use kubefwd_model::{
    ContextName, ForwardStatus, HostName, ListenerId, NamespaceKey, NamespaceName, NamespaceStatus,
    ServiceName, ServiceStatus, Traffic, Uid,
};

/// A member of the group, or root, on the unix socket.
pub fn actor(uid: Uid) -> Actor {
    let user = User {
        uid,
        gid: uid.get(),
        name: None,
        member: !uid.is_root(),
    };
    Actor {
        user: Some(user),
        via: Via::UnixSocket,
    }
}

/// The key of a namespace.
pub fn namespace_key(uid: Uid, namespace: &str, context: &str) -> NamespaceKey {
    NamespaceKey {
        uid,
        context: ContextName::parse(context).expect("a sample has a valid name"),
        namespace: NamespaceName::parse(namespace).expect("a sample has a valid name"),
    }
}

/// An active service without forwards.
pub fn service(uid: Uid, name: &str, namespace: &str, context: &str) -> model::Service {
    model::Service {
        key: namespace_key(uid, namespace, context)
            .service(ServiceName::parse(name).expect("a sample has a valid name")),
        headless: false,
        status: ServiceStatus::Active,
        status_reason: String::new(),
        hint: String::new(),
        address: Some(Ipv4Addr::new(127, 1, 27, 1)),
        hostnames: [HostName::parse(name).expect("a sample has a valid name")].into(),
        refused_names: Vec::new(),
        forwards: Vec::new(),
        ready_pods: 1,
        total_pods: 1,
        skipped_ports: Vec::new(),
        capture: true,
        since: (SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).into(),
    }
}

/// An active forward that nothing went through yet.
pub fn forward(key: &str, local_port: u16) -> model::Forward {
    model::Forward {
        key: key.to_owned(),
        listener: ListenerId(local_port.into()),
        address: Ipv4Addr::new(127, 1, 27, 1),
        local_port,
        service_port: local_port,
        port_name: String::new(),
        pod: "api-6f".to_owned(),
        container: "api".to_owned(),
        pod_port: 8080,
        pod_address: false,
        hostnames: [HostName::parse("api").expect("a sample has a valid name")].into(),
        status: ForwardStatus::Active,
        failure: None,
        started_at: (SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).into(),
        traffic: Traffic::default(),
        transport: "spdy".to_owned(),
    }
}

/// A namespace that is watched.
pub fn namespace(key: NamespaceKey) -> model::Namespace {
    model::Namespace {
        key,
        status: NamespaceStatus::Watching,
        failure: None,
        notes: Vec::new(),
        selection: None,
        started_at: (SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).into(),
        attached: false,
        failed_since: None,
    }
}

/// Puts a service and its namespace into a view.
pub fn add(view: &mut View, service: model::Service) {
    let key = service.key.namespace_key();
    view.namespaces
        .insert(key.clone(), Arc::new(namespace(key)));
    view.services.insert(service.key.clone(), Arc::new(service));
    view.revision += 1;
}
