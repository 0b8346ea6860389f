//! What scheduler, kubelet and controllers do: pods come, become ready, end and go; endpoints follow.

mod endpoints;
mod lifecycle;

use std::sync::Arc;

use jiff::Timestamp;

use self::endpoints::{sync_service, sync_services_of};
pub(crate) use self::lifecycle::{replace_pod, rollout, scale};
use crate::ids;
use crate::kinds::Kind;
use crate::logs::LogBook;
use crate::objects::{self, PodOwner};
use crate::pods::Sandbox;
use crate::spec::{PodHealth, Service, Workload, WorkloadKind};
use crate::state::State;
use crate::store::Key;
use crate::world::{Inner, PodPhase, PodRecord, ServiceRecord, WorkloadRecord};

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
        let mut world = state.world.lock();
        let Some(mut pod) = new_pod(&mut world, &key, ordinal) else {
            return;
        };
        match pod.template.health {
            PodHealth::Ready => {
                start_processes(&mut pod);
                pod.phase = PodPhase::Ready;
            }
            PodHealth::NotReady | PodHealth::CrashLoop => start_processes(&mut pod),
            PodHealth::Pending => {}
        }
        let (pod_key, labels) = (pod.key.clone(), pod.labels.clone());
        world.add_pod(pod);
        store_pod(state, &world, &pod_key);
        sync_services_of(state, &mut world, &labels, namespace);
    }
}

/// Creates a pod of a workload in its first state (pending) and returns its key; `None` when the workload is gone.
fn create_pod(state: &State, workload: &Key, ordinal: usize) -> Option<Key> {
    let mut world = state.world.lock();
    let pod = new_pod(&mut world, workload, ordinal)?;
    let key = pod.key.clone();
    world.add_pod(pod);
    store_pod(state, &world, &key);
    Some(key)
}

fn new_pod(world: &mut Inner, workload: &Key, ordinal: usize) -> Option<PodRecord> {
    let ip = world.pod_ip();
    let record = world.workloads.get(workload)?;
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
    Some(PodRecord {
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
    })
}

/// Starts a pod's container.
pub(crate) fn start(state: &State, key: &Key) {
    change_pod(state, key, start_processes);
}

fn start_processes(pod: &mut PodRecord) {
    pod.phase = PodPhase::Started;
    if pod.template.health == PodHealth::CrashLoop {
        pod.restarts = pod.restarts.max(1);
    } else {
        pod.sandbox.set_running(true);
    }
    for line in &pod.template.log_lines {
        pod.logs.push(line);
    }
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
