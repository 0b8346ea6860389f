//! What scheduler, kubelet and controllers do: pods come, become ready, end and go; endpoints follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ids;
use crate::kinds::Kind;
use crate::logs::LogBook;
use crate::objects::{self, PodOwner, ResolvedPort};
use crate::pods::Sandbox;
use crate::spec::{PodHealth, Service, ServiceKind, TargetPort, Workload, WorkloadKind};
use crate::state::State;
use crate::store::Key;
use crate::world::{Inner, PodPhase, PodRecord, ServiceRecord, WorkloadRecord};

/// The most endpoints of a slice, as in the real controller.
const MAX_ENDPOINTS: usize = 100;

/// Creates a namespace.
pub(crate) fn create_namespace(state: &State, name: &str) {
    let value = objects::namespace(name, Timestamp::now(), false);
    state.store.put(Kind::Namespace, value);
}

/// Deletes a namespace with all that is in it.
pub(crate) fn delete_namespace(state: &State, name: &str) {
    let value = objects::namespace(name, Timestamp::now(), true);
    state.store.put(Kind::Namespace, value);
    let (workloads, services, pods) = {
        let world = state.world.lock();
        let inside =
            |keys: Vec<Key>| -> Vec<Key> { keys.into_iter().filter(|key| key.0 == name).collect() };
        (
            inside(world.workloads.keys().cloned().collect()),
            inside(world.services.keys().cloned().collect()),
            inside(world.pods.keys().cloned().collect()),
        )
    };
    for key in workloads {
        state.world.lock().workloads.remove(&key);
    }
    for key in services {
        delete_service(state, &key);
    }
    for key in pods {
        remove_pod(state, &key);
    }
    state
        .store
        .delete(Kind::Namespace, &(String::new(), name.to_owned()));
}

/// Creates a workload with its pods, in the state they come into.
pub(crate) fn create_workload(state: &State, namespace: &str, spec: Workload) {
    let key = (namespace.to_owned(), spec.name.clone());
    let replicas = spec.replicas;
    state.world.lock().workloads.insert(
        key.clone(),
        WorkloadRecord {
            uid: ids::uuid(),
            hash: ids::suffix(9),
            spec,
        },
    );
    for ordinal in 0..replicas {
        let pod = create_pod(state, &key, ordinal);
        settle(state, &pod);
    }
}

/// Creates a pod of a workload in its first state (pending) and returns its key.
pub(crate) fn create_pod(state: &State, workload: &Key, ordinal: usize) -> Key {
    let mut world = state.world.lock();
    let ip = world.pod_ip();
    let record = &world.workloads[workload];
    let spec = &record.spec;
    let mut labels = spec.labels.clone();
    let (name, generate_name) = match spec.kind {
        WorkloadKind::Deployment => {
            labels.insert("pod-template-hash".into(), record.hash.clone());
            let generate = format!("{}-{}-", spec.name, record.hash);
            (format!("{generate}{}", ids::suffix(5)), Some(generate))
        }
        WorkloadKind::StatefulSet => {
            let name = format!("{}-{ordinal}", spec.name);
            labels.insert("apps.kubernetes.io/pod-index".into(), ordinal.to_string());
            labels.insert("statefulset.kubernetes.io/pod-name".into(), name.clone());
            let revision = format!("{}-{}", spec.name, record.hash);
            labels.insert("controller-revision-hash".into(), revision);
            (name, Some(format!("{}-", spec.name)))
        }
        WorkloadKind::Pod => (spec.name.clone(), None),
    };
    let uid = ids::uuid();
    let sandbox = Sandbox::new(
        &workload.0,
        &name,
        &uid,
        Arc::clone(&spec.template.behaviours),
        false,
    );
    let pod = PodRecord {
        key: (workload.0.clone(), name),
        uid,
        ip,
        labels,
        template: Arc::new(spec.template.clone()),
        owner: (spec.kind != WorkloadKind::Pod).then(|| workload.clone()),
        generate_name,
        phase: PodPhase::Pending,
        deleted: None,
        restarts: 0,
        created: Timestamp::now(),
        sandbox: Arc::new(sandbox),
        logs: Arc::new(LogBook::default()),
    };
    let key = pod.key.clone();
    world.add_pod(pod);
    store_pod(state, &world, &key);
    key
}

/// Lets a pod start and come into the state its template says.
pub(crate) fn settle(state: &State, key: &Key) {
    let health = state
        .world
        .lock()
        .pods
        .get(key)
        .map(|pod| pod.template.health);
    match health {
        Some(PodHealth::Ready) => {
            start(state, key);
            set_ready(state, key, true);
        }
        Some(PodHealth::NotReady | PodHealth::CrashLoop) => start(state, key),
        Some(PodHealth::Pending) | None => {}
    }
}

/// Starts a pod's container.
pub(crate) fn start(state: &State, key: &Key) {
    change_pod(state, key, |pod| {
        pod.phase = PodPhase::Started;
        if pod.template.health == PodHealth::CrashLoop {
            pod.restarts = pod.restarts.max(1);
        } else {
            pod.sandbox.set_running(true);
        }
        for line in &pod.template.log_lines {
            pod.logs.push(line);
        }
    });
}

/// The readiness probe of a pod succeeds or fails from now on.
pub(crate) fn set_ready(state: &State, key: &Key, ready: bool) {
    change_pod(state, key, |pod| {
        if matches!(pod.phase, PodPhase::Started | PodPhase::Ready) {
            pod.phase = if ready {
                PodPhase::Ready
            } else {
                PodPhase::Started
            };
        }
    });
}

/// Marks a pod as being deleted; it keeps serving.
pub(crate) fn begin_deletion(state: &State, key: &Key) {
    change_pod(state, key, |pod| {
        pod.deleted.get_or_insert_with(Timestamp::now);
    });
    record_event(state, key, "Killing", "Stopping container");
}

/// A pod's process ends: connections close, nothing listens any more.
pub(crate) fn end_process(state: &State, key: &Key) {
    change_pod(state, key, |pod| {
        pod.phase = PodPhase::Ended;
        pod.sandbox.set_running(false);
    });
}

/// A pod and its sandbox are gone.
pub(crate) fn remove_pod(state: &State, key: &Key) -> bool {
    let mut world = state.world.lock();
    let Some(pod) = world.remove_pod(key) else {
        return false;
    };
    pod.sandbox.remove();
    state.store.delete(Kind::Pod, key);
    sync_services_of(state, &mut world, &pod.labels, &key.0);
    true
}

/// A container's process is killed: its connections end, and dials are refused until it is started again.
pub(crate) fn kill_container(state: &State, key: &Key) {
    change_pod(state, key, |pod| {
        pod.sandbox.set_running(false);
        pod.phase = PodPhase::Started;
        pod.restarts += 1;
        pod.logs.rotate();
    });
}

fn change_pod(state: &State, key: &Key, change: impl FnOnce(&mut PodRecord)) {
    let mut world = state.world.lock();
    let Some(pod) = world.pods.get_mut(key) else {
        return;
    };
    change(pod);
    let labels = pod.labels.clone();
    store_pod(state, &world, key);
    sync_services_of(state, &mut world, &labels, &key.0);
}

fn store_pod(state: &State, world: &Inner, key: &Key) {
    let pod = &world.pods[key];
    let owner = pod.owner.as_ref().and_then(|o| world.workloads.get(o));
    let value = objects::pod(
        pod,
        owner.map(|owner| PodOwner {
            kind: owner.spec.kind,
            name: &owner.spec.name,
            hash: &owner.hash,
            uid: &owner.uid,
        }),
    );
    state.store.put(Kind::Pod, value);
}

fn record_event(state: &State, key: &Key, reason: &str, message: &str) {
    let world = state.world.lock();
    if let Some(pod) = world.pods.get(key) {
        state
            .store
            .put(Kind::Event, objects::event(pod, reason, message));
    }
}

/// Creates or replaces a service with its endpoints.
pub(crate) fn put_service(state: &State, namespace: &str, spec: Service) {
    let key = (namespace.to_owned(), spec.name.clone());
    let mut world = state.world.lock();
    let old = world.services.remove(&key);
    let record = match old {
        Some(old) => ServiceRecord { spec, ..old },
        None => ServiceRecord {
            spec,
            uid: ids::uuid(),
            cluster_ip: world.cluster_ip(),
            created: Timestamp::now(),
            slices: Vec::new(),
        },
    };
    state
        .store
        .put(Kind::Service, objects::service(&key, &record));
    world.services.insert(key.clone(), record);
    sync_service(state, &mut world, &key);
}

/// Deletes a service with its endpoints; false when it is not there.
pub(crate) fn delete_service(state: &State, key: &Key) -> bool {
    let mut world = state.world.lock();
    let Some(record) = world.services.remove(key) else {
        return false;
    };
    state.store.delete(Kind::Service, key);
    state.store.delete(Kind::Endpoints, key);
    for slice in record.slices {
        state
            .store
            .delete(Kind::EndpointSlice, &(key.0.clone(), slice));
    }
    true
}

fn sync_services_of(
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
fn sync_service(state: &State, world: &mut Inner, key: &Key) {
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

/// Replaces all pods of a workload as its controller does, one after the other, and returns when the last old pod is
/// gone. False when there is no such workload.
pub(crate) async fn rollout(state: &Arc<State>, workload: &Key) -> bool {
    let old: Vec<Key> = {
        let mut world = state.world.lock();
        let Some(record) = world.workloads.get_mut(workload) else {
            return false;
        };
        record.hash = ids::suffix(9);
        let owned = world.owned(workload);
        owned.into_iter().map(|pod| pod.key.clone()).collect()
    };
    let kind = state.world.lock().workloads[workload].spec.kind;
    match kind {
        WorkloadKind::Deployment => {
            let mut ending = Vec::new();
            for key in old {
                let fresh = create_pod(state, workload, 0);
                bring_up(state, &fresh).await;
                ending.push(tokio::spawn(take_down(Arc::clone(state), key)));
            }
            for task in ending {
                // A panic in it would be a fault of this program and is reported by its own thread.
                let _ended = task.await;
            }
        }
        WorkloadKind::StatefulSet => {
            for (ordinal, key) in old.into_iter().enumerate().rev() {
                take_down(Arc::clone(state), key).await;
                let fresh = create_pod(state, workload, ordinal);
                bring_up(state, &fresh).await;
            }
        }
        WorkloadKind::Pod => {}
    }
    true
}

/// Deletes a pod; its controller replaces it. Returns when both are done. False when there is no such pod.
pub(crate) async fn replace_pod(state: &Arc<State>, key: &Key) -> bool {
    let (owner, ordinal) = {
        let world = state.world.lock();
        let Some(pod) = world.pods.get(key) else {
            return false;
        };
        let index = pod.labels.get("apps.kubernetes.io/pod-index");
        (
            pod.owner.clone(),
            index.and_then(|i| i.parse().ok()).unwrap_or(0),
        )
    };
    let Some(owner) = owner else {
        take_down(Arc::clone(state), key.clone()).await;
        return true;
    };
    let stateful = state
        .world
        .lock()
        .workloads
        .get(&owner)
        .map(|w| w.spec.kind)
        == Some(WorkloadKind::StatefulSet);
    if stateful {
        take_down(Arc::clone(state), key.clone()).await;
        let fresh = create_pod(state, &owner, ordinal);
        bring_up(state, &fresh).await;
    } else {
        let fresh = create_pod(state, &owner, ordinal);
        tokio::join!(
            take_down(Arc::clone(state), key.clone()),
            bring_up(state, &fresh)
        );
    }
    true
}

/// Brings a workload to that number of pods. False when there is no such workload.
pub(crate) async fn scale(state: &Arc<State>, workload: &Key, replicas: usize) -> bool {
    let old: Vec<Key> = {
        let mut world = state.world.lock();
        let Some(record) = world.workloads.get_mut(workload) else {
            return false;
        };
        record.spec.replicas = replicas;
        let owned = world.owned(workload);
        owned.into_iter().map(|pod| pod.key.clone()).collect()
    };
    for ordinal in old.len()..replicas {
        let fresh = create_pod(state, workload, ordinal);
        bring_up(state, &fresh).await;
    }
    for key in old.into_iter().skip(replicas) {
        take_down(Arc::clone(state), key).await;
    }
    true
}

/// A new pod's way to readiness.
pub(crate) async fn bring_up(state: &State, key: &Key) {
    let step = state.timing.pod_step;
    record_event(state, key, "Scheduled", "Successfully assigned to sim-node");
    tokio::time::sleep(step).await;
    start(state, key);
    record_event(state, key, "Started", "Started container");
    tokio::time::sleep(step).await;
    let health = state.world.lock().pods.get(key).map(|p| p.template.health);
    if health == Some(PodHealth::Ready) {
        set_ready(state, key, true);
    }
}

/// An old pod's way out: terminating but serving, then without process, then gone.
pub(crate) async fn take_down(state: Arc<State>, key: Key) {
    let step = state.timing.pod_step;
    begin_deletion(&state, &key);
    tokio::time::sleep(step * 2).await;
    end_process(&state, &key);
    tokio::time::sleep(step).await;
    remove_pod(&state, &key);
}
