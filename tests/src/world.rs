//! The state behind the stored objects: pods with their sandboxes and logs, services, workloads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::logs::LogBook;
use crate::pods::Sandbox;
use crate::spec::{PodHealth, PodTemplate, Service, Workload};
use crate::store::Key;

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodPhase {
    /// Created, its container not started.
    Pending,
    /// Its container runs (or crashes), not ready.
    Started,
    /// Running and ready.
    Ready,
    /// Its process has ended after a deletion.
    Ended,
}

/// A pod.
pub(crate) struct PodRecord {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) ip: Ipv4Addr,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) template: Arc<PodTemplate>,
    pub(crate) owner: Option<Key>,
    pub(crate) generate_name: Option<String>,
    pub(crate) phase: PodPhase,
    pub(crate) deleted: Option<Timestamp>,
    pub(crate) restarts: u32,
    pub(crate) created: Timestamp,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) logs: Arc<LogBook>,
}

impl PodRecord {
    pub(crate) fn scheduled(&self) -> bool {
        self.template.health != PodHealth::Pending
    }

    /// Whether its readiness probe succeeds.
    pub(crate) fn serving(&self) -> bool {
        self.phase == PodPhase::Ready
    }

    /// Whether it has an address.
    pub(crate) fn addressed(&self) -> bool {
        self.scheduled() && self.phase != PodPhase::Pending
    }
}

/// A service with what its controllers made of it.
pub(crate) struct ServiceRecord {
    pub(crate) spec: Service,
    pub(crate) uid: String,
    pub(crate) cluster_ip: Ipv4Addr,
    pub(crate) created: Timestamp,
    /// Names of its EndpointSlices, in order of use.
    pub(crate) slices: Vec<String>,
}

/// A workload and how often it was rolled out.
pub(crate) struct WorkloadRecord {
    pub(crate) spec: Workload,
    pub(crate) uid: String,
    pub(crate) hash: String,
}

/// Everything that controllers know.
#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) pods: BTreeMap<Key, PodRecord>,
    pub(crate) services: BTreeMap<Key, ServiceRecord>,
    pub(crate) workloads: BTreeMap<Key, WorkloadRecord>,
    /// Pods by `(namespace, "label=value")`.
    by_label: HashMap<(String, String), BTreeSet<String>>,
    next_pod: u32,
    next_service: u32,
}

impl Inner {
    pub(crate) fn add_pod(&mut self, pod: PodRecord) {
        for (key, value) in &pod.labels {
            self.by_label
                .entry((pod.key.0.clone(), format!("{key}={value}")))
                .or_default()
                .insert(pod.key.1.clone());
        }
        self.pods.insert(pod.key.clone(), pod);
    }

    pub(crate) fn remove_pod(&mut self, key: &Key) -> Option<PodRecord> {
        let pod = self.pods.remove(key)?;
        for (label, value) in &pod.labels {
            let index = (key.0.clone(), format!("{label}={value}"));
            if let Some(names) = self.by_label.get_mut(&index) {
                names.remove(&key.1);
                if names.is_empty() {
                    self.by_label.remove(&index);
                }
            }
        }
        Some(pod)
    }

    /// The pods of a namespace that have all these labels.
    pub(crate) fn selected(
        &self,
        namespace: &str,
        selector: &BTreeMap<String, String>,
    ) -> Vec<&PodRecord> {
        let Some((key, value)) = selector.iter().next() else {
            return Vec::new();
        };
        let candidates = self
            .by_label
            .get(&(namespace.to_owned(), format!("{key}={value}")));
        candidates
            .into_iter()
            .flatten()
            .filter_map(|name| self.pods.get(&(namespace.to_owned(), name.clone())))
            .filter(|pod| selector.iter().all(|(k, v)| pod.labels.get(k) == Some(v)))
            .collect()
    }

    /// The pods that a workload owns, in order of name.
    pub(crate) fn owned(&self, workload: &Key) -> Vec<&PodRecord> {
        self.pods
            .range((workload.0.clone(), String::new())..)
            .take_while(|(key, _)| key.0 == workload.0)
            .map(|(_, pod)| pod)
            .filter(|pod| pod.owner.as_ref() == Some(workload))
            .collect()
    }

    pub(crate) fn pod_ip(&mut self) -> Ipv4Addr {
        self.next_pod += 1;
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 88, 2, 0)) + self.next_pod)
    }

    pub(crate) fn cluster_ip(&mut self) -> Ipv4Addr {
        self.next_service += 1;
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 10)) + self.next_service)
    }
}

/// What the API server finds when it looks for a pod's host.
pub(crate) enum Lookup {
    Found(Arc<Sandbox>),
    Unscheduled,
    Missing,
}

/// The cluster's state beside its stored objects.
#[derive(Default)]
pub(crate) struct World(Mutex<Inner>);

impl World {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sandbox(&self, namespace: &str, name: &str) -> Lookup {
        let world = self.lock();
        match world.pods.get(&(namespace.to_owned(), name.to_owned())) {
            None => Lookup::Missing,
            Some(pod) if !pod.scheduled() => Lookup::Unscheduled,
            Some(pod) => Lookup::Found(Arc::clone(&pod.sandbox)),
        }
    }

    /// Whether a pod has a controller that replaces it.
    pub(crate) fn is_owned(&self, pod: &Key) -> bool {
        let world = self.lock();
        world.pods.get(pod).is_some_and(|pod| pod.owner.is_some())
    }

    /// The sandboxes of all pods, for faults that concern many.
    pub(crate) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        let world = self.lock();
        world
            .pods
            .values()
            .map(|pod| Arc::clone(&pod.sandbox))
            .collect()
    }

    /// The log of a pod and the name of its container.
    pub(crate) fn logs(&self, namespace: &str, name: &str) -> Option<(Arc<LogBook>, String)> {
        let world = self.lock();
        let pod = world.pods.get(&(namespace.to_owned(), name.to_owned()))?;
        Some((Arc::clone(&pod.logs), pod.template.container.clone()))
    }
}
