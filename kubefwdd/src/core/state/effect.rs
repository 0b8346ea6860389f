//! What the state asks of the world. The owner task carries these out in order; results come back as commands.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use super::keys::{ListenerId, NamespaceKey, ServiceKey};
use super::wishes::Balance;
use crate::core::names::PodName;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the address local and listen; answered by `State::bound`.
    Bind {
        /// The new listener.
        listener: ListenerId,
        /// Where.
        address: Ipv4Addr,
        /// Where.
        port: u16,
    },
    /// Stop listening; nobody is told.
    Close {
        /// Which.
        listener: ListenerId,
    },
    /// Nothing listens on the address any more: an alias that was added for it can go.
    ReleaseAddress {
        /// Which.
        address: Ipv4Addr,
    },
    /// Hand the listener to the worker; answered by `State::held`.
    Grant {
        /// Whose worker.
        uid: u32,
        /// Which listener.
        listener: ListenerId,
        /// For what.
        service: ServiceKey,
        /// For one pod only.
        pod: Option<PodName>,
        /// The port of the service.
        service_port: u16,
    },
    /// Take the listener from the worker.
    Revoke {
        /// Whose worker.
        uid: u32,
        /// Which listener.
        listener: ListenerId,
    },
    /// Send the worker all that is wanted of it (`State::desired`).
    Tell {
        /// Whose worker.
        uid: u32,
    },
    /// Tell the worker who may connect (`State::is_access_limited`).
    LimitAccess {
        /// Whose worker.
        uid: u32,
    },
    /// Run a worker for this user.
    StartWorker {
        /// Whose.
        uid: u32,
    },
    /// This user wants nothing any more.
    StopWorker {
        /// Whose.
        uid: u32,
    },
    /// Names changed: write `State::hosts_entries` under this revision; answered by `State::hosts_settled`.
    WriteHosts {
        /// Which version of the entries.
        revision: u64,
    },
    /// What must survive a restart changed.
    Persist,
    /// Something that people and programs want to know of.
    Announce(Event),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: SystemTime,
    /// What.
    pub kind: EventKind,
    /// Whose.
    pub uid: u32,
    /// To which namespace.
    pub namespace: NamespaceKey,
    /// To which service.
    pub service: Option<ServiceKey>,
    /// To which forward.
    pub forward: Option<String>,
    /// With which pod.
    pub pod: Option<String>,
    /// One sentence for people.
    pub message: String,
}

/// Kinds of events; the names are those of the REST contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A namespace is wanted.
    NamespaceAdded,
    /// A namespace is not wanted any more.
    NamespaceRemoved,
    /// A service is forwarded, or is listed with the reason why it cannot be.
    ServiceAdded,
    /// A service is not forwarded any more.
    ServiceRemoved,
    /// Its ports, names or address changed.
    ServiceUpdated,
    /// A service or namespace went into error.
    ServiceError,
    /// A forward became usable.
    ForwardConnected,
    /// A forward stopped being usable.
    ForwardDisconnected,
    /// A pod began to serve.
    PodAdded,
    /// A pod stopped serving.
    PodRemoved,
}

/// All that is wanted of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// By context.
    pub contexts: Vec<DesiredContext>,
}

/// What is wanted in one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredContext {
    /// Its name.
    pub name: String,
    /// The files that define it.
    pub kubeconfig: Vec<String>,
    /// What to watch.
    pub namespaces: Vec<DesiredNamespace>,
}

/// What is wanted in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredNamespace {
    /// Its name.
    pub name: String,
    /// Its services, all or some.
    pub selection: Option<super::wishes::Selection>,
    /// How its connections choose a pod.
    pub balance: Balance,
    /// Services wanted by name.
    pub services: Vec<(String, Balance)>,
    /// Services in whose bytes requests are looked for, or are not, whatever the configuration says.
    pub capture: Vec<(String, bool)>,
    /// Differs when what was known of the namespace was forgotten: everything has to be told again.
    pub generation: u64,
}

// === impl EventKind ===

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::NamespaceAdded,
        Self::NamespaceRemoved,
        Self::ServiceAdded,
        Self::ServiceRemoved,
        Self::ServiceUpdated,
        Self::ServiceError,
        Self::ForwardConnected,
        Self::ForwardDisconnected,
        Self::PodAdded,
        Self::PodRemoved,
    ];

    /// The name in REST, SSE and gRPC.
    pub fn name(self) -> &'static str {
        match self {
            Self::NamespaceAdded => "namespace.added",
            Self::NamespaceRemoved => "namespace.removed",
            Self::ServiceAdded => "service.added",
            Self::ServiceRemoved => "service.removed",
            Self::ServiceUpdated => "service.updated",
            Self::ServiceError => "service.error",
            Self::ForwardConnected => "forward.connected",
            Self::ForwardDisconnected => "forward.disconnected",
            Self::PodAdded => "pod.added",
            Self::PodRemoved => "pod.removed",
        }
    }
}
