//! What readers see: an immutable snapshot of everything, cheap to clone, published by the state's owner.
//!
//! A new snapshot shares every object that did not change with the one before, so a reader finds the difference
//! between two snapshots by comparing pointers ([`changes`]).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use super::access::Strangers;
use super::keys::{ListenerId, NamespaceKey, ServiceKey};
use super::observed::{Problem, Traffic};
use super::wishes::Selection;
use crate::core::names::HostName;

/// Everything, at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Grows with every change.
    pub revision: u64,
    /// What is watched.
    pub namespaces: BTreeMap<NamespaceKey, Arc<NamespaceView>>,
    /// What is forwarded, and what cannot be with the reason.
    pub services: BTreeMap<ServiceKey, Arc<ServiceView>>,
    /// The processes that do it.
    pub workers: BTreeMap<u32, WorkerView>,
    /// Problems of the daemon itself.
    pub warnings: Arc<Vec<String>>,
    /// Forwarded ports are for their owner, root and the group only.
    pub access_limited: bool,
}

/// A namespace that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceView {
    /// Its key.
    pub key: NamespaceKey,
    /// How far it is.
    pub state: NamespaceState,
    /// What works differently than usual.
    pub notes: Vec<String>,
    /// Which services; `None` when only single services were asked for.
    pub selection: Option<Selection>,
    /// When it was asked for.
    pub added_at: SystemTime,
    /// Ends with the client that asked.
    pub attached: bool,
    /// Since when it failed, if it does.
    pub failed_since: Option<SystemTime>,
}

/// How far a namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// Its services are not known yet.
    Connecting,
    /// Its services are known and watched.
    Watching,
    /// It cannot be watched now; it is retried.
    Failed(Problem),
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// Its key.
    pub key: ServiceKey,
    /// Has no cluster address.
    pub headless: bool,
    /// The sum of its forwards.
    pub state: ServiceState,
    /// Why it is not (fully) active; empty when it is.
    pub reason: String,
    /// What to do about that; may be empty.
    pub hint: String,
    /// Its address, once it has one.
    pub address: Option<Ipv4Addr>,
    /// Names that lead to that address.
    pub hostnames: Arc<[HostName]>,
    /// Names it wanted and did not get, and why.
    pub refused_names: Vec<(String, String)>,
    /// Its forwards, by pod and local port.
    pub forwards: Vec<ForwardView>,
    /// Pods that can serve.
    pub ready_pods: u32,
    /// Pods behind it, ready or not.
    pub total_pods: u32,
    /// Ports that cannot be forwarded, with the reason.
    pub skipped_ports: Vec<String>,
    /// Requests are looked for in its bytes.
    pub capture: bool,
    /// When it was first seen.
    pub since: SystemTime,
}

/// The state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Being set up, or no pod is ready.
    Pending,
    /// Every forward is active.
    Active,
    /// Some are, some are not.
    Partial,
    /// None is, and one is in error.
    Error,
    /// Cannot be forwarded at all.
    Unsupported,
}

/// One listening port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardView {
    /// `service.namespace.context.pod.localPort`; with `pod.` before it where a pod of a headless service has an address of
    /// its own.
    pub key: String,
    /// The listener.
    pub listener: ListenerId,
    /// The address it listens on.
    pub address: Ipv4Addr,
    /// The port it listens on.
    pub local_port: u16,
    /// The service's port.
    pub service_port: u16,
    /// The name of that port; may be empty.
    pub port_name: String,
    /// The pod that serves, or served last; may be empty.
    pub pod: String,
    /// Its container.
    pub container: String,
    /// Its port; 0 while unknown.
    pub pod_port: u16,
    /// It belongs to one pod of a headless service.
    pub pod_address: bool,
    /// Names that lead to it.
    pub hostnames: Arc<[HostName]>,
    /// How it is.
    pub state: ForwardState,
    /// Since when it listens.
    pub since: SystemTime,
    /// Its counters.
    pub traffic: Traffic,
    /// How the tunnel runs; empty while none was needed.
    pub transport: String,
}

/// The state of a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardState {
    /// Listens; no pod is ready.
    Pending,
    /// Being set up.
    Connecting,
    /// Listens, and a pod is ready.
    Active,
    /// Does not work; why, and what to do.
    Error {
        /// What and why.
        message: String,
        /// What to do next; may be empty.
        hint: String,
        /// It is this machine that refuses, and not the cluster.
        local: bool,
    },
    /// Being removed.
    Stopping,
}

/// The process that works for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The user's name, or number where the user database has none.
    pub user: String,
    /// 0 while it does not run.
    pub pid: u32,
    /// Whether it runs.
    pub state: WorkerState,
    /// How often it had to be started again.
    pub restarts: u32,
    /// Why it last ended; empty when it never did.
    pub error: String,
    /// Whose connections it refused.
    pub strangers: Strangers,
}

/// Whether a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Started, has not said hello.
    Starting,
    /// Does its work.
    Running,
    /// Died; is started again after a pause.
    Backoff,
}

/// What became different between two snapshots.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New or changed.
    pub namespaces: Vec<Arc<NamespaceView>>,
    /// New or changed.
    pub services: Vec<Arc<ServiceView>>,
    /// Gone.
    pub removed_namespaces: Vec<NamespaceKey>,
    /// Gone.
    pub removed_services: Vec<ServiceKey>,
}

/// The difference from `old` to `new`.
pub fn changes(old: &View, new: &View) -> Changes {
    let (namespaces, removed_namespaces) = difference(&old.namespaces, &new.namespaces);
    let (services, removed_services) = difference(&old.services, &new.services);
    Changes {
        namespaces,
        services,
        removed_namespaces,
        removed_services,
    }
}

fn difference<K: Ord + Clone, V>(
    old: &BTreeMap<K, Arc<V>>,
    new: &BTreeMap<K, Arc<V>>,
) -> (Vec<Arc<V>>, Vec<K>) {
    let changed = new
        .iter()
        .filter(|(key, value)| {
            !old.get(*key)
                .is_some_and(|before| Arc::ptr_eq(before, value))
        })
        .map(|(_, value)| value.clone())
        .collect();
    let removed = old
        .keys()
        .filter(|key| !new.contains_key(*key))
        .cloned()
        .collect();
    (changed, removed)
}

// === impl Changes ===

impl Changes {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.services.is_empty()
            && self.removed_namespaces.is_empty()
            && self.removed_services.is_empty()
    }
}

// === impl View ===

impl View {
    /// The name of a user with a worker, else the number.
    pub fn user_name(&self, uid: u32) -> String {
        self.workers
            .get(&uid)
            .map_or_else(|| uid.to_string(), |worker| worker.user.clone())
    }

    /// The sums that summaries show, over the objects that `visible` lets through.
    pub fn counts(&self, visible: impl Fn(u32) -> bool) -> Counts {
        let namespaces = self
            .namespaces
            .keys()
            .filter(|key| visible(key.uid))
            .count();
        let mut counts = Counts {
            namespaces,
            ..Counts::default()
        };
        for (_, service) in self.services.iter().filter(|(key, _)| visible(key.uid)) {
            counts.add(service);
        }
        counts.errors += self
            .namespaces
            .values()
            .filter(|n| visible(n.key.uid) && matches!(n.state, NamespaceState::Failed(_)))
            .count();
        counts
    }
}

/// Sums over many services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Namespaces that are wanted.
    pub namespaces: usize,
    /// Services, also those that cannot be forwarded.
    pub services: usize,
    /// Services that are active or partly so.
    pub services_active: usize,
    /// Listening ports.
    pub forwards: usize,
    /// Listening ports with a ready pod.
    pub forwards_active: usize,
    /// Forwards, services and namespaces in error.
    pub errors: usize,
    /// Bytes from pods.
    pub bytes_in: u64,
    /// Bytes to pods.
    pub bytes_out: u64,
}

// === impl Counts ===

impl Counts {
    /// Adds one service.
    pub fn add(&mut self, service: &ServiceView) {
        self.services += 1;
        if matches!(service.state, ServiceState::Active | ServiceState::Partial) {
            self.services_active += 1;
        }
        for forward in &service.forwards {
            self.forwards += 1;
            match forward.state {
                ForwardState::Active => self.forwards_active += 1,
                ForwardState::Error { .. } => self.errors += 1,
                ForwardState::Pending | ForwardState::Connecting | ForwardState::Stopping => {}
            }
            // Workers say how much it was.
            self.bytes_in = self.bytes_in.saturating_add(forward.traffic.bytes_in);
            self.bytes_out = self.bytes_out.saturating_add(forward.traffic.bytes_out);
        }
        if service.forwards.is_empty() && service.state == ServiceState::Error {
            self.errors += 1;
        }
    }
}
