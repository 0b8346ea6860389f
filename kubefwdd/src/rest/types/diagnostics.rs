//! What is wrong, since when, and what mends it.

use kubefwd_model as model;
use kubefwd_model::{ForwardStatus, Health, HostName, RefusedName, ServiceStatus, Time};
use serde::Serialize;
use utoipa::ToSchema;

use super::non_empty;

use crate::telemetry::Telemetry;
use crate::telemetry::errors::{Component, ErrorRecord, Holder};
use crate::telemetry::meters::Reading;
use crate::telemetry::reconnections::Reconnection;
use kubefwd_model::duration as time;

/// How many errors of a service are shown.
const HISTORY: usize = 20;
/// The longest pause between two attempts of a worker to open a tunnel.
const LONGEST_PAUSE: &str = "30s";

/// Overview.
#[derive(Serialize, ToSchema)]
pub(crate) struct Diagnostics {
    /// The daemon's health.
    pub(crate) status: Health,
    /// When this was measured.
    pub(crate) timestamp: Time,
    /// How long the daemon has been running.
    #[schema(example = "2h15m30s")]
    pub(crate) uptime: String,
    /// Its version.
    #[schema(example = "0.1.0")]
    pub(crate) version: &'static str,
    /// Services by status.
    pub(crate) services: ServiceCounts,
    /// Addresses, ports and names.
    pub(crate) network: Network,
    /// Current errors.
    pub(crate) errors: Vec<ErrorDetail>,
    /// What to do.
    #[schema(example = json!(["free the port, then restart kubefwdd"]))]
    pub(crate) recommendations: Vec<String>,
}

/// Services by status.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct ServiceCounts {
    /// All.
    #[schema(example = 3)]
    pub(crate) total: usize,
    /// Active.
    #[schema(example = 2)]
    pub(crate) active: usize,
    /// In error.
    #[schema(example = 0)]
    pub(crate) error: usize,
    /// Cannot be forwarded.
    #[schema(example = 0)]
    pub(crate) unsupported: usize,
    /// Partially active.
    #[schema(example = 1)]
    pub(crate) partial: usize,
    /// Being set up, or no pod is ready.
    #[schema(example = 0)]
    pub(crate) pending: usize,
}

/// Addresses, ports and names of this machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Network {
    /// The interface that the addresses belong to.
    #[schema(example = "lo")]
    pub(crate) loopback_interface: &'static str,
    /// Addresses in use by the caller's services.
    #[schema(example = 3)]
    pub(crate) ips_allocated: usize,
    /// Where addresses come from.
    #[schema(example = "127.0.0.0/8")]
    pub(crate) ip_range: String,
    /// Listening ports of the caller's services.
    #[schema(example = 4)]
    pub(crate) ports_in_use: usize,
    /// Names of the caller's services.
    #[schema(example = json!(["api", "api.shop"]))]
    pub(crate) hostnames: Vec<String>,
    /// The hosts file.
    pub(crate) hosts_file: HostsFile,
    /// Ports that are not available.
    pub(crate) port_conflicts: Vec<PortConflict>,
}

/// The hosts file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostsFile {
    /// Where it is.
    #[schema(example = "/etc/hosts")]
    pub(crate) path: String,
    /// Addresses in our block.
    #[schema(example = 3)]
    pub(crate) entries: usize,
    /// When we last wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_written: Option<Time>,
    /// How often another program changed our block and it was put back.
    #[schema(example = 0)]
    pub(crate) tampered: u64,
    /// Why it cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/etc/hosts: Read-only file system")]
    pub(crate) error: Option<String>,
    /// Names that the caller's services do not get because other lines of the file already have them.
    #[schema(example = json!(["db"]))]
    pub(crate) foreign_conflicts: Vec<String>,
}

/// A port that is not available.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortConflict {
    /// The forward that needs it.
    #[schema(example = "api.shop.kind.-.80")]
    forward_key: String,
    /// Address and port.
    #[schema(example = "127.1.27.1:80")]
    address: String,
    /// Why, and who has it.
    #[schema(example = "nginx (pid 812), which listens on 0.0.0.0:80")]
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "stop nginx, or use another local port with ports: [\"80:8080\"]")]
    hint: Option<String>,
}

/// A current error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorDetail {
    /// When it began.
    pub(crate) timestamp: Time,
    /// connection, kubernetes, credentials, hosts or network.
    #[schema(example = "connection")]
    pub(crate) component: &'static str,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind")]
    pub(crate) service_key: Option<String>,
    /// The namespace, if the error concerns a whole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "shop.kind")]
    pub(crate) namespace_key: Option<String>,
    /// The forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    pub(crate) forward_key: Option<String>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pub(crate) pod_name: Option<String>,
    /// What happened and why.
    #[schema(example = "the pod refused the connection to port 8080")]
    pub(crate) message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "see its pods with kubectl")]
    pub(crate) hint: Option<String>,
    /// Whether it resolves by itself once its cause is gone.
    #[schema(example = true)]
    pub(crate) recoverable: bool,
}

/// A service in detail.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceDiag {
    /// `service.namespace.context`
    #[schema(example = "api.shop.kind")]
    key: String,
    /// Its name.
    #[schema(example = "api")]
    service_name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Its context.
    #[schema(example = "kind")]
    context: String,
    /// Status.
    status: ServiceStatus,
    /// Why it is not (fully) active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "no pod is ready")]
    status_reason: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "see its pods with kubectl")]
    hint: Option<String>,
    /// Whether it is headless.
    #[schema(example = false)]
    headless: bool,
    /// Forwards that are active.
    #[schema(example = 1)]
    active_count: usize,
    /// Forwards in error.
    #[schema(example = 0)]
    error_count: usize,
    /// Ports that cannot be forwarded, and why.
    #[schema(example = json!(["53/UDP: Kubernetes forwards TCP only"]))]
    skipped_ports: Vec<String>,
    /// Names that it did not get, and why.
    refused_names: Vec<RefusedName>,
    /// How its tunnels are reopened.
    reconnect_state: ReconnectState,
    /// What is known of its pods.
    sync_state: SyncState,
    /// Its forwards.
    forwards: Vec<ForwardDiag>,
    /// Its errors, newest first.
    error_history: Vec<ErrorDetail>,
}

/// How tunnels are reopened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReconnectState {
    /// Always true: a lost tunnel is reopened automatically.
    #[schema(example = true)]
    auto_reconnect_enabled: bool,
    /// How long the last attempts took together, while the service is in error; else `0s`.
    #[schema(example = "0s")]
    current_backoff: String,
    /// The longest pause between two attempts.
    #[schema(example = "30s")]
    max_backoff: &'static str,
    /// How many attempts the last time took.
    #[schema(example = 0)]
    attempt_count: u32,
    /// When it was last attempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt: Option<Time>,
    /// Whether a forward is in error now.
    #[schema(example = false)]
    is_reconnecting: bool,
}

/// What is known of pods.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SyncState {
    /// When the cluster first listed the service.
    last_synced_at: Time,
    /// Its pods.
    #[schema(example = 2)]
    pod_count: u32,
    /// Its pods that are ready.
    #[schema(example = 2)]
    ready_pods: u32,
}

/// A forward in detail.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForwardDiag {
    /// As in the list of forwards.
    #[schema(example = "api.shop.kind.api-6f.80")]
    key: String,
    /// `service.namespace.context`
    #[schema(example = "api.shop.kind")]
    service_key: String,
    /// The serving pod.
    #[schema(example = "api-6f")]
    pod_name: String,
    /// Its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api")]
    container_name: Option<String>,
    /// Status.
    status: ForwardStatus,
    /// Why it is not working.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "connection refused")]
    error: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "see its pods with kubectl")]
    hint: Option<String>,
    /// Local address.
    #[serde(rename = "localIP")]
    #[schema(example = "127.1.27.1")]
    local_ip: String,
    /// Local port.
    #[schema(example = "80")]
    local_port: String,
    /// The pod's port.
    #[schema(example = "8080")]
    pod_port: String,
    /// Names that resolve to it.
    #[schema(example = json!(["api"]))]
    hostnames: Vec<String>,
    /// When it started listening.
    connected_at: Time,
    /// How long it has been listening.
    #[schema(example = "2h15m30s")]
    uptime: String,
    /// When bytes last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active: Option<Time>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "12s")]
    idle_duration: Option<String>,
    /// Its connection to the pod.
    connection: ConnectionDiag,
    /// Bytes from the pod.
    #[schema(example = 2048)]
    bytes_in: u64,
    /// Bytes to the pod.
    #[schema(example = 512)]
    bytes_out: u64,
    /// Bytes per second from the pod, now.
    #[schema(example = 10.5)]
    rate_in: f64,
    /// Bytes per second to the pod, now.
    #[schema(example = 1.5)]
    rate_out: f64,
}

/// The connection to a pod.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectionDiag {
    /// connected, connecting, pending, error or stopping.
    #[schema(example = "connected")]
    state: &'static str,
    /// spdy, websocket or websocket-v4; empty until a tunnel is needed.
    #[schema(example = "spdy")]
    protocol: String,
    /// Open connections.
    #[schema(example = 1)]
    open: u64,
    /// Connections that failed.
    #[schema(example = 0)]
    failed: u64,
    /// The mean time from accepting a connection to its first byte from the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "3.1ms")]
    first_byte: Option<String>,
    /// Bytes from the pod.
    #[schema(example = 2048)]
    bytes_in: u64,
    /// Bytes to the pod.
    #[schema(example = 512)]
    bytes_out: u64,
    /// When bytes last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity: Option<Time>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "12s")]
    idle_duration: Option<String>,
}

// === impl ServiceCounts ===

impl ServiceCounts {
    pub(crate) fn add(&mut self, service: &model::Service) {
        self.total += 1;
        *match service.status {
            ServiceStatus::Active => &mut self.active,
            ServiceStatus::Error => &mut self.error,
            ServiceStatus::Partial => &mut self.partial,
            ServiceStatus::Pending => &mut self.pending,
            ServiceStatus::Unsupported => &mut self.unsupported,
        } += 1;
    }
}

// === impl PortConflict ===

impl PortConflict {
    /// From an error of a forward, if it is one of this machine.
    pub(crate) fn new(error: &ErrorRecord) -> Option<Self> {
        let (address, port, key) = error.found.forward.as_ref()?;
        (error.found.component == Component::Network).then(|| Self {
            forward_key: key.clone(),
            address: format!("{address}:{port}"),
            message: error.found.message.clone(),
            hint: non_empty(&error.found.hint),
        })
    }
}

impl From<ErrorRecord> for ErrorDetail {
    fn from(record: ErrorRecord) -> Self {
        let (service_key, namespace_key) = match &record.holder {
            Holder::Service(key) => (Some(key.to_string()), None),
            Holder::Namespace(key) => (None, Some(key.to_string())),
            Holder::Worker(_) => (None, None),
        };
        Self {
            timestamp: record.time.into(),
            component: record.found.component.name(),
            service_key,
            namespace_key,
            forward_key: record.found.forward.map(|(_, _, key)| key),
            pod_name: record.found.pod,
            message: record.found.message,
            hint: non_empty(&record.found.hint),
            recoverable: record.found.recoverable,
        }
    }
}

// === impl ServiceDiag ===

impl ServiceDiag {
    pub(crate) fn new(
        service: &model::Service,
        meters: &Reading<'_>,
        telemetry: &Telemetry,
    ) -> Self {
        let key = &service.key;
        let errors = service.count(ForwardStatus::Error);
        let last = telemetry.reconnections.of(key, 1);
        Self {
            key: key.to_string(),
            service_name: key.service.to_string(),
            namespace: key.namespace.to_string(),
            context: key.context.to_string(),
            status: service.status,
            status_reason: non_empty(&service.status_reason),
            hint: non_empty(&service.hint),
            headless: service.headless,
            active_count: service.count(ForwardStatus::Active),
            error_count: errors,
            skipped_ports: service.skipped_ports.clone(),
            refused_names: service.refused_names.clone(),
            reconnect_state: ReconnectState::new(errors > 0, last.first()),
            sync_state: SyncState {
                last_synced_at: service.since,
                pod_count: service.total_pods,
                ready_pods: service.ready_pods,
            },
            forwards: service
                .forwards
                .iter()
                .map(|forward| ForwardDiag::new(service, forward, meters))
                .collect(),
            error_history: telemetry
                .errors
                .of(key, HISTORY)
                .into_iter()
                .map(ErrorDetail::from)
                .collect(),
        }
    }
}

// === impl ReconnectState ===

impl ReconnectState {
    fn new(is_reconnecting: bool, last: Option<&Reconnection>) -> Self {
        let current = last.filter(|_| is_reconnecting).map(|last| last.duration);
        Self {
            auto_reconnect_enabled: true,
            current_backoff: current.map_or_else(|| "0s".to_owned(), time::short),
            max_backoff: LONGEST_PAUSE,
            attempt_count: last.map_or(0, |last| last.attempts),
            last_attempt: last.map(|last| last.time.into()),
            is_reconnecting,
        }
    }
}

// === impl ForwardDiag ===

impl ForwardDiag {
    pub(crate) fn new(
        service: &model::Service,
        forward: &model::Forward,
        meters: &Reading<'_>,
    ) -> Self {
        let traffic = &forward.traffic;
        let rates = meters.forward_rates(&service.key, forward);
        let idle = |time: Time| time::since(time.into());
        let status = forward.status;
        let failure = forward.failure.as_deref();
        let mean = Some(traffic.first_byte.mean_us()).filter(|mean| *mean > 0);
        Self {
            key: forward.key.clone(),
            service_key: service.key.to_string(),
            pod_name: forward.pod.clone(),
            container_name: non_empty(&forward.container),
            status,
            error: failure.map(|failure| failure.message.clone()),
            hint: failure.and_then(|failure| non_empty(&failure.hint)),
            local_ip: forward.address.to_string(),
            local_port: forward.local_port.to_string(),
            pod_port: forward.pod_port.to_string(),
            hostnames: HostName::texts(&forward.hostnames),
            connected_at: forward.started_at,
            uptime: time::since(forward.started_at.into()),
            last_active: traffic.last_active,
            idle_duration: traffic.last_active.map(idle),
            connection: ConnectionDiag {
                state: match status {
                    ForwardStatus::Active => "connected",
                    ForwardStatus::Connecting => "connecting",
                    ForwardStatus::Pending => "pending",
                    ForwardStatus::Error => "error",
                    ForwardStatus::Stopping => "stopping",
                },
                protocol: forward.transport.clone(),
                open: traffic.active,
                failed: traffic.failed,
                first_byte: mean.map(|mean| time::short(std::time::Duration::from_micros(mean))),
                bytes_in: traffic.bytes_in,
                bytes_out: traffic.bytes_out,
                last_activity: traffic.last_active,
                idle_duration: traffic.last_active.map(idle),
            },
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            rate_in: rates.now.rate_in,
            rate_out: rates.now.rate_out,
        }
    }
}
