//! Observed state: what a user's worker says the cluster has. Made at the edge from hostile input, so these types hold
//! checked names and bounded lists only.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::core::names::{PodName, ServiceName};

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
    /// Which life of the namespace this is: one that was removed and added again has to be told of anew.
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
    Failed(Problem),
}

/// A failure as the worker reports it; the texts are bounded and free of control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The number of `kubefwd.common.v1.Reason`.
    pub reason: i32,
    /// What and why.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
}

impl Problem {
    /// The number of `REASON_CREDENTIALS_NEEDED`.
    const CREDENTIALS_NEEDED: i32 = 13;

    /// Whether a log-in would help.
    pub fn is_about_credentials(&self) -> bool {
        self.reason == Self::CREDENTIALS_NEEDED
    }
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

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedPort {
    /// The service's port.
    pub port: u16,
    /// Its name; may be empty.
    pub name: String,
    /// Whether it is TCP, the only protocol a cluster forwards; otherwise the protocol's name.
    pub protocol: Protocol,
    /// A number or the name of a container's port.
    pub target: String,
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
    Error {
        /// What and why.
        message: String,
        /// What to do next; may be empty.
        hint: String,
    },
}

/// Counters of one forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes from the pod.
    pub bytes_in: u64,
    /// Bytes to the pod.
    pub bytes_out: u64,
    /// Connections that are open now.
    pub active: u64,
    /// Connections so far.
    pub opened: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Sum of the times from accept to first byte, microseconds.
    pub first_byte_us: u64,
    /// How many such times there are.
    pub first_bytes: u64,
    /// When a byte last moved.
    pub last_active: Option<SystemTime>,
}

// === impl Traffic ===

impl Traffic {
    /// The sum of what an earlier worker counted and what this one counts.
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
            active: other.active,
            opened: self.opened.saturating_add(other.opened),
            failed: self.failed.saturating_add(other.failed),
            first_byte_us: self.first_byte_us.saturating_add(other.first_byte_us),
            first_bytes: self.first_bytes.saturating_add(other.first_bytes),
            last_active: other.last_active.or(self.last_active),
        }
    }
}
