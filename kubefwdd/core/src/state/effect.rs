//! What the state asks of the world. The owner task carries these out in order; results come back as commands.

use std::net::Ipv4Addr;

use kubefwd_model::{Balance, Event, ListenerId, PodName, Selection, ServiceKey, Uid};

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
        uid: Uid,
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
        uid: Uid,
        /// Which listener.
        listener: ListenerId,
    },
    /// Send the worker all that is wanted of it (`State::desired`).
    Tell {
        /// Whose worker.
        uid: Uid,
    },
    /// Tell the worker who may connect (`State::is_access_limited`).
    LimitAccess {
        /// Whose worker.
        uid: Uid,
    },
    /// Run a worker for this user.
    StartWorker {
        /// Whose.
        uid: Uid,
    },
    /// This user wants nothing any more.
    StopWorker {
        /// Whose.
        uid: Uid,
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
    pub selection: Option<Selection>,
    /// How its connections choose a pod.
    pub balance: Balance,
    /// Services wanted by name.
    pub services: Vec<(String, Balance)>,
    /// Services in whose bytes requests are looked for, or are not, whatever the configuration says.
    pub capture: Vec<(String, bool)>,
    /// Differs when what was known of the namespace was forgotten: everything has to be told again.
    pub generation: u64,
}
