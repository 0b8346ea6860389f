//! The numbers of one scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_model as model;
use kubefwd_model::entry::Totals;
use kubefwd_model::{FirstByte, Traffic, Uid};
use kubefwd_telemetry::http::HttpSummary;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::writer::{Times, Writer};
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
        let version = Info::new([("version", self.version)]);
        out.one("build", "The running version", None, version)?;
        let (help, uptime) = (
            "Time since the daemon started",
            ConstGauge::new(self.uptime),
        );
        out.one("uptime", help, Some(Unit::Seconds), uptime)?;
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
            let gauge = |count: &u64| ConstGauge::new(*count as f64);
            let by_state = counts
                .iter()
                .map(|(value, n)| ([(label, *value)], gauge(n)));
            out.family(name, help, None, by_state)?;
        }
        let errors = ConstGauge::new(self.errors as f64);
        out.one("errors", "Current errors", None, errors)?;
        let help = "Addresses in the daemon's block of the hosts file";
        let entries = ConstGauge::new(self.hosts_entries as f64);
        out.one("hosts_entries", help, None, entries)?;
        let writes = ConstCounter::new(self.hosts_writes);
        out.one("hosts_writes", "Hosts file writes", None, writes)?;
        let restarts = self.restarts.iter();
        let restarts = restarts.map(|(uid, n)| ([("uid", uid.to_string())], ConstCounter::new(*n)));
        out.family("worker_restarts", "Worker restarts", None, restarts)?;
        self.write_services(out)?;
        self.write_forwards(out)
    }

    fn write_services(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let moved = |bytes: fn(&Totals) -> u64| {
            let used = self.used.iter();
            used.map(move |used| (used.labels(), ConstCounter::new(bytes(&used.totals))))
        };
        let (help, received) = (
            "Bytes received from a service's pods",
            moved(|t| t.bytes_in),
        );
        out.family("service_received", help, Some(Unit::Bytes), received)?;
        let (help, sent) = ("Bytes sent to a service's pods", moved(|t| t.bytes_out));
        out.family("service_sent", help, Some(Unit::Bytes), sent)?;
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let requests = self.used.iter().flat_map(|used| {
            let counts = classes.into_iter().zip(used.http.classes);
            let counts = counts.filter(|(_, count)| *count > 0);
            counts.map(|(class, count)| {
                let [context, namespace, service] = used.labels();
                let labels = [context, namespace, service, ("class", class.to_owned())];
                (labels, ConstCounter::new(count))
            })
        });
        let help = "Captured HTTP requests by status class";
        out.family("http_requests", help, None, requests)
    }

    fn write_forwards(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let used = || {
            let each = self.used.iter().flat_map(|used| {
                let forwards = used.service.forwards.iter();
                forwards.map(|forward| (used.forward_labels(forward), &forward.traffic))
            });
            each.filter(|(_, traffic)| traffic.opened > 0)
        };
        let counted = |count: fn(&Traffic) -> u64| {
            used().map(move |(labels, traffic)| (labels, ConstCounter::new(count(traffic))))
        };
        let open = used().map(|(labels, t)| (labels, ConstGauge::new(t.active as f64)));
        out.family("forward_connections", "Open connections", None, open)?;
        let (name, opened) = ("forward_connections_opened", counted(|t| t.opened));
        out.family(name, "Connections opened", None, opened)?;
        let (name, failed) = ("forward_connections_failed", counted(|t| t.failed));
        out.family(name, "Connections that failed", None, failed)?;
        let times = used().map(|(labels, traffic)| {
            let FirstByte { sum_us, count } = traffic.first_byte;
            let sum = sum_us as f64 / 1e6;
            (labels, Times { sum, count })
        });
        let help = "Time from accepting a connection to its first byte";
        out.family("forward_first_byte", help, Some(Unit::Seconds), times)
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
