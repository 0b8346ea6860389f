//! Quirks of the published REST page, kept for its clients: shapes that nobody would choose today.
//!
//! Ports as text and `localIP` are part of [`kubefwd_model::entry::Route`], which every interface writes.

use std::time::Duration;

use kubefwd_model::entry::Bytes;
use kubefwd_model::{Forward, ForwardStatus, Health, Time, duration};
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::Envelope;

/// Health in the envelope, and repeated beside it: the page shows it bare.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthResponse {
    #[serde(flatten)]
    wrapped: Envelope<HealthData>,
    #[serde(flatten)]
    bare: HealthData,
}

/// The health of the daemon.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct HealthData {
    /// Health.
    pub(crate) status: Health,
    /// When this was measured.
    pub(crate) timestamp: Time,
    /// The daemon's version.
    pub(crate) version: &'static str,
    /// How long it has been running.
    pub(crate) uptime: String,
}

/// The start of the daemon under both names.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartTimes {
    /// When the daemon started.
    pub(crate) started_at: Time,
    /// The same under kubefwd's name.
    pub(crate) start_time: Time,
}

/// Rates of everything together have names of their own.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TotalRates {
    /// Bytes per second from pods, now.
    pub(crate) total_rate_in: f64,
    /// Bytes per second to pods, now.
    pub(crate) total_rate_out: f64,
}

/// The times of a forward as its metrics name them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricTimes {
    /// When it started listening.
    pub(crate) connected_at: Time,
    /// When bytes last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_activity_at: Option<Time>,
}

/// A forward's connections, which kubefwd took for a single one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connection<'a> {
    /// connected, connecting, pending, error or stopping.
    state: &'static str,
    /// How its tunnel runs; empty while none was needed.
    protocol: &'a str,
    /// Open connections.
    open: u64,
    /// Connections that failed.
    failed: u64,
    /// Mean time from accepting a connection to the first byte from the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte: Option<String>,
    #[serde(flatten)]
    bytes: Bytes,
    /// When bytes last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity: Option<Time>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_duration: Option<String>,
}

/// The service of an error record: always there, and empty for an error of a whole namespace or worker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NoService {
    /// Empty if the error concerns a whole namespace or worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_key: Option<&'static str>,
}

// === impl HealthResponse ===

impl From<HealthData> for HealthResponse {
    fn from(bare: HealthData) -> Self {
        Self {
            wrapped: Envelope::new(bare.clone()),
            bare,
        }
    }
}

impl<'a> From<&'a Forward> for Connection<'a> {
    fn from(forward: &'a Forward) -> Self {
        let traffic = &forward.traffic;
        let mean = Some(traffic.first_byte.mean_us()).filter(|mean| *mean > 0);
        Self {
            state: match forward.status {
                ForwardStatus::Active => "connected",
                other => other.as_str(),
            },
            protocol: &forward.transport,
            open: traffic.active,
            failed: traffic.failed,
            first_byte: mean.map(|mean| duration::short(Duration::from_micros(mean))),
            bytes: Bytes {
                bytes_in: traffic.bytes_in,
                bytes_out: traffic.bytes_out,
            },
            last_activity: traffic.last_active,
            idle_duration: traffic.last_active.map(|time| duration::since(time.into())),
        }
    }
}

#[cfg(test)]
mod tests;
