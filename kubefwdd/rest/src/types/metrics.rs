//! Counters and rates.

use std::time::{Duration, UNIX_EPOCH};

use kubefwd_model as model;
use kubefwd_model::entry::{Bytes, ForwardRates, Key, Rates, Route, ServiceId, Totals};
use kubefwd_model::{Counts, Time, Traffic};
use kubefwd_telemetry::history::Bucket;
use kubefwd_telemetry::meters::Reading;
use serde::Serialize;
use utoipa::ToSchema;

use super::services::Summary;
use crate::compat::{MetricTimes, TotalRates};

/// Sums over everything that the caller forwards.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricsSummary {
    #[serde(flatten)]
    counts: Counts,
    #[serde(flatten)]
    rates: TotalRates,
    /// How long the daemon has been running.
    uptime: String,
    /// When this was measured.
    last_updated: Time,
}

/// The metrics of a service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceMetrics<'a> {
    /// `service.namespace.context`
    key: Key<'a>,
    #[serde(flatten)]
    id: ServiceId<'a>,
    #[serde(flatten)]
    totals: Totals,
    #[serde(flatten)]
    rates: Rates,
    /// Per forward.
    port_forwards: Vec<PortMetrics<'a>>,
    /// The last minute, second by second; only when a single service is requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Sample>>,
}

/// The metrics of a forward.
#[derive(Serialize, ToSchema)]
pub(crate) struct PortMetrics<'a> {
    #[serde(flatten)]
    route: Route<'a>,
    #[serde(flatten)]
    traffic: Traffic,
    #[serde(flatten)]
    rates: ForwardRates,
    #[serde(flatten)]
    times: MetricTimes,
}

/// Traffic in one time step.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sample {
    /// The start of the step.
    timestamp: Time,
    #[serde(flatten)]
    bytes: Bytes,
    #[serde(flatten)]
    rates: Rates,
}

/// A service's traffic over time.
#[derive(Serialize, ToSchema)]
pub(crate) struct MetricsHistory {
    /// The service.
    pub(crate) key: String,
    /// Every step of the requested time, oldest first.
    pub(crate) history: Vec<Sample>,
}

// === impl MetricsSummary ===

impl MetricsSummary {
    pub(crate) fn new(sums: Summary, uptime: String) -> Self {
        Self {
            counts: sums.counts,
            rates: TotalRates {
                total_rate_in: sums.rates.rate_in,
                total_rate_out: sums.rates.rate_out,
            },
            uptime,
            last_updated: Time::now(),
        }
    }
}

// === impl ServiceMetrics ===

impl<'a> ServiceMetrics<'a> {
    pub(crate) fn new(service: &'a model::Service, meters: &Reading<'_>) -> Self {
        let (totals, rates) = meters.service(service);
        let forwards = service.forwards.iter().map(|forward| PortMetrics {
            route: forward.into(),
            traffic: forward.traffic,
            rates: meters.forward_rates(&service.key, forward),
            times: MetricTimes {
                connected_at: forward.started_at,
                last_activity_at: forward.traffic.last_active,
            },
        });
        Self {
            key: (&service.key).into(),
            id: (&service.key).into(),
            totals,
            rates,
            port_forwards: forwards.collect(),
            history: None,
        }
    }

    /// The same with the last minute.
    pub(crate) fn with_history(service: &'a model::Service, meters: &Reading<'_>) -> Self {
        let history = meters.history(&service.key, 1, 60).into_iter();
        Self {
            history: Some(history.map(|bucket| Sample::new(bucket, 1)).collect()),
            ..Self::new(service, meters)
        }
    }
}

// === impl Sample ===

impl Sample {
    /// A step of `seconds`.
    pub(crate) fn new(bucket: Bucket, seconds: u64) -> Self {
        let rate = |bytes: u64| bytes as f64 / seconds.max(1) as f64;
        let (bytes_in, bytes_out) = (bucket.bytes_in, bucket.bytes_out);
        Self {
            timestamp: (UNIX_EPOCH + Duration::from_secs(bucket.start)).into(),
            bytes: Bytes {
                bytes_in,
                bytes_out,
            },
            rates: Rates {
                rate_in: rate(bytes_in),
                rate_out: rate(bytes_out),
            },
        }
    }
}
