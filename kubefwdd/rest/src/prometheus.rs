//! `/metrics`: OpenMetrics text, made from a snapshot whenever it is asked for.
//!
//! | name | unit | labels |
//! |---|---|---|
//! | `kubefwd_build_info` | | `version` |
//! | `kubefwd_uptime_seconds` | seconds | |
//! | `kubefwd_namespaces` | | `state`: connecting, watching, failed |
//! | `kubefwd_services` | | `status`: active, partial, pending, error |
//! | `kubefwd_forwards` | | `status`: active, connecting, pending, error, stopping |
//! | `kubefwd_errors` | errors that are open now | |
//! | `kubefwd_hosts_entries` | addresses in our block of the hosts file | |
//! | `kubefwd_hosts_writes_total` | | |
//! | `kubefwd_worker_restarts_total` | | `uid` |
//! | `kubefwd_service_received_bytes_total` | bytes from pods | `context`, `namespace`, `service` |
//! | `kubefwd_service_sent_bytes_total` | bytes to pods | the same |
//! | `kubefwd_forward_connections` | open now | the same and `address`, `port` |
//! | `kubefwd_forward_connections_opened_total` | | the same |
//! | `kubefwd_forward_connections_failed_total` | | the same |
//! | `kubefwd_forward_first_byte_seconds_sum`, `_count` | seconds from accept to first byte | the same |
//! | `kubefwd_http_requests_total` | | `context`, `namespace`, `service`, `class` |
//!
//! Services and forwards that were never used have no series of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap};
use kubefwd_model as model;
use kubefwd_model::Uid;
use kubefwd_model::entry::Totals;
use kubefwd_telemetry::http::HttpSummary;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tokio::task::spawn_blocking;

use super::ApiState;
use super::envelope::ApiError;
use super::extract::Caller;
use super::keys;

/// The newer format, for those who ask for it.
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older one, which everybody reads.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that one scrape shows.
#[derive(Debug)]
struct Scrape {
    version: &'static str,
    uptime: f64,
    namespaces: BTreeMap<&'static str, u64>,
    services: BTreeMap<&'static str, u64>,
    forwards: BTreeMap<&'static str, u64>,
    errors: u64,
    hosts_entries: u64,
    hosts_writes: u64,
    restarts: Vec<(Uid, u64)>,
    /// Those that moved a byte.
    used: Vec<Used>,
}

/// A service that was used.
#[derive(Debug)]
struct Used {
    service: Arc<model::Service>,
    totals: Totals,
    http: HttpSummary,
}

/// The endpoint.
pub(crate) async fn metrics(
    State(api): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    let open = accepted.any(|value| value.contains("application/openmetrics-text"));
    let scrape = Scrape::new(&api, &caller);
    // Thousands of series take a while: the runtime has other things to do.
    let written = spawn_blocking(move || {
        let text = scrape.encode()?;
        Ok::<_, fmt::Error>(if open { text } else { classic(&text) })
    });
    match written.await {
        Ok(Ok(text)) => {
            let kind = if open { OPEN } else { CLASSIC };
            Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
        }
        Ok(Err(error)) => Err(ApiError::defect(&format!("cannot write metrics: {error}"))),
        Err(_) => Err(ApiError::unavailable("the daemon is stopping")),
    }
}

/// The same in the older format: there a counter has its whole name everywhere, an info is a gauge, and there are neither
/// units nor an end.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    // The type follows the help, whose name depends on it.
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                text.push_str(&format!("# HELP {name}{ending} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

// === impl Scrape ===

impl Scrape {
    fn new(api: &ApiState, caller: &Caller) -> Self {
        let (view, hosts) = (api.control.view(), api.control.hosts());
        let telemetry = api.control.telemetry();
        let info = api.control.info();
        let uptime = SystemTime::now()
            .duration_since(info.started_at)
            .unwrap_or_default();
        let workers = view.workers.iter().filter(|(uid, _)| caller.sees(**uid));
        let errors = telemetry
            .errors
            .open(usize::MAX, |uid| caller.sees(uid))
            .len();
        let mut scrape = Self {
            version: info.version,
            uptime: uptime.as_secs_f64(),
            namespaces: BTreeMap::new(),
            services: BTreeMap::new(),
            forwards: BTreeMap::new(),
            errors: errors as u64,
            hosts_entries: hosts.entries as u64,
            hosts_writes: hosts.writes,
            restarts: workers
                .map(|(uid, worker)| (*uid, worker.worker.restarts.into()))
                .collect(),
            used: Vec::new(),
        };
        for namespace in view.namespaces.values().filter(|n| caller.sees(n.key.uid)) {
            let state = namespace.status.as_str();
            *scrape.namespaces.entry(state).or_default() += 1;
        }
        let meters = telemetry.meters.read(SystemTime::now());
        for service in keys::visible(&view, caller) {
            *scrape.services.entry(service.status.as_str()).or_default() += 1;
            for forward in &service.forwards {
                *scrape.forwards.entry(forward.status.as_str()).or_default() += 1;
            }
            let (totals, _) = meters.service(service);
            let opened = service
                .forwards
                .iter()
                .any(|forward| forward.traffic.opened > 0);
            if opened || totals != Totals::default() {
                let http = telemetry.http.summary(service.key.uid, &service.forwards);
                scrape.used.push(Used {
                    service: service.clone(),
                    totals,
                    http,
                });
            }
        }
        scrape
    }

    fn encode(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("kubefwd");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn write(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        out.info("build", "The running version", [("version", self.version)])?;
        out.gauge(
            "uptime",
            "Time since the daemon started",
            Some(Unit::Seconds),
            self.uptime,
        )?;
        let states = [
            (
                "namespaces",
                "Namespaces by state",
                "state",
                &self.namespaces,
            ),
            ("services", "Services by status", "status", &self.services),
            (
                "forwards",
                "Listening ports by status",
                "status",
                &self.forwards,
            ),
        ];
        for (name, help, label, counts) in states {
            let samples = counts
                .iter()
                .map(|(value, count)| ([(label, *value)], *count as f64));
            out.gauges(name, help, None, samples)?;
        }
        out.gauge("errors", "Current errors", None, self.errors as f64)?;
        let help = "Addresses in the daemon's block of the hosts file";
        out.gauge("hosts_entries", help, None, self.hosts_entries as f64)?;
        let help = "Hosts file writes";
        out.counter("hosts_writes", help, self.hosts_writes)?;
        let restarts = self
            .restarts
            .iter()
            .map(|(uid, count)| ([("uid", uid.to_string())], *count));
        out.counters("worker_restarts", "Worker restarts", None, restarts)?;
        self.write_services(out)?;
        self.write_forwards(out)
    }

    fn write_services(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let received = self
            .used
            .iter()
            .map(|used| (used.labels(), used.totals.bytes_in));
        out.counters(
            "service_received",
            "Bytes received from a service's pods",
            Some(Unit::Bytes),
            received,
        )?;
        let sent = self
            .used
            .iter()
            .map(|used| (used.labels(), used.totals.bytes_out));
        out.counters(
            "service_sent",
            "Bytes sent to a service's pods",
            Some(Unit::Bytes),
            sent,
        )?;
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let requests = self.used.iter().flat_map(|used| {
            let counts = classes
                .into_iter()
                .zip(used.http.classes)
                .filter(|(_, count)| *count > 0);
            counts.map(|(class, count)| {
                let [context, namespace, service] = used.labels();
                (
                    [context, namespace, service, ("class", class.to_owned())],
                    count,
                )
            })
        });
        out.counters(
            "http_requests",
            "Captured HTTP requests by status class",
            None,
            requests,
        )
    }

    fn write_forwards(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let used = || {
            let each = self.used.iter().flat_map(|used| {
                used.service
                    .forwards
                    .iter()
                    .map(|forward| (used.forward_labels(forward), &forward.traffic))
            });
            each.filter(|(_, traffic)| traffic.opened > 0)
        };
        let open = used().map(|(labels, traffic)| (labels, traffic.active as f64));
        out.gauges("forward_connections", "Open connections", None, open)?;
        let opened = used().map(|(labels, traffic)| (labels, traffic.opened));
        out.counters(
            "forward_connections_opened",
            "Connections opened",
            None,
            opened,
        )?;
        let failed = used().map(|(labels, traffic)| (labels, traffic.failed));
        out.counters(
            "forward_connections_failed",
            "Connections that failed",
            None,
            failed,
        )?;
        let times = used().map(|(labels, traffic)| {
            (
                labels,
                traffic.first_byte.sum_us as f64 / 1e6,
                traffic.first_byte.count,
            )
        });
        out.sums(
            "forward_first_byte",
            "Time from accepting a connection to its first byte",
            times,
        )
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write(&mut Writer(&mut encoder))
    }
}

// === impl Used ===

impl Used {
    fn labels(&self) -> [(&'static str, String); 3] {
        let key = &self.service.key;
        [
            ("context", escaped(key.context.as_str())),
            ("namespace", key.namespace.to_string()),
            ("service", key.service.to_string()),
        ]
    }

    fn forward_labels(&self, forward: &model::Forward) -> [(&'static str, String); 5] {
        let [context, namespace, service] = self.labels();
        let address = ("address", forward.address.to_string());
        [
            context,
            namespace,
            service,
            address,
            ("port", forward.local_port.to_string()),
        ]
    }
}

/// A text as the value of a label: the encoder writes values as they are, and the name of a context is any text of a user.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Writes one metric after the other.
struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

// === impl Writer ===

impl Writer<'_, '_> {
    fn info(&mut self, name: &str, help: &str, labels: impl EncodeLabelSet) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&labels)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: f64) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric =
            self.0
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// Sums and counts of times in seconds, as a histogram without buckets of its own.
    fn sums<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64, u64)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, sum, count) in samples {
            let all = [(f64::MAX, count)];
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, count, &all, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kubefwd_model::FirstByte;

    use super::*;
    use kubefwd_core::samples;

    #[test]
    fn names_units_and_labels_are_as_documented() {
        let mut forward = samples::forward("api.shop.kind.api-6f.80", 80);
        forward.traffic.opened = 3;
        forward.traffic.first_byte = FirstByte {
            sum_us: 1_500_000,
            count: 2,
        };
        let service = model::Service {
            forwards: vec![forward],
            ..samples::service(1.into(), "api", "shop", "a\"b")
        };
        let totals = Totals {
            bytes_in: 20,
            bytes_out: 10,
        };
        let http = HttpSummary {
            classes: [0, 4, 0, 0, 0],
            ..Default::default()
        };
        let scrape = Scrape {
            version: "1.2.3",
            uptime: 5.0,
            namespaces: [("watching", 1)].into(),
            services: [("active", 1)].into(),
            forwards: [("active", 1)].into(),
            errors: 0,
            hosts_entries: 2,
            hosts_writes: 7,
            restarts: vec![(1000.into(), 1)],
            used: vec![Used {
                service: Arc::new(service),
                totals,
                http,
            }],
        };
        let body = scrape.encode().unwrap();
        for line in [
            "kubefwd_build_info{version=\"1.2.3\"} 1",
            "kubefwd_uptime_seconds 5.0",
            "kubefwd_services{status=\"active\"} 1.0",
            "kubefwd_hosts_writes_total 7",
            "kubefwd_worker_restarts_total{uid=\"1000\"} 1",
            "kubefwd_service_received_bytes_total{context=\"a\\\"b\",namespace=\"shop\",service=\"api\"} 20",
            "kubefwd_http_requests_total{context=\"a\\\"b\",namespace=\"shop\",service=\"api\",class=\"2xx\"} 4",
        ] {
            assert!(body.lines().any(|found| found == line), "{line}\n{body}");
        }
        let series = "{context=\"a\\\"b\",namespace=\"shop\",service=\"api\",address=\"127.1.27.1\",port=\"80\"}";
        assert!(
            body.contains(&format!(
                "kubefwd_forward_first_byte_seconds_sum{series} 1.5"
            )),
            "{body}"
        );
        assert!(body.ends_with("# EOF\n"));
        let classic = classic(&body);
        for line in [
            "# HELP kubefwd_hosts_writes_total Hosts file writes",
            "# TYPE kubefwd_hosts_writes_total counter",
            "# TYPE kubefwd_build_info gauge",
            "# TYPE kubefwd_uptime_seconds gauge",
        ] {
            assert!(
                classic.lines().any(|found| found == line),
                "{line}\n{classic}"
            );
        }
        let documented = include_str!("../../../docs/metrics.md").lines();
        let documented: Vec<&str> = documented
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let helps = classic
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP "));
        let written: Vec<&str> = helps.filter_map(|help| help.split(' ').next()).collect();
        assert_eq!(written, documented);
        assert!(
            !classic.contains("EOF") && !classic.contains("# UNIT"),
            "{classic}"
        );
    }
}
