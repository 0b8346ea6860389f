//! Forwards: single listening ports.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::non_empty;
use super::services::Summary;
use crate::core::names::HostName;
use crate::core::state::{ForwardState, ForwardView, ServiceView};
use crate::rest::time::Time;
use crate::telemetry::meters::Reading;

/// How a forward is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ForwardStatus {
    /// Listens, and a pod is ready.
    Active,
    /// Being set up.
    Connecting,
    /// Listens; no pod is ready.
    Pending,
    /// Does not work.
    Error,
    /// Being removed.
    Stopping,
}

/// One listening port.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Forward {
    /// `service.namespace.context.pod.localPort`; for the own address of a headless service's pod
    /// `pod.service.namespace.context.pod.localPort`
    #[schema(example = "api.shop.kind.api-6f.80")]
    key: String,
    /// `service.namespace.context`
    #[schema(example = "api.shop.kind")]
    service_key: String,
    /// The service.
    #[schema(example = "api")]
    service_name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Its context.
    #[schema(example = "kind")]
    context: String,
    /// The service has no cluster address.
    #[schema(example = false)]
    headless: bool,
    /// The pod that serves; empty while none is known.
    #[schema(example = "api-6f")]
    pod_name: String,
    /// Its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api")]
    container_name: Option<String>,
    /// The address it listens on.
    #[serde(rename = "localIP")]
    #[schema(example = "127.1.27.1")]
    local_ip: String,
    /// The port it listens on.
    #[schema(example = "80")]
    local_port: String,
    /// The pod's port; 0 while unknown.
    #[schema(example = "8080")]
    pod_port: String,
    /// Names that lead to it.
    #[schema(example = json!(["api", "api.shop"]))]
    hostnames: Vec<String>,
    /// How it is.
    status: ForwardStatus,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "connection refused")]
    error: Option<String>,
    /// Since when it listens.
    started_at: Time,
    /// When a byte last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active: Option<Time>,
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
    /// Bytes per second from the pod, over ten seconds.
    #[schema(example = 9.0)]
    avg_rate_in: f64,
    /// Bytes per second to the pod, over ten seconds.
    #[schema(example = 1.0)]
    avg_rate_out: f64,
    /// Connections that are open now.
    #[schema(example = 1)]
    connections: u64,
    /// Connections so far.
    #[schema(example = 12)]
    total_connections: u64,
    /// TCP: the only protocol that a cluster forwards.
    #[schema(example = "TCP")]
    protocol: &'static str,
}

/// Forwards and their sums.
#[derive(Serialize, ToSchema)]
pub(crate) struct ForwardList {
    /// The forwards, by key.
    pub(crate) forwards: Vec<Forward>,
    /// The sums over all that match, not only over this page.
    pub(crate) summary: Summary,
}

// === impl ForwardStatus ===

impl From<&ForwardState> for ForwardStatus {
    fn from(state: &ForwardState) -> Self {
        match state {
            ForwardState::Pending => Self::Pending,
            ForwardState::Connecting => Self::Connecting,
            ForwardState::Active => Self::Active,
            ForwardState::Error { .. } => Self::Error,
            ForwardState::Stopping => Self::Stopping,
        }
    }
}

impl ForwardStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Connecting => "connecting",
            Self::Pending => "pending",
            Self::Error => "error",
            Self::Stopping => "stopping",
        }
    }
}

impl FromStr for ForwardStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "active" => Ok(Self::Active),
            "connecting" => Ok(Self::Connecting),
            "pending" => Ok(Self::Pending),
            "error" => Ok(Self::Error),
            "stopping" => Ok(Self::Stopping),
            _ => Err(format!(
                "{text:?} is none of active, connecting, pending, error, stopping"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for ForwardStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

// === impl Forward ===

impl Forward {
    pub(crate) fn new(service: &ServiceView, forward: &ForwardView, meters: &Reading<'_>) -> Self {
        let key = &service.key;
        let rates = meters.forward_rates(key, forward);
        Self {
            key: forward.key.clone(),
            service_key: key.to_string(),
            service_name: key.service.to_string(),
            namespace: key.namespace.to_string(),
            context: key.context.to_string(),
            headless: service.headless,
            pod_name: forward.pod.clone(),
            container_name: non_empty(&forward.container),
            local_ip: forward.address.to_string(),
            local_port: forward.local_port.to_string(),
            pod_port: forward.pod_port.to_string(),
            hostnames: HostName::texts(&forward.hostnames),
            status: (&forward.state).into(),
            error: error_of(forward).map(|(message, _)| message.to_owned()),
            started_at: forward.since.into(),
            last_active: forward.traffic.last_active.map(Time::from),
            bytes_in: forward.traffic.bytes_in,
            bytes_out: forward.traffic.bytes_out,
            rate_in: rates.rate_in,
            rate_out: rates.rate_out,
            avg_rate_in: rates.avg_rate_in,
            avg_rate_out: rates.avg_rate_out,
            connections: forward.traffic.active,
            total_connections: forward.traffic.opened,
            protocol: "TCP",
        }
    }
}

/// What is wrong with a forward, and what to do about it.
pub(crate) fn error_of(forward: &ForwardView) -> Option<(&str, &str)> {
    match &forward.state {
        ForwardState::Error { message, hint, .. } => Some((message, hint)),
        ForwardState::Pending
        | ForwardState::Connecting
        | ForwardState::Active
        | ForwardState::Stopping => None,
    }
}
