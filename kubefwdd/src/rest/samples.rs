//! Small objects for tests.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::core::names::{ContextName, HostName, Namespace, ServiceName};
use crate::core::policy::{Actor, User, Via};
use crate::core::state::{
    ForwardState, ForwardView, ListenerId, NamespaceKey, NamespaceState, NamespaceView,
    ServiceState, ServiceView, Traffic, View,
};

/// A member of the group, or root, on the unix socket.
pub(crate) fn actor(uid: u32) -> Actor {
    let user = User {
        uid,
        gid: uid,
        name: None,
        member: uid != 0,
    };
    Actor {
        user: Some(user),
        via: Via::UnixSocket,
    }
}

/// The key of a namespace.
pub(crate) fn namespace_key(uid: u32, namespace: &str, context: &str) -> NamespaceKey {
    NamespaceKey {
        uid,
        context: ContextName::parse(context).unwrap(),
        namespace: Namespace::parse(namespace).unwrap(),
    }
}

/// An active service without forwards.
pub(crate) fn service(uid: u32, name: &str, namespace: &str, context: &str) -> ServiceView {
    ServiceView {
        key: namespace_key(uid, namespace, context).service(ServiceName::parse(name).unwrap()),
        headless: false,
        state: ServiceState::Active,
        reason: String::new(),
        hint: String::new(),
        address: Some(Ipv4Addr::new(127, 1, 27, 1)),
        hostnames: [HostName::parse(name).unwrap()].into(),
        refused_names: Vec::new(),
        forwards: Vec::new(),
        ready_pods: 1,
        total_pods: 1,
        skipped_ports: Vec::new(),
        capture: true,
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

/// An active forward that nothing went through yet.
pub(crate) fn forward(key: &str, local_port: u16) -> ForwardView {
    ForwardView {
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
        hostnames: [HostName::parse("api").unwrap()].into(),
        state: ForwardState::Active,
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        traffic: Traffic::default(),
        transport: "spdy".to_owned(),
    }
}

/// Puts a service and its namespace into a view.
pub(crate) fn add(view: &mut View, service: ServiceView) {
    let key = service.key.namespace_key();
    let namespace = NamespaceView {
        key: key.clone(),
        state: NamespaceState::Watching,
        notes: Vec::new(),
        selection: None,
        added_at: service.since,
        attached: false,
        failed_since: None,
    };
    view.namespaces.insert(key, Arc::new(namespace));
    view.services.insert(service.key.clone(), Arc::new(service));
    view.revision += 1;
}
