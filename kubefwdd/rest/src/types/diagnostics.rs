//! What is wrong, since when, and how to fix it.

use std::sync::Arc;

use kubefwd_model as model;
use kubefwd_model::entry::{Key, Rates, Route, ServiceId};
use kubefwd_model::{Component, ForwardStatus, Health, HostName, ServiceStatus, Time, duration};
use kubefwd_telemetry::Telemetry;
use kubefwd_telemetry::errors::ErrorRecord;
use kubefwd_telemetry::meters::Reading;
use kubefwd_telemetry::reconnections::Reconnection;
use serde::Serialize;
use utoipa::ToSchema;

use super::errors::ErrorDetail;
use super::non_empty;
use crate::compat::Connection;

/// How many errors of a service are shown.
const HISTORY: usize = 20;
/// The longest pause between two attempts of a worker to open a tunnel.
const MAX_BACKOFF: &str = "30s";

/// Overview.
#[derive(Serialize, ToSchema)]
pub(crate) struct Diagnostics {
    /// The daemon's health.
    pub(crate) status: Health,
    /// When this was measured.
    pub(crate) timestamp: Time,
    /// How long the daemon has been running.
    pub(crate) uptime: String,
    /// Its version.
    pub(crate) version: &'static str,
    /// Services by status.
    pub(crate) services: ServiceCounts,
    /// Addresses, ports and names.
    pub(crate) network: Network,
    /// Current errors.
    pub(crate) errors: Vec<ErrorDetail>,
    /// What to do.
    pub(crate) recommendations: Vec<String>,
}

/// Services by status.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct ServiceCounts {
    /// All.
    pub(crate) total: usize,
    /// Active.
    pub(crate) active: usize,
    /// In error.
    pub(crate) error: usize,
    /// Cannot be forwarded.
    pub(crate) unsupported: usize,
    /// Partially active.
    pub(crate) partial: usize,
    /// Being set up, or no pod is ready.
    pub(crate) pending: usize,
}

/// Addresses, ports and names of this machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Network {
    /// The interface that the addresses belong to.
    pub(crate) loopback_interface: &'static str,
    /// Addresses in use by the caller's services.
    pub(crate) ips_allocated: usize,
    /// Where addresses come from.
    pub(crate) ip_range: String,
    /// Listening ports of the caller's services.
    pub(crate) ports_in_use: usize,
    /// Names of the caller's services.
    pub(crate) hostnames: Vec<HostName>,
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
    pub(crate) path: String,
    /// Addresses in our block.
    pub(crate) entries: usize,
    /// When we last wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_written: Option<Time>,
    /// How often another program changed our block and it was put back.
    pub(crate) tampered: u64,
    /// Why it cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Names that the caller's services do not get because other lines of the file already have them.
    pub(crate) foreign_conflicts: Vec<String>,
}

/// A port that is not available.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortConflict {
    /// The forward that needs it.
    forward_key: String,
    /// Address and port.
    address: String,
    /// Why, and who has it.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// A service in detail.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceDiag<'a> {
    /// `service.namespace.context`
    key: Key<'a>,
    #[serde(flatten)]
    id: ServiceId<'a>,
    #[serde(flatten)]
    service: &'a model::Service,
    /// Forwards that are active.
    active_count: usize,
    /// Forwards in error.
    error_count: usize,
    /// How its tunnels are reopened.
    reconnect_state: ReconnectState,
    /// What is known of its pods.
    sync_state: SyncState,
    /// Its forwards.
    forwards: Vec<ForwardDiag<'a>>,
    /// Its errors, newest first.
    error_history: Vec<ErrorDetail>,
}

/// How tunnels are reopened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReconnectState {
    /// Always true: a lost tunnel is reopened automatically.
    auto_reconnect_enabled: bool,
    /// How long the last attempts took together, while the service is in error; else `0s`.
    current_backoff: String,
    /// The longest pause between two attempts.
    max_backoff: &'static str,
    /// How many attempts the last time took.
    attempt_count: u32,
    /// When it was last attempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt: Option<Time>,
    /// Whether a forward is in error now.
    is_reconnecting: bool,
}

/// What is known of pods.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SyncState {
    /// When the cluster first listed the service.
    last_synced_at: Time,
    /// Its pods.
    pod_count: u32,
    /// Its pods that are ready.
    ready_pods: u32,
}

/// A forward in detail.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForwardDiag<'a> {
    /// `service.namespace.context`
    service_key: Key<'a>,
    #[serde(flatten)]
    route: Route<'a>,
    #[serde(flatten)]
    forward: &'a model::Forward,
    /// When it started listening.
    connected_at: Time,
    /// For how long it has been listening.
    uptime: String,
    /// How long ago bytes last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_duration: Option<String>,
    /// Its connections.
    connection: Connection<'a>,
    #[serde(flatten)]
    rates: Rates,
}

// === impl ServiceCounts ===

impl ServiceCounts {
    /// Counts services.
    pub(crate) fn of<'a>(services: impl Iterator<Item = &'a Arc<model::Service>>) -> Self {
        let mut counts = Self::default();
        services.for_each(|service| counts.add(service));
        counts
    }

    fn add(&mut self, service: &model::Service) {
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

// === impl ServiceDiag ===

impl<'a> ServiceDiag<'a> {
    pub(crate) fn new(
        service: &'a model::Service,
        meters: &Reading<'_>,
        telemetry: &Telemetry,
    ) -> Self {
        let key = &service.key;
        let errors = service.count(ForwardStatus::Error);
        let last = telemetry.reconnections.of(key, 1);
        let forwards = service.forwards.iter();
        let history = telemetry.errors.of(key, HISTORY);
        Self {
            key: key.into(),
            id: key.into(),
            service,
            active_count: service.count(ForwardStatus::Active),
            error_count: errors,
            reconnect_state: ReconnectState::new(errors > 0, last.first()),
            sync_state: SyncState {
                last_synced_at: service.since,
                pod_count: service.total_pods,
                ready_pods: service.ready_pods,
            },
            forwards: forwards
                .map(|forward| ForwardDiag::new(service, forward, meters))
                .collect(),
            error_history: history.into_iter().map(ErrorDetail::from).collect(),
        }
    }
}

// === impl ReconnectState ===

impl ReconnectState {
    fn new(is_reconnecting: bool, last: Option<&Reconnection>) -> Self {
        let current = last.filter(|_| is_reconnecting).map(|last| last.duration);
        Self {
            auto_reconnect_enabled: true,
            current_backoff: current.map_or_else(|| "0s".to_owned(), duration::short),
            max_backoff: MAX_BACKOFF,
            attempt_count: last.map_or(0, |last| last.attempts),
            last_attempt: last.map(|last| last.time.into()),
            is_reconnecting,
        }
    }
}

// === impl ForwardDiag ===

impl<'a> ForwardDiag<'a> {
    pub(crate) fn new(
        service: &'a model::Service,
        forward: &'a model::Forward,
        meters: &Reading<'_>,
    ) -> Self {
        let last_active = forward.traffic.last_active;
        Self {
            service_key: (&service.key).into(),
            route: forward.into(),
            forward,
            connected_at: forward.started_at,
            uptime: duration::since(forward.started_at.into()),
            idle_duration: last_active.map(|time| duration::since(time.into())),
            connection: forward.into(),
            rates: meters.forward_rates(&service.key, forward).now,
        }
    }
}
