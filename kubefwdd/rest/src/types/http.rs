//! Requests seen in forwarded bytes.

use std::collections::BTreeMap;

use kubefwd_model as model;
use kubefwd_model::entry::Route;
use kubefwd_model::{ServiceKey, Time, duration};
use kubefwd_telemetry::http as recorded;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Requests through one forward.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpTraffic<'a> {
    /// The forward.
    forward_key: &'a str,
    #[serde(flatten)]
    route: Route<'a>,
    /// The totals.
    summary: HttpSummary,
    /// The newest requests, newest first.
    pub(crate) logs: Vec<HttpLog>,
}

/// Requests through all forwards of a service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceHttp<'a> {
    /// The service.
    pub(crate) service_key: String,
    /// Whether its requests are captured.
    pub(crate) capture: bool,
    /// Totals over all of its forwards.
    pub(crate) summary: HttpSummary,
    /// Per forward.
    pub(crate) forwards: Vec<HttpTraffic<'a>>,
}

/// Whether to capture requests.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SetCapture {
    /// Capture requests in the service's connections.
    pub(crate) capture: bool,
}

/// A service and whether its requests are captured.
#[derive(Serialize, ToSchema)]
pub(crate) struct CaptureSet {
    /// Its key.
    pub(crate) service: String,
    /// Whether requests are captured; applies to new connections.
    pub(crate) capture: bool,
}

/// Request totals.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpSummary {
    /// All requests so far.
    total_requests: u64,
    /// Requests that were only counted, because there were too many.
    dropped_requests: u64,
    /// When the last one began.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_request: Option<Time>,
    /// Responses by status class.
    status_codes: BTreeMap<String, u64>,
    /// The most frequent paths of the requests that are kept.
    top_paths: Vec<TopPath>,
}

/// A path and how often it was requested.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopPath {
    /// The path.
    path: String,
    /// How often.
    count: u64,
}

/// One request.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpLog {
    /// When it began.
    timestamp: Time,
    /// Its method.
    method: String,
    /// Its path, without the query string unless the configuration keeps it.
    path: String,
    /// The status of the response; 0 if none arrived.
    status_code: u16,
    /// How long it took.
    duration: String,
    /// Size of the response body in bytes.
    size: u64,
    /// HTTP/1.0, HTTP/1.1, HTTP/2 or gRPC.
    protocol: String,
    /// The status of a gRPC call, if the response had it; 0 is success.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<i32>,
}

// === impl HttpTraffic ===

impl<'a> HttpTraffic<'a> {
    /// The `count` newest requests through forwards of one service, shown as one under `key`.
    pub(crate) fn new(
        key: &'a str,
        service: &ServiceKey,
        (first, others): (&'a model::Forward, &[&'a model::Forward]),
        log: &recorded::HttpLog,
        count: usize,
    ) -> Self {
        let forwards = [first].into_iter().chain(others.iter().copied());
        let newest = |forward| log.newest(service.uid, forward, count);
        let mut logs: Vec<recorded::Exchange> = forwards.clone().flat_map(newest).collect();
        logs.sort_by_key(|exchange| std::cmp::Reverse(exchange.time));
        logs.truncate(count);
        Self {
            forward_key: key,
            route: first.into(),
            summary: log.summary(service.uid, forwards).into(),
            logs: logs.into_iter().map(HttpLog::from).collect(),
        }
    }
}

impl From<recorded::HttpSummary> for HttpSummary {
    fn from(summary: recorded::HttpSummary) -> Self {
        let classes = (1..).zip(summary.classes).filter(|(_, count)| *count > 0);
        let paths = summary
            .top_paths
            .into_iter()
            .map(|(path, count)| TopPath { path, count });
        Self {
            total_requests: summary.total,
            dropped_requests: summary.dropped,
            last_request: summary.last.map(Time::from),
            status_codes: classes
                .map(|(class, count)| (format!("{class}xx"), count))
                .collect(),
            top_paths: paths.collect(),
        }
    }
}

impl From<recorded::Exchange> for HttpLog {
    fn from(exchange: recorded::Exchange) -> Self {
        Self {
            timestamp: exchange.time.into(),
            method: exchange.method,
            path: exchange.path,
            status_code: exchange.status,
            duration: duration::short(exchange.duration),
            size: exchange.size,
            protocol: exchange.protocol,
            grpc_status: exchange.grpc_status,
        }
    }
}
