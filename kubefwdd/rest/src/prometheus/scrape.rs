//! The numbers of one scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_model as model;
use kubefwd_model::Uid;
use kubefwd_model::entry::Totals;
use kubefwd_telemetry::http::HttpSummary;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::{Registry, Unit};

use super::writer::Writer;
use crate::extract::Call;
use crate::keys;

/// Everything that one scrape shows.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) version: &'static str,
    pub(super) uptime: f64,
    pub(super) namespaces: BTreeMap<&'static str, u64>,
    pub(super) services: BTreeMap<&'static str, u64>,
    pub(super) forwards: BTreeMap<&'static str, u64>,
    pub(super) errors: u64,
    pub(super) hosts_entries: u64,
    pub(super) hosts_writes: u64,
    pub(super) restarts: Vec<(Uid, u64)>,
    /// Those that moved a byte.
    pub(super) used: Vec<Used>,
}

/// A service that was used.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) service: Arc<model::Service>,
    pub(super) totals: Totals,
    pub(super) http: HttpSummary,
}

// === impl Scrape ===

impl Scrape {
    pub(super) fn new(call: &Call) -> Self {
        let (control, caller) = (&call.control, &call.caller);
        let (view, hosts) = (control.view(), control.hosts());
        let telemetry = control.telemetry();
        let info = control.info();
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

    pub(super) fn encode(self) -> Result<String, fmt::Error> {
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
