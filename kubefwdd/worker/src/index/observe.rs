//! A service as it is reported to the daemon.

use kubefwd_proto::worker::v1::{ObservedPort, ObservedService};

use super::object::{Service, ServicePort};
use super::select::Endpoints;

/// `endpoints` is `None` where they are not known.
pub(super) fn observe(
    service: &Service,
    endpoints: Option<&Endpoints>,
    selected: bool,
) -> ObservedService {
    let ready: &[_] = endpoints.map_or(&[], |endpoints| &endpoints.ready);
    let pods = if service.headless {
        ready.iter().map(ToString::to_string).collect()
    } else {
        Vec::new()
    };
    ObservedService {
        name: service.name.to_string(),
        headless: service.headless,
        ports: service.ports.iter().map(observe_port).collect(),
        unsupported: unsupported(service, endpoints).unwrap_or_default(),
        pods,
        ready_pods: count(ready.len()),
        total_pods: count(endpoints.map_or(0, |endpoints| endpoints.uids.len())),
        selected,
    }
}

fn observe_port(port: &ServicePort) -> ObservedPort {
    ObservedPort {
        port: port.port.into(),
        name: port.name.to_string(),
        protocol: port.protocol.as_str().to_owned(),
    }
}

/// Why nothing of a service can be forwarded.
fn unsupported(service: &Service, endpoints: Option<&Endpoints>) -> Option<String> {
    if let Some(target) = &service.external_name {
        return Some(format!(
            "it is of type ExternalName, an alias for {target}: there is no pod to forward to"
        ));
    }
    if service.ports.is_empty() {
        return Some("it has no ports".to_owned());
    }
    if service.tcp_ports().next().is_none() {
        let mut protocols: Vec<_> = service.ports.iter().map(|p| p.protocol.as_str()).collect();
        protocols.sort_unstable();
        protocols.dedup();
        return Some(format!(
            "it has only {} ports: Kubernetes forwards TCP only",
            protocols.join(" and ")
        ));
    }
    let without_pods = endpoints.is_some_and(|endpoints| endpoints.uids.is_empty());
    if service.selector.is_empty() && without_pods {
        let foreign = endpoints.map_or(0, |endpoints| endpoints.foreign);
        let endpoints = if foreign == 0 {
            "has no endpoints"
        } else {
            "its endpoints are not pods"
        };
        return Some(format!(
            "it has no selector and {endpoints}: there is no pod to forward to"
        ));
    }
    None
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
