//! Counters and rates.

use kubefwd_model as model;
use kubefwd_model::Time;
use serde::Serialize;
use utoipa::ToSchema;

use super::services::Summary;

use crate::telemetry::history::Bucket;
use crate::telemetry::meters::Reading;

/// Totals over everything that the caller forwards.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricsSummary {
    /// Services.
    #[schema(example = 15)]
    total_services: usize,
    /// Services that are active or partially active.
    #[schema(example = 15)]
    active_services: usize,
    /// Forwards.
    #[schema(example = 23)]
    total_forwards: usize,
    /// Forwards that are active.
    #[schema(example = 23)]
    active_forwards: usize,
    /// Forwards in error, and services in error that have none.
    #[schema(example = 0)]
    error_count: usize,
    /// Bytes from pods.
    #[schema(example = 1048576)]
    total_bytes_in: u64,
    /// Bytes to pods.
    #[schema(example = 524288)]
    total_bytes_out: u64,
    /// Bytes per second from pods, now.
    #[schema(example = 1024.0)]
    total_rate_in: f64,
    /// Bytes per second to pods, now.
    #[schema(example = 512.0)]
    total_rate_out: f64,
    /// How long the daemon has been running.
    #[schema(example = "2h15m30s")]
    uptime: String,
    /// When this was measured.
    last_updated: Time,
}

/// The metrics of a service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceMetrics {
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
    /// Bytes from pods, including those that are gone.
    #[schema(example = 2048)]
    total_bytes_in: u64,
    /// Bytes to pods, including those that are gone.
    #[schema(example = 512)]
    total_bytes_out: u64,
    /// Bytes per second from pods, now.
    #[schema(example = 10.5)]
    rate_in: f64,
    /// Bytes per second to pods, now.
    #[schema(example = 1.5)]
    rate_out: f64,
    /// Per forward.
    port_forwards: Vec<PortMetrics>,
    /// The last minute, second by second; only when a single service is requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Sample>>,
}

/// The metrics of a forward.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortMetrics {
    /// The serving pod.
    #[schema(example = "api-6f")]
    pod_name: String,
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
    /// When it started listening.
    connected_at: Time,
    /// When bytes last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity_at: Option<Time>,
}

/// Traffic in one time step.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// The start of the step.
    timestamp: Time,
    /// Bytes from pods.
    #[schema(example = 2048)]
    bytes_in: u64,
    /// Bytes to pods.
    #[schema(example = 512)]
    bytes_out: u64,
    /// Bytes per second from pods, over the step.
    #[schema(example = 34.1)]
    rate_in: f64,
    /// Bytes per second to pods, over the step.
    #[schema(example = 8.5)]
    rate_out: f64,
}

/// A service's traffic over time.
#[derive(Serialize, ToSchema)]
pub(crate) struct MetricsHistory {
    /// The service.
    #[schema(example = "api.shop.kind")]
    pub(crate) key: String,
    /// Every step of the requested time, oldest first.
    pub(crate) history: Vec<Sample>,
}

// === impl MetricsSummary ===

impl MetricsSummary {
    pub(crate) fn new(sums: &Summary, uptime: String) -> Self {
        Self {
            total_services: sums.total_services,
            active_services: sums.active_services,
            total_forwards: sums.total_forwards,
            active_forwards: sums.active_forwards,
            error_count: sums.error_count,
            total_bytes_in: sums.total_bytes_in,
            total_bytes_out: sums.total_bytes_out,
            total_rate_in: sums.rate_in,
            total_rate_out: sums.rate_out,
            uptime,
            last_updated: Time::now(),
        }
    }
}

// === impl ServiceMetrics ===

impl ServiceMetrics {
    pub(crate) fn new(service: &model::Service, meters: &Reading<'_>) -> Self {
        let (totals, rates) = meters.service(service);
        Self {
            key: service.key.to_string(),
            service_name: service.key.service.to_string(),
            namespace: service.key.namespace.to_string(),
            context: service.key.context.to_string(),
            total_bytes_in: totals.bytes_in,
            total_bytes_out: totals.bytes_out,
            rate_in: rates.rate_in,
            rate_out: rates.rate_out,
            port_forwards: service
                .forwards
                .iter()
                .map(|forward| PortMetrics::new(service, forward, meters))
                .collect(),
            history: None,
        }
    }

    /// The same with the last minute.
    pub(crate) fn with_history(service: &model::Service, meters: &Reading<'_>) -> Self {
        let history = meters.history(&service.key, 1, 60);
        let history = history
            .into_iter()
            .map(|bucket| Sample::new(bucket, 1))
            .collect();
        Self {
            history: Some(history),
            ..Self::new(service, meters)
        }
    }
}

// === impl PortMetrics ===

impl PortMetrics {
    fn new(service: &model::Service, forward: &model::Forward, meters: &Reading<'_>) -> Self {
        let rates = meters.forward_rates(&service.key, forward);
        Self {
            pod_name: forward.pod.clone(),
            local_ip: forward.address.to_string(),
            local_port: forward.local_port.to_string(),
            pod_port: forward.pod_port.to_string(),
            bytes_in: forward.traffic.bytes_in,
            bytes_out: forward.traffic.bytes_out,
            rate_in: rates.now.rate_in,
            rate_out: rates.now.rate_out,
            avg_rate_in: rates.avg_rate_in,
            avg_rate_out: rates.avg_rate_out,
            connected_at: forward.started_at,
            last_activity_at: forward.traffic.last_active,
        }
    }
}

// === impl Sample ===

impl Sample {
    /// A step of `seconds`.
    pub(crate) fn new(bucket: Bucket, seconds: u64) -> Self {
        let start = std::time::UNIX_EPOCH + std::time::Duration::from_secs(bucket.start);
        let seconds = seconds.max(1) as f64;
        Self {
            timestamp: start.into(),
            bytes_in: bucket.bytes_in,
            bytes_out: bucket.bytes_out,
            rate_in: bucket.bytes_in as f64 / seconds,
            rate_out: bucket.bytes_out as f64 / seconds,
        }
    }
}
