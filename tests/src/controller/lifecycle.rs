//! Pods over time: rollouts, replacements, scaling.

use std::sync::Arc;

use super::{begin_deletion, create_pod, end_process, record_event, remove_pod, set_ready, start};
use crate::ids;
use crate::spec::{PodHealth, WorkloadKind};
use crate::state::State;
use crate::store::Key;

/// Replaces all pods of a workload as its controller does, one after the other, and returns when the last old pod is
/// gone. False when there is no such workload.
pub(crate) async fn rollout(state: &Arc<State>, workload: &Key) -> bool {
    let (kind, old): (_, Vec<Key>) = {
        let mut world = state.world.lock();
        let Some(record) = world.workloads.get_mut(workload) else {
            return false;
        };
        record.hash = ids::suffix(9);
        let kind = record.spec.kind;
        let owned = world.owned(workload);
        (kind, owned.into_iter().map(|pod| pod.key.clone()).collect())
    };
    match kind {
        WorkloadKind::Deployment => {
            let mut ending = Vec::new();
            for key in old {
                bring_up(state, workload, 0).await;
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
                bring_up(state, workload, ordinal).await;
            }
        }
        WorkloadKind::Pod => {}
    }
    true
}

/// Deletes a pod; its controller replaces it. Returns when both are done, and at once where the pod was being deleted
/// already. False when there is no such pod.
pub(crate) async fn replace_pod(state: &Arc<State>, key: &Key) -> bool {
    let (owner, ordinal) = {
        let world = state.world.lock();
        let Some(pod) = world.pods.get(key) else {
            return false;
        };
        if pod.deleted.is_some() {
            return true;
        }
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
        bring_up(state, &owner, ordinal).await;
    } else {
        tokio::join!(
            bring_up(state, &owner, ordinal),
            take_down(Arc::clone(state), key.clone()),
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
        bring_up(state, workload, ordinal).await;
    }
    for key in old.into_iter().skip(replicas) {
        take_down(Arc::clone(state), key).await;
    }
    true
}

/// A new pod's way to readiness. Nothing comes up when the workload has been deleted meanwhile.
async fn bring_up(state: &State, workload: &Key, ordinal: usize) {
    let Some(key) = &create_pod(state, workload, ordinal) else {
        return;
    };
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
async fn take_down(state: Arc<State>, key: Key) {
    let step = state.timing.pod_step;
    begin_deletion(&state, &key);
    tokio::time::sleep(step * 2).await;
    end_process(&state, &key);
    tokio::time::sleep(step).await;
    remove_pod(&state, &key);
}
