//! The structured form of the daemon's answers: the field names of the REST API, in a fixed order.
//!
//! A field that has no value is absent; lists are never absent.

use jiff::Timestamp;
use kubefwd_proto::control::v1::{
    self as proto, ForwardState, NamespaceState, ServiceState, Severity,
};
use serde::Serialize;

use super::units::timestamp;

/// A namespace whose services are forwarded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Namespace {
    pub(crate) key: String,
    pub(crate) namespace: String,
    pub(crate) context: String,
    pub(crate) owner: String,
    pub(crate) status: &'static str,
    pub(crate) running: bool,
    pub(crate) service_count: u32,
    pub(crate) active_count: u32,
    pub(crate) error_count: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) label_selector: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field_selector: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) include: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) attached: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) hint: String,
    pub(crate) notes: Vec<String>,
}

impl From<&proto::Namespace> for Namespace {
    fn from(namespace: &proto::Namespace) -> Self {
        let selection = namespace.selection.clone().unwrap_or_default();
        let failure = namespace.failure.clone().unwrap_or_default();
        Self {
            key: namespace.key.clone(),
            namespace: namespace.namespace.clone(),
            context: namespace.context.clone(),
            owner: owner(&namespace.user, namespace.uid),
            status: namespace_status(namespace.state()),
            running: namespace.state() == NamespaceState::Watching,
            service_count: namespace.services,
            active_count: namespace.services_active,
            error_count: namespace.errors,
            label_selector: selection.label_selector,
            field_selector: selection.field_selector,
            include: selection.include,
            exclude: selection.exclude,
            started_at: timestamp(namespace.added_at.as_ref()),
            attached: namespace.attached,
            error: failure.message,
            hint: failure.hint,
            notes: namespace.notes.clone(),
        }
    }
}

/// A service, including those that cannot be forwarded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    pub(crate) key: String,
    pub(crate) service_name: String,
    pub(crate) namespace: String,
    pub(crate) context: String,
    pub(crate) owner: String,
    pub(crate) headless: bool,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) status_reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) hint: String,
    pub(crate) active_count: usize,
    pub(crate) error_count: usize,
    pub(crate) total_bytes_in: u64,
    pub(crate) total_bytes_out: u64,
    #[serde(rename = "localIP", skip_serializing_if = "String::is_empty")]
    pub(crate) local_ip: String,
    pub(crate) hostnames: Vec<String>,
    pub(crate) refused_hostnames: Vec<RefusedName>,
    pub(crate) ready_pods: u32,
    pub(crate) skipped_ports: Vec<String>,
    pub(crate) forwards: Vec<Forward>,
}

/// A name that a service wanted and did not get.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RefusedName {
    pub(crate) hostname: String,
    pub(crate) reason: String,
}

impl From<&proto::Service> for Service {
    fn from(service: &proto::Service) -> Self {
        let forwards = forwards(service);
        let count = |status| forwards.iter().filter(|f| f.status == status).count();
        Self {
            key: service.key.clone(),
            service_name: service.service.clone(),
            namespace: service.namespace.clone(),
            context: service.context.clone(),
            owner: owner(&service.user, service.uid),
            headless: service.headless,
            status: service_status(service.state()),
            status_reason: service.reason.clone(),
            hint: service.hint.clone(),
            active_count: count("active"),
            error_count: count("error"),
            total_bytes_in: sum(forwards.iter().map(|forward| forward.bytes_in)),
            total_bytes_out: sum(forwards.iter().map(|forward| forward.bytes_out)),
            local_ip: service.local_ip.clone(),
            hostnames: service.hostnames.clone(),
            refused_hostnames: service
                .refused_names
                .iter()
                .map(|refused| RefusedName {
                    hostname: refused.name.clone(),
                    reason: refused.reason.clone(),
                })
                .collect(),
            ready_pods: service.ready_pods,
            skipped_ports: service.skipped_ports.clone(),
            forwards,
        }
    }
}

/// One listening port.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Forward {
    pub(crate) key: String,
    pub(crate) service_key: String,
    pub(crate) service_name: String,
    pub(crate) namespace: String,
    pub(crate) context: String,
    #[serde(skip)]
    pub(crate) owner: String,
    pub(crate) headless: bool,
    /// Empty when no pod is known.
    pub(crate) pod_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) container_name: String,
    #[serde(rename = "localIP")]
    pub(crate) local_ip: String,
    /// Text, as in REST.
    pub(crate) local_port: String,
    pub(crate) service_port: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) port_name: String,
    pub(crate) pod_port: String,
    /// The address is that of one pod of a headless service.
    pub(crate) pod_address: bool,
    pub(crate) hostnames: Vec<String>,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_active: Option<Timestamp>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) connections: u64,
    pub(crate) total_connections: u64,
    pub(crate) failed_connections: u64,
    /// 0 when it was never measured.
    pub(crate) first_byte_micros: u64,
    pub(crate) protocol: &'static str,
}

/// The forwards of a service.
pub(crate) fn forwards(service: &proto::Service) -> Vec<Forward> {
    let forward = |forward: &proto::Forward| Forward {
        key: forward.key.clone(),
        service_key: service.key.clone(),
        service_name: service.service.clone(),
        namespace: service.namespace.clone(),
        context: service.context.clone(),
        owner: owner(&service.user, service.uid),
        headless: service.headless,
        pod_name: forward.pod.clone(),
        container_name: forward.container.clone(),
        local_ip: forward.local_ip.clone(),
        local_port: forward.local_port.to_string(),
        service_port: forward.service_port.to_string(),
        port_name: forward.port_name.clone(),
        pod_port: forward.pod_port.to_string(),
        pod_address: forward.pod_address,
        hostnames: forward.hostnames.clone(),
        status: forward_status(forward.state()),
        error: forward.error.clone(),
        started_at: timestamp(forward.started_at.as_ref()),
        last_active: timestamp(forward.last_active.as_ref()),
        bytes_in: forward.bytes_in,
        bytes_out: forward.bytes_out,
        connections: forward.connections,
        total_connections: forward.total_connections,
        failed_connections: forward.failed_connections,
        first_byte_micros: forward.first_byte_us,
        protocol: "TCP",
    };
    let mut forwards: Vec<&proto::Forward> = service.forwards.iter().collect();
    // The service's own ports first, ascending; then those of single pods.
    forwards.sort_by_key(|forward| (forward.pod_address, forward.local_port, &forward.key));
    forwards.into_iter().map(forward).collect()
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) id: u64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) namespace_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) service_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) forward_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) pod_name: String,
    pub(crate) message: String,
}

impl From<proto::Event> for Event {
    fn from(event: proto::Event) -> Self {
        Self {
            id: event.id,
            timestamp: timestamp(event.time.as_ref()),
            kind: event.r#type,
            namespace_key: event.namespace_key,
            service_key: event.service_key,
            forward_key: event.forward_key,
            pod_name: event.pod,
            message: event.message,
        }
    }
}

/// A context of the caller's kubeconfig.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    /// It is the current one.
    pub(crate) active: bool,
}

/// A name in the hosts file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct HostName {
    pub(crate) ip: String,
    pub(crate) hostname: String,
    /// Key of the service; absent for the daemon's own names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) service: String,
    #[serde(skip)]
    pub(crate) uid: u32,
}

/// An address reserved for a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Reservation {
    pub(crate) key: String,
    #[serde(rename = "localIP")]
    pub(crate) address: String,
    pub(crate) owner: String,
    /// It comes from the daemon's configuration file.
    pub(crate) configured: bool,
}

impl From<proto::Reservation> for Reservation {
    fn from(reservation: proto::Reservation) -> Self {
        Self {
            owner: if reservation.configured && reservation.user.is_empty() {
                String::new()
            } else {
                owner(&reservation.user, reservation.uid)
            },
            key: reservation.key,
            address: reservation.address,
            configured: reservation.configured,
        }
    }
}

/// One line of `doctor`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: &'static str,
    pub(crate) subject: String,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
}

impl From<proto::Finding> for Finding {
    fn from(finding: proto::Finding) -> Self {
        Self {
            severity: severity(finding.severity()),
            subject: finding.subject,
            message: finding.message,
            hint: finding.hint,
            since: timestamp(finding.since.as_ref()),
        }
    }
}

/// `ok`, `note`, `warning` or `error`.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Note | Severity::Unspecified => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// The user's name, or the uid if the user database does not know it.
pub(crate) fn owner(user: &str, uid: u32) -> String {
    if user.is_empty() {
        uid.to_string()
    } else {
        user.to_owned()
    }
}

fn namespace_status(state: NamespaceState) -> &'static str {
    match state {
        NamespaceState::Connecting => "connecting",
        NamespaceState::Watching => "watching",
        NamespaceState::Failed => "failed",
        NamespaceState::Unspecified => "unknown",
    }
}

/// The state of a service as REST names it.
pub(crate) fn service_status(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Pending => "pending",
        ServiceState::Active => "active",
        ServiceState::Partial => "partial",
        ServiceState::Error => "error",
        ServiceState::Unsupported => "unsupported",
        ServiceState::Unspecified => "unknown",
    }
}

fn forward_status(state: ForwardState) -> &'static str {
    match state {
        ForwardState::Pending => "pending",
        ForwardState::Connecting => "connecting",
        ForwardState::Active => "active",
        ForwardState::Error => "error",
        ForwardState::Stopping => "stopping",
        ForwardState::Unspecified => "unknown",
    }
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}
