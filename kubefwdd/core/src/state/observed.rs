//! Observed state: what a user's worker says the cluster has. Made at the edge from hostile input, so these types hold
//! checked names and bounded lists only.

use std::collections::BTreeMap;

use kubefwd_model::{Failure, PodName, ServiceName};
use serde::{Deserialize, Serialize};

/// One namespace as a worker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObservedNamespace {
    /// How far the worker is.
    pub phase: Phase,
    /// What works differently than usual, and why.
    pub notes: Vec<String>,
    /// The latest report's place among those of the worker.
    pub sequence: u64,
    /// Its services.
    pub services: BTreeMap<ServiceName, ObservedService>,
    /// Which life of the namespace this is: one that was removed and added again has to be reported again.
    pub generation: u64,
    /// It has services beyond what its user may have; they are ignored.
    pub left_out: bool,
}

/// How far the worker is with a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Its services are not known yet.
    #[default]
    Connecting,
    /// Its services are known and watched.
    Watching,
    /// It cannot be watched now.
    Failed(Failure),
}

/// One service as a worker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedService {
    /// Has no cluster address: its pods are reached one by one.
    pub headless: bool,
    /// In the order of the service.
    pub ports: Vec<ObservedPort>,
    /// Why it cannot be forwarded at all.
    pub unsupported: Option<String>,
    /// Of a headless service: the pods that are ready.
    pub pods: Vec<PodName>,
    /// Pods that can serve.
    pub ready_pods: u32,
    /// Pods behind it, ready or not.
    pub total_pods: u32,
    /// The namespace's selection matches it.
    pub selected: bool,
}

impl ObservedService {
    /// Ports, and pods with an address of their own, that a service of the usual size has.
    const USUAL: usize = 4;

    /// How many services of the usual size it counts as: with many ports or pods it takes as many listeners and names.
    pub(super) fn weight(&self) -> usize {
        let units = 1 + self.pods.len();
        let listeners = units * self.ports.len();
        listeners.max(units).div_ceil(Self::USUAL).max(1)
    }
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedPort {
    /// The service's port.
    pub port: u16,
    /// Its name; may be empty.
    pub name: String,
    /// Whether it is TCP, the only protocol a cluster forwards; otherwise the protocol's name.
    pub protocol: Protocol,
}

/// A transport protocol of a service port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Can be forwarded.
    Tcp,
    /// Cannot: UDP, SCTP.
    Other(String),
}

/// What a worker says of one forward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardReport {
    /// Whether a pod can be reached.
    pub phase: ForwardPhase,
    /// The pod that serves; may be empty.
    pub pod: String,
    /// Its container.
    pub container: String,
    /// Its port.
    pub pod_port: u16,
    /// How the tunnel runs; empty while none was needed.
    pub transport: String,
    /// Grows with every report on the same listener by the same worker.
    pub sequence: u64,
}

/// Whether a pod can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardPhase {
    /// No pod is ready.
    #[default]
    Pending,
    /// A pod is ready.
    Active,
    /// A pod is there but cannot be reached.
    Error(Failure),
}
