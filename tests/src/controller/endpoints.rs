//! Endpoints and EndpointSlices: what the cluster says about who serves a service.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ids;
use crate::kinds::Kind;
use crate::objects::{self, ResolvedPort};
use crate::spec::{ServiceKind, TargetPort};
use crate::state::State;
use crate::store::Key;
use crate::world::{Inner, PodPhase, PodRecord, ServiceRecord};

/// The most endpoints of a slice, as in the real controller.
const MAX_ENDPOINTS: usize = 100;

/// Brings the endpoints of all services in line that select pods with these labels.
pub(super) fn sync_services_of(
    state: &State,
    world: &mut Inner,
    labels: &BTreeMap<String, String>,
    namespace: &str,
) {
    let selecting: Vec<Key> = world
        .services
        .range((namespace.to_owned(), String::new())..)
        .take_while(|(key, _)| key.0 == namespace)
        .filter(|(_, service)| {
            let selector = &service.spec.selector;
            !selector.is_empty() && selector.iter().all(|(k, v)| labels.get(k) == Some(v))
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in selecting {
        sync_service(state, world, &key);
    }
}

/// Ports of a slice and the endpoints that have them.
type Group = (Vec<ResolvedPort>, Vec<Value>);

/// Brings Endpoints and EndpointSlices of a service in line with its pods.
pub(super) fn sync_service(state: &State, world: &mut Inner, key: &Key) {
    let record = &world.services[key];
    if matches!(record.spec.kind, ServiceKind::ExternalName(_)) {
        return;
    }
    let (groups, subsets) = if record.spec.selector.is_empty() {
        unselected(record)
    } else {
        selected(world, key, record)
    };
    put_if_changed(
        state,
        Kind::Endpoints,
        objects::endpoints(key, record, subsets),
    );
    let mut wanted: Vec<Option<Group>> = Vec::new();
    for (ports, endpoints) in groups {
        for part in endpoints.chunks(MAX_ENDPOINTS) {
            wanted.push(Some((ports.clone(), part.to_vec())));
        }
    }
    if wanted.is_empty() {
        wanted.push(None);
    }
    let mut names = record.slices.clone();
    while names.len() < wanted.len() {
        names.push(format!("{}-{}", key.1, ids::suffix(5)));
    }
    for surplus in names.split_off(wanted.len()) {
        state
            .store
            .delete(Kind::EndpointSlice, &(key.0.clone(), surplus));
    }
    for (name, group) in names.iter().zip(&wanted) {
        let (ports, endpoints) = group.as_ref().map(|(p, e)| (&p[..], &e[..])).unzip();
        let slice = objects::endpoint_slice(name, key, record, endpoints, ports);
        put_if_changed(state, Kind::EndpointSlice, slice);
    }
    if let Some(record) = world.services.get_mut(key) {
        record.slices = names;
    }
}

fn unselected(record: &ServiceRecord) -> (Vec<Group>, Vec<Value>) {
    if record.spec.endpoints.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let ports: Vec<ResolvedPort> = record
        .spec
        .ports
        .iter()
        .filter_map(|port| match port.target {
            TargetPort::Number(number) => Some(ResolvedPort {
                name: port.name.clone().unwrap_or_default(),
                port: number,
                protocol: port.protocol,
            }),
            TargetPort::Name(_) => None,
        })
        .collect();
    let addresses = &record.spec.endpoints;
    let subset = json!({
        "addresses": addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect::<Vec<_>>(),
        "ports": endpoints_ports(&ports),
    });
    let endpoints = addresses
        .iter()
        .map(|ip| objects::bare_endpoint(*ip))
        .collect();
    (vec![(ports, endpoints)], vec![subset])
}

fn selected(world: &Inner, key: &Key, record: &ServiceRecord) -> (Vec<Group>, Vec<Value>) {
    let publish = record.spec.publish_not_ready;
    let mut groups: BTreeMap<Vec<ResolvedPort>, Vec<&PodRecord>> = BTreeMap::new();
    for pod in world.selected(&key.0, &record.spec.selector) {
        if pod.addressed() && pod.phase != PodPhase::Ended {
            groups.entry(resolve(record, pod)).or_default().push(pod);
        }
    }
    let subsets = groups
        .iter()
        .filter_map(|(ports, pods)| subset(ports, pods, key, publish))
        .collect();
    let groups = groups
        .into_iter()
        .map(|(ports, pods)| {
            let endpoint = |pod: &PodRecord| objects::slice_endpoint(pod, key, publish);
            (ports, pods.into_iter().map(endpoint).collect())
        })
        .collect();
    (groups, subsets)
}

fn subset(ports: &[ResolvedPort], pods: &[&PodRecord], key: &Key, publish: bool) -> Option<Value> {
    let mut subset = json!({});
    for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
        let addresses: Vec<Value> = pods
            .iter()
            .filter(|pod| pod.deleted.is_none() && (publish || pod.serving()) == ready)
            .map(|pod| objects::endpoints_address(pod, key))
            .collect();
        if !addresses.is_empty() {
            subset[field] = json!(addresses);
        }
    }
    if subset == json!({}) {
        return None;
    }
    subset["ports"] = endpoints_ports(ports);
    Some(subset)
}

/// Ports in an Endpoints object, where an unnamed port has no name field.
fn endpoints_ports(ports: &[ResolvedPort]) -> Value {
    let port = |port: &ResolvedPort| {
        let mut value = json!({"port": port.port, "protocol": port.protocol});
        if !port.name.is_empty() {
            value["name"] = json!(port.name);
        }
        value
    };
    ports.iter().map(port).collect()
}

/// The service's ports as this pod has them; a name that the pod does not declare is left out.
fn resolve(record: &ServiceRecord, pod: &PodRecord) -> Vec<ResolvedPort> {
    record
        .spec
        .ports
        .iter()
        .filter_map(|port| {
            let number = match &port.target {
                TargetPort::Number(number) => *number,
                TargetPort::Name(name) => {
                    let declared = pod.template.ports.iter();
                    declared
                        .filter(|p| p.protocol == port.protocol)
                        .find(|p| p.name.as_deref() == Some(name))?
                        .port
                }
            };
            Some(ResolvedPort {
                name: port.name.clone().unwrap_or_default(),
                port: number,
                protocol: port.protocol,
            })
        })
        .collect()
}

/// Stores an object unless it is stored with the same content.
fn put_if_changed(state: &State, kind: Kind, value: Value) {
    let text = |field: &str| {
        value["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let key = (text("namespace"), text("name"));
    if let Some(old) = state.store.get(kind, &key) {
        let mut old = old.value();
        if let Some(metadata) = old["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        if old == value {
            return;
        }
    }
    state.store.put(kind, value);
}
