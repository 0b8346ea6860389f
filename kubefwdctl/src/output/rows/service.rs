//! Services in lists.

use std::collections::BTreeSet;

use kubefwd_model::{Forward, ServiceStatus};

use super::{or_dash, state};
use crate::cache::Objects;
use crate::item::ServiceItem;
use crate::output::changes::Cached;
use crate::output::listing::{Column, Listed};

impl Listed for ServiceItem {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("SERVICE", |it| it.service.key.service.as_str().into()),
        Column::new("NAMESPACE", |it| it.service.key.namespace.as_str().into()),
        Column::new("CONTEXT", |it| it.service.key.context.as_str().into()),
        Column::new("ADDRESS", |it| or_dash(&it.address())),
        Column::new("PORTS", |it| or_dash(&it.ports())),
        Column::new("STATE", |it| state(it.service.status.as_str())),
        Column::wide("PODS", |it| it.service.ready_pods.to_string().into()),
        Column::wide("KEY", |it| it.key().into()),
        Column::wide("OWNER", |it| it.owner.as_str().into()),
        Column::wide("NAMES", |it| or_dash(&it.service.hostnames.join(","))),
        Column::new("MESSAGE", |it| it.message().into()),
    ];

    fn key(&self) -> String {
        self.service.key.to_string()
    }
}

impl Cached for ServiceItem {
    const KIND: &'static str = "service";
    const PLURAL: &'static str = "services";

    fn uid(&self) -> u32 {
        self.service.key.uid.get()
    }

    fn select(objects: Objects) -> Vec<Self> {
        objects.services
    }
}

impl ServiceItem {
    /// `127.1.27.1`; empty while it has none.
    fn address(&self) -> String {
        let address = self.service.address;
        address.map(|ip| ip.to_string()).unwrap_or_default()
    }

    /// `127.1.27.1:80,443`; `-` without an address.
    pub(crate) fn address_and_ports(&self) -> String {
        match (self.address(), self.ports()) {
            (ip, _) if ip.is_empty() => "-".to_owned(),
            (ip, ports) if ports.is_empty() => ip,
            (ip, ports) => format!("{ip}:{ports}"),
        }
    }

    /// The ports of the service's own address, ascending; `8080->80` where the local port differs.
    fn ports(&self) -> String {
        let forwards = &self.service.forwards;
        let has_own = forwards.iter().any(|forward| !forward.pod_address);
        let shown = forwards
            .iter()
            .filter(|forward| !(has_own && forward.pod_address));
        let ports: BTreeSet<_> = shown.map(|f| (f.local_port, port(f))).collect();
        let texts: Vec<String> = ports.into_iter().map(|(_, text)| text).collect();
        texts.join(",")
    }

    /// Why it is not (fully) active, and which ports were skipped.
    fn message(&self) -> String {
        let service = &self.service;
        let reason = Some(service.status_reason.clone()).filter(|reason| !reason.is_empty());
        let skipped = match service.status {
            ServiceStatus::Unsupported => &[][..],
            _ => &service.skipped_ports,
        };
        let skipped = skipped.iter().map(|port| format!("skipped {port}"));
        let refused = service.refused_names.iter();
        let short = refused
            .filter(|name| name.name == service.key.service.as_str())
            .map(|name| format!("{}: {}", name.name, name.reason));
        reason
            .into_iter()
            .chain(skipped)
            .chain(short)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

fn port(forward: &Forward) -> String {
    let (local, service) = (forward.local_port, forward.service_port);
    match local == service {
        true => local.to_string(),
        false => format!("{local}->{service}"),
    }
}
