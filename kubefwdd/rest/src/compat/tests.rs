//! Every field that kubefwd's published types hold as a number or a truth value is one here, and what they hold as text
//! is text.

use std::time::SystemTime;

use kubefwd_core::samples;
use kubefwd_model::entry::NamespaceEntry;
use kubefwd_model::{Counts, Event, EventKind, Service, Trigger};
use kubefwd_telemetry::events::Logged;
use kubefwd_telemetry::{Telemetry, errors, http, reconnections};
use serde_json::{Value, json};

use super::*;
use crate::types::analysis::{AnalysisStats, Status};
use crate::types::diagnostics::{ForwardDiag, ServiceCounts, ServiceDiag};
use crate::types::forwards::forward_entry;
use crate::types::history::{self, HistoryStats};
use crate::types::http::{HttpLog, HttpSummary};
use crate::types::metrics::{MetricsSummary, ServiceMetrics};
use crate::types::services::{Reconnected, Summary, Synced, service_entry};

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Integer,
    Float,
    Switch,
    Text,
}

use Kind::{Float, Integer, Switch, Text};

/// The fields of one of kubefwd's types.
type Fields = &'static [(Kind, &'static [&'static str])];

const SUMS: (Kind, &[&str]) = (
    Integer,
    &[
        "totalServices",
        "activeServices",
        "totalForwards",
        "activeForwards",
        "totalBytesIn",
        "totalBytesOut",
    ],
);
const RATES: (Kind, &[&str]) = (Float, &["rateIn", "rateOut"]);
const AVERAGES: (Kind, &[&str]) = (Float, &["avgRateIn", "avgRateOut"]);
const BYTES: (Kind, &[&str]) = (Integer, &["bytesIn", "bytesOut"]);
const COUNTS: (Kind, &[&str]) = (Integer, &["activeCount", "errorCount"]);
const TOTALS: (Kind, &[&str]) = (Integer, &["totalBytesIn", "totalBytesOut"]);
const PORTS: (Kind, &[&str]) = (Text, &["localPort", "podPort", "localIP", "podName"]);

fn service() -> Service {
    let mut service = samples::service(1.into(), "api", "shop", "kind");
    service
        .forwards
        .push(samples::forward("api.shop.kind.api-6f.80", 80));
    service
}

#[test]
fn services_and_forwards() {
    let (service, telemetry) = (service(), Telemetry::default());
    let forward = &service.forwards[0];
    let meters = telemetry.meters.read(SystemTime::now());
    let mut summary = Summary::default();
    summary.add(&service, &meters);
    let metrics = json!(ServiceMetrics::with_history(&service, &meters));
    let diagnosed = json!(ServiceDiag::new(&service, &meters, &telemetry));
    let documents: [(Value, Fields); 11] = [
        (json!(summary), &[SUMS, RATES, (Integer, &["errorCount"])]),
        (
            json!(service_entry(&service, &meters)),
            &[COUNTS, TOTALS, RATES, (Switch, &["headless"])],
        ),
        (
            json!(forward_entry(&service, forward, &meters)),
            &[BYTES, RATES, AVERAGES, PORTS, (Switch, &["headless"])],
        ),
        (
            json!(MetricsSummary::new(summary, String::new())),
            &[
                SUMS,
                (Integer, &["errorCount"]),
                (Float, &["totalRateIn", "totalRateOut"]),
                (Text, &["uptime"]),
            ],
        ),
        (
            metrics["portForwards"][0].clone(),
            &[BYTES, RATES, AVERAGES, PORTS],
        ),
        (
            metrics["history"][0].clone(),
            &[BYTES, (Text, &["timestamp"])],
        ),
        (metrics, &[TOTALS, RATES]),
        (
            diagnosed["reconnectState"].clone(),
            &[
                (Integer, &["attemptCount"]),
                (Switch, &["autoReconnectEnabled", "isReconnecting"]),
                (Text, &["currentBackoff", "maxBackoff"]),
            ],
        ),
        (
            diagnosed["syncState"].clone(),
            &[(Integer, &["podCount", "readyPods"])],
        ),
        (diagnosed, &[COUNTS, (Switch, &["headless"])]),
        (
            json!(ForwardDiag::new(&service, forward, &meters)),
            &[BYTES, RATES, PORTS, (Text, &["uptime"])],
        ),
    ];
    documents
        .iter()
        .for_each(|(document, fields)| check(document, fields));
    check(
        &json!(Connection::from(forward)),
        &[BYTES, (Text, &["state"])],
    );
}

#[test]
fn histories() {
    let service = service();
    let key = service.key.clone();
    let event = Event {
        time: Time::now(),
        kind: EventKind::ServiceAdded,
        uid: key.uid,
        namespace: key.namespace_key(),
        service: Some(key.clone()),
        forward: None,
        pod: None,
        message: String::new(),
    };
    let reconnection = reconnections::Reconnection {
        id: 1,
        time: SystemTime::now(),
        service: key.clone(),
        trigger: Trigger::Auto,
        attempts: 1,
        duration: Duration::from_secs(1),
        error: None,
    };
    let telemetry = Telemetry::default();
    let failed = failing(&service);
    telemetry.errors.settle(
        &errors::Holder::Service(key),
        errors::of_service(&failed),
        SystemTime::now(),
    );
    let error = telemetry.errors.newest(1, |_| true).remove(0);
    let (total_events, total_errors, total_reconnects) = (0, 0, 0);
    let (max_events, max_errors, max_reconnects) = (1, 1, 1);
    let documents: [(Value, Fields); 4] = [
        (
            json!(history::Event::from(&Logged { id: 1, event })),
            &[(Integer, &["id"]), (Text, &["type"])],
        ),
        (
            json!(history::ErrorRecord::from(error)),
            &[
                (Integer, &["id"]),
                (Switch, &["resolved"]),
                (Text, &["serviceKey", "errorType"]),
            ],
        ),
        (
            json!(history::Reconnection::from(reconnection)),
            &[
                (Integer, &["id", "attemptCount"]),
                (Switch, &["success"]),
                (Text, &["trigger"]),
            ],
        ),
        (
            json!(HistoryStats {
                total_events,
                total_errors,
                total_reconnects,
                max_events,
                max_errors,
                max_reconnects
            }),
            &[(
                Integer,
                &[
                    "totalEvents",
                    "totalErrors",
                    "totalReconnects",
                    "maxEvents",
                    "maxErrors",
                    "maxReconnects",
                ],
            )],
        ),
    ];
    documents
        .iter()
        .for_each(|(document, fields)| check(document, fields));
}

#[test]
fn sums_and_requests() {
    let (status, counts, uptime) = (Health::Healthy, Counts::default(), String::new());
    let namespace = samples::namespace(service().key.namespace_key());
    let documents: [(Value, Fields); 7] = [
        (
            json!(NamespaceEntry::new(&namespace, &counts)),
            &[COUNTS, (Integer, &["serviceCount"]), (Switch, &["running"])],
        ),
        (
            json!(ServiceCounts::of([].into_iter())),
            &[(Integer, &["total", "active", "error", "partial", "pending"])],
        ),
        (
            json!(AnalysisStats {
                counts,
                errored_services: 0,
                uptime: uptime.clone()
            }),
            &[SUMS, (Integer, &["erroredServices"]), (Text, &["uptime"])],
        ),
        (
            json!(Status {
                status,
                message: uptime.clone(),
                counts,
                uptime
            }),
            &[(Integer, &["errorCount"])],
        ),
        (
            json!(HttpSummary::from(http::HttpSummary::default())),
            &[(Integer, &["totalRequests"])],
        ),
        (
            json!(HttpLog::from(exchange())),
            &[
                (Integer, &["statusCode", "size"]),
                (Text, &["duration", "method", "path"]),
            ],
        ),
        (
            json!(Reconnected {
                triggered: 0,
                services: Vec::new()
            }),
            &[(Integer, &["triggered"])],
        ),
    ];
    documents
        .iter()
        .for_each(|(document, fields)| check(document, fields));
    check(
        &json!(Synced {
            service: String::new(),
            force: true
        }),
        &[(Switch, &["force"])],
    );
}

fn failing(service: &Service) -> Service {
    let mut failing = service.clone();
    let failure = kubefwd_model::Failure::new(kubefwd_model::Reason::ConnectionRefused, "refused");
    failing.forwards[0].status = ForwardStatus::Error;
    failing.forwards[0].failure = Some(Box::new(failure));
    failing
}

fn exchange() -> http::Exchange {
    http::Exchange {
        time: SystemTime::now(),
        method: "GET".to_owned(),
        path: "/".to_owned(),
        status: 200,
        duration: Duration::from_millis(3),
        size: 5,
        protocol: "HTTP/1.1".to_owned(),
        grpc_status: None,
    }
}

fn check(document: &Value, fields: Fields) {
    for (kind, names) in fields {
        for name in *names {
            let value = &document[*name];
            let fits = match kind {
                Integer => value.is_u64(),
                Float => value.is_f64(),
                Switch => value.is_boolean(),
                Text => value.is_string(),
            };
            assert!(fits, "{name} is not {kind:?}: {document}");
        }
    }
}
