//! The columns of each kind of object.

use super::listing::Listed;
use super::shape::{Context, Event, Finding, Forward, HostName, Namespace, Reservation, Service};
use super::table::{Cell, Tone};
use super::units;

impl Listed for Namespace {
    const KIND: &'static str = "namespace";
    const PLURAL: &'static str = "namespaces";

    fn header(wide: bool) -> Vec<&'static str> {
        let narrow = [
            "NAMESPACE",
            "CONTEXT",
            "STATE",
            "ACTIVE",
            "ERRORS",
            "MESSAGE",
        ];
        with(
            &narrow,
            wide,
            &["KEY", "OWNER", "SELECTION", "ATTACHED", "ADDED"],
        )
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let message = match self.error.as_str() {
            "" => self.notes.join("; "),
            error => error.to_owned(),
        };
        let mut row = vec![
            self.namespace.as_str().into(),
            self.context.as_str().into(),
            Cell::toned(self.status, tone(self.status)),
            format!("{}/{}", self.active_count, self.service_count).into(),
            count(u64::from(self.error_count)),
            message.into(),
        ];
        if wide {
            row.splice(
                5..5,
                [
                    self.key.as_str().into(),
                    self.owner.as_str().into(),
                    or_dash(&self.selection()).into(),
                    (if self.attached { "yes" } else { "no" }).into(),
                    units::local(self.started_at).into(),
                ],
            );
        }
        row
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn owner(&self) -> &str {
        &self.owner
    }
}

impl Namespace {
    /// The selection, as command line options.
    fn selection(&self) -> String {
        let mut parts = Vec::new();
        if !self.label_selector.is_empty() {
            parts.push(format!("-l {}", self.label_selector));
        }
        if !self.field_selector.is_empty() {
            parts.push(format!("-f {}", self.field_selector));
        }
        parts.extend(self.include.iter().map(|glob| format!("--include {glob}")));
        parts.extend(self.exclude.iter().map(|glob| format!("--exclude {glob}")));
        parts.join(" ")
    }
}

impl Listed for Service {
    const KIND: &'static str = "service";
    const PLURAL: &'static str = "services";

    fn header(wide: bool) -> Vec<&'static str> {
        let narrow = [
            "SERVICE",
            "NAMESPACE",
            "CONTEXT",
            "ADDRESS",
            "PORTS",
            "STATE",
            "MESSAGE",
        ];
        with(&narrow, wide, &["PODS", "KEY", "OWNER", "NAMES"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let mut row = vec![
            self.service_name.as_str().into(),
            self.namespace.as_str().into(),
            self.context.as_str().into(),
            or_dash(&self.local_ip).into(),
            or_dash(&self.ports()).into(),
            Cell::toned(self.status, tone(self.status)),
            self.message().into(),
        ];
        if wide {
            row.splice(
                6..6,
                [
                    self.ready_pods.to_string().into(),
                    self.key.as_str().into(),
                    self.owner.as_str().into(),
                    or_dash(&self.hostnames.join(",")).into(),
                ],
            );
        }
        row
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn owner(&self) -> &str {
        &self.owner
    }
}

impl Service {
    /// The ports of the service's own address, ascending; `8080->80` where the local port differs.
    pub(crate) fn ports(&self) -> String {
        let own: Vec<&Forward> = self.forwards.iter().filter(|f| !f.pod_address).collect();
        let shown = if own.is_empty() {
            self.forwards.iter().collect()
        } else {
            own
        };
        let mut ports: Vec<(u32, String)> = shown
            .iter()
            .map(|forward| {
                let number = forward.local_port.parse().unwrap_or(0);
                let text = if forward.local_port == forward.service_port {
                    forward.local_port.clone()
                } else {
                    format!("{}->{}", forward.local_port, forward.service_port)
                };
                (number, text)
            })
            .collect();
        ports.sort();
        ports.dedup();
        let texts: Vec<String> = ports.into_iter().map(|(_, text)| text).collect();
        texts.join(",")
    }

    /// Why it is not (fully) active, and which ports were skipped.
    pub(crate) fn message(&self) -> String {
        let mut parts = Vec::new();
        if !self.status_reason.is_empty() {
            parts.push(self.status_reason.clone());
        }
        if self.status != "unsupported" {
            parts.extend(
                self.skipped_ports
                    .iter()
                    .map(|port| format!("skipped {port}")),
            );
        }
        parts.join("; ")
    }
}

impl Listed for Forward {
    const KIND: &'static str = "forward";
    const PLURAL: &'static str = "forwards";

    fn header(wide: bool) -> Vec<&'static str> {
        let narrow = [
            "SERVICE", "LOCAL", "POD", "STATE", "CONNS", "IN", "OUT", "MESSAGE",
        ];
        with(
            &narrow,
            wide,
            &[
                "TOTAL",
                "FAILED",
                "FIRST-BYTE",
                "LAST-ACTIVE",
                "OWNER",
                "KEY",
            ],
        )
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let pod = if self.pod_name.is_empty() {
            "-".to_owned()
        } else {
            format!("{}:{}", self.pod_name, self.pod_port)
        };
        let mut row = vec![
            self.service_key.as_str().into(),
            format!("{}:{}", self.local_ip, self.local_port).into(),
            pod.into(),
            Cell::toned(self.status, tone(self.status)),
            self.connections.to_string().into(),
            units::bytes(self.bytes_in).into(),
            units::bytes(self.bytes_out).into(),
            self.error.as_str().into(),
        ];
        if wide {
            row.splice(
                7..7,
                [
                    self.total_connections.to_string().into(),
                    count(self.failed_connections),
                    units::micros(self.first_byte_micros).into(),
                    units::local(self.last_active).into(),
                    self.owner.as_str().into(),
                    self.key.as_str().into(),
                ],
            );
        }
        row
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn owner(&self) -> &str {
        &self.owner
    }
}

impl Listed for Event {
    const KIND: &'static str = "event";
    const PLURAL: &'static str = "events";

    fn header(wide: bool) -> Vec<&'static str> {
        with(&["TIME", "TYPE", "OBJECT", "MESSAGE"], wide, &["ID", "POD"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let bad = self.kind.ends_with(".error");
        let mut row = vec![
            units::local(self.timestamp).into(),
            Cell::toned(&self.kind, if bad { Tone::Bad } else { Tone::Plain }),
            or_dash(self.object()).into(),
            self.message.as_str().into(),
        ];
        if wide {
            row.splice(
                3..3,
                [self.id.to_string().into(), or_dash(&self.pod_name).into()],
            );
        }
        row
    }

    fn key(&self) -> &str {
        self.object()
    }
}

impl Event {
    /// The smallest object that it is about.
    fn object(&self) -> &str {
        let candidates = [&self.forward_key, &self.service_key, &self.namespace_key];
        candidates
            .into_iter()
            .find(|key| !key.is_empty())
            .map_or("", String::as_str)
    }
}

impl Listed for Context {
    const KIND: &'static str = "context";
    const PLURAL: &'static str = "contexts";

    fn header(wide: bool) -> Vec<&'static str> {
        let narrow = ["CURRENT", "NAME", "CLUSTER", "USER", "NAMESPACE"];
        with(&narrow, wide, &["SERVER"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let mut row = vec![
            (if self.active { "*" } else { "" }).into(),
            self.name.as_str().into(),
            self.cluster.as_str().into(),
            self.user.as_str().into(),
            self.namespace.as_str().into(),
        ];
        if wide {
            row.insert(4, or_dash(&self.server).into());
        }
        row
    }

    fn key(&self) -> &str {
        &self.name
    }
}

impl Listed for HostName {
    const KIND: &'static str = "hostname";
    const PLURAL: &'static str = "hostnames";

    fn header(wide: bool) -> Vec<&'static str> {
        with(&["ADDRESS", "NAME", "SERVICE"], wide, &["UID"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let mut row = vec![
            self.ip.as_str().into(),
            self.hostname.as_str().into(),
            or_dash(&self.service).into(),
        ];
        if wide {
            row.insert(2, self.uid.to_string().into());
        }
        row
    }

    fn key(&self) -> &str {
        &self.hostname
    }
}

impl Listed for Reservation {
    const KIND: &'static str = "reservation";
    const PLURAL: &'static str = "reservations";

    fn header(_: bool) -> Vec<&'static str> {
        vec!["ADDRESS", "KEY", "OWNER", "FROM"]
    }

    fn row(&self, _: bool) -> Vec<Cell> {
        vec![
            self.address.as_str().into(),
            self.key.as_str().into(),
            or_dash(&self.owner).into(),
            (if self.configured {
                "configuration"
            } else {
                "request"
            })
            .into(),
        ]
    }

    fn key(&self) -> &str {
        &self.key
    }
}

impl Listed for Finding {
    const KIND: &'static str = "finding";
    const PLURAL: &'static str = "findings";

    fn header(wide: bool) -> Vec<&'static str> {
        with(&["RESULT", "SUBJECT", "MESSAGE"], wide, &["SINCE"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let mut row = vec![
            Cell::toned(self.severity, tone(self.severity)),
            self.subject.as_str().into(),
            self.message.as_str().into(),
        ];
        if wide {
            row.insert(2, units::local(self.since).into());
        }
        row
    }

    fn key(&self) -> &str {
        &self.subject
    }

    fn footnote(&self) -> &str {
        &self.hint
    }
}

/// The header of the wide form: its additions stand before the last column, which is free text.
fn with(narrow: &[&'static str], wide: bool, more: &[&'static str]) -> Vec<&'static str> {
    let mut header = narrow.to_vec();
    if wide {
        let last = narrow.len() - 1;
        header.splice(last..last, more.iter().copied());
    }
    header
}

/// What a state word means.
pub(crate) fn tone(state: &str) -> Tone {
    match state {
        "active" | "watching" | "ok" | "healthy" | "running" => Tone::Good,
        "pending" | "connecting" | "partial" | "stopping" | "warning" | "degraded" | "starting"
        | "backoff" => Tone::Waiting,
        "error" | "failed" | "unhealthy" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// A state word, coloured by what it means.
pub(crate) fn state(word: &str) -> Cell {
    Cell::toned(word, tone(word))
}

fn count(errors: u64) -> Cell {
    let tone = if errors == 0 { Tone::Plain } else { Tone::Bad };
    Cell::toned(errors.to_string(), tone)
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
