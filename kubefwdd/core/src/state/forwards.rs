//! What exists of each service: its units (the service itself, or pods of it), their addresses and listeners.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use kubefwd_model::{Failure, ListenerId, PodName, ServiceKey, Traffic};

use super::observed::ForwardReport;

/// One service with all that was made for it.
#[derive(Clone, Debug)]
pub(super) struct ServiceRuntime {
    /// When it was first seen.
    pub(super) since: SystemTime,
    /// Without a pod: the service itself. Boxed as [`Ports`] are.
    pub(super) units: BTreeMap<Option<PodName>, Box<Unit>>,
    /// Why no unit could be made, e.g. no address is free.
    pub(super) error: Option<String>,
}

/// One address with its listeners.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) address: Ipv4Addr,
    /// The version of the hosts file that has its names: set when a listener behind it is held for the first time.
    pub(super) named_in: Option<u64>,
    /// A port that it should have is somebody else's: whoever uses the name could reach them, so it has none.
    pub(super) blocked: bool,
    /// By local port.
    pub(super) ports: Ports,
}

/// Listeners by local port. A node of the map has room for eleven: boxed, a service with one port stays small.
pub(super) type Ports = BTreeMap<u16, Box<Port>>;

/// One listener.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) listener: ListenerId,
    pub(super) service_port: u16,
    pub(super) name: String,
    pub(super) phase: PortPhase,
    pub(super) since: SystemTime,
    /// What the worker says; `None` until it says something.
    pub(super) report: Option<ForwardReport>,
    /// What earlier workers counted.
    pub(super) counted: Traffic,
    /// What this worker counted.
    pub(super) counting: Traffic,
}

/// How far a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortPhase {
    /// The kernel was asked.
    Binding,
    /// Listens; connections wait in its queue.
    Bound,
    /// The worker accepts from it.
    Held,
    /// Cannot listen.
    Failed(Failure),
}

/// Where a listener belongs.
#[derive(Clone, Debug)]
pub(super) struct PortRef {
    pub(super) service: ServiceKey,
    pub(super) pod: Option<PodName>,
    pub(super) local_port: u16,
}

/// What a unit should have: local port to service port and its name.
pub(super) type DesiredPorts = BTreeMap<u16, (u16, String)>;

/// What a service should have, by pod.
pub(super) type DesiredUnits = BTreeMap<Option<PodName>, DesiredPorts>;

// === impl Port ===

impl Port {
    pub(super) fn new(
        listener: ListenerId,
        service_port: u16,
        name: String,
        now: SystemTime,
    ) -> Self {
        Self {
            listener,
            service_port,
            name,
            phase: PortPhase::Binding,
            since: now,
            report: None,
            counted: Traffic::default(),
            counting: Traffic::default(),
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.counted.plus(self.counting)
    }

    /// The worker that counted is gone: keep its sums, start a new count.
    pub(super) fn worker_gone(&mut self) {
        self.counted = Traffic {
            active: 0,
            ..self.traffic()
        };
        self.counting = Traffic::default();
        self.report = None;
        if self.phase == PortPhase::Held {
            self.phase = PortPhase::Bound;
        }
    }
}
