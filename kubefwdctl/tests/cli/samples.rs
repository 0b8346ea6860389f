//! Objects as a daemon reports them.

use kubefwd_proto::common::v1::{Failure, Reason, Selection};
use kubefwd_proto::control::v1::watch_response::Update;
use kubefwd_proto::control::v1::*;
use prost_types::Timestamp;

/// Seconds after 2027-01-15 08:00:00 UTC.
pub(crate) fn time(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_800_000_000 + seconds,
        nanos: 0,
    })
}

pub(crate) fn namespace(name: &str, state: NamespaceState, services: u32) -> Namespace {
    Namespace {
        key: format!("{name}.real"),
        namespace: name.to_owned(),
        context: "real".to_owned(),
        uid: 1000,
        user: "alice".to_owned(),
        state: state.into(),
        services,
        services_active: services,
        added_at: time(0),
        ..Namespace::default()
    }
}

pub(crate) fn service(name: &str, last: u8, state: ServiceState) -> Service {
    let ip = format!("127.1.27.{last}");
    let active = state == ServiceState::Active;
    let forward_state = if active {
        ForwardState::Active
    } else {
        ForwardState::Pending
    };
    let forward = Forward {
        key: format!("{name}.demo.real.{name}-0.5432"),
        local_ip: ip.clone(),
        local_port: 5432,
        service_port: 5432,
        port_name: "sql".to_owned(),
        pod: format!("{name}-0"),
        container: "main".to_owned(),
        pod_port: 15432,
        state: forward_state.into(),
        bytes_in: 1536,
        bytes_out: 20,
        connections: 1,
        total_connections: 3,
        started_at: time(1),
        last_active: time(60),
        hostnames: vec![name.to_owned()],
        first_byte_us: 850,
        ..Forward::default()
    };
    Service {
        key: format!("{name}.demo.real"),
        service: name.to_owned(),
        namespace: "demo".to_owned(),
        context: "real".to_owned(),
        uid: 1000,
        user: "alice".to_owned(),
        state: state.into(),
        reason: if active { "" } else { "no pod is ready" }.to_owned(),
        local_ip: ip,
        hostnames: vec![name.to_owned(), format!("{name}.demo")],
        forwards: vec![forward],
        ready_pods: u32::from(active),
        ..Service::default()
    }
}

pub(crate) fn unsupported(name: &str) -> Service {
    Service {
        reason: "53/UDP: only TCP can be forwarded".to_owned(),
        forwards: Vec::new(),
        local_ip: String::new(),
        hostnames: Vec::new(),
        ..service(name, 9, ServiceState::Unsupported)
    }
}

/// A namespace that cannot be watched.
pub(crate) fn forbidden(name: &str) -> Namespace {
    Namespace {
        failure: Some(Failure {
            reason: Reason::ForbiddenByCluster.into(),
            message: "permission denied: cannot list services in staging".to_owned(),
            hint: "kubectl auth can-i list services -n staging".to_owned(),
        }),
        selection: Some(Selection {
            label_selector: "app=x".to_owned(),
            exclude: vec!["test-*".to_owned()],
            ..Selection::default()
        }),
        errors: 1,
        services_active: 0,
        ..namespace(name, NamespaceState::Failed, 0)
    }
}

pub(crate) fn snapshot(namespaces: Vec<Namespace>, services: Vec<Service>) -> ListResponse {
    ListResponse {
        revision: 1,
        namespaces,
        services,
    }
}

pub(crate) fn changes(
    revision: u64,
    namespaces: Vec<Namespace>,
    services: Vec<Service>,
) -> WatchResponse {
    let changes = Changes {
        namespaces,
        services,
        ..Changes::default()
    };
    WatchResponse {
        revision,
        update: Some(Update::Changes(changes)),
    }
}

pub(crate) fn removals(revision: u64, namespaces: &[&str], services: &[&str]) -> WatchResponse {
    let refs = |keys: &[&str]| {
        let object = |key: &&str| ObjectRef {
            key: (*key).to_owned(),
            uid: 1000,
        };
        keys.iter().map(object).collect()
    };
    let changes = Changes {
        removed_namespaces: refs(namespaces),
        removed_services: refs(services),
        ..Changes::default()
    };
    WatchResponse {
        revision,
        update: Some(Update::Changes(changes)),
    }
}
