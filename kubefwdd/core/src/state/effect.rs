//! What the state asks of the system, as data. Results come back as commands.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use kubefwd_model::{
    ContextName, Event, HostName, ListenerId, NamespaceKey, PodName, ServiceKey, Uid,
};

use super::spec::ContextSpec;

/// One thing to do. Effects are executed in order; nothing of the state has to be read for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the address local and listen; answered by [`Report::Bound`](super::Report::Bound).
    Bind {
        /// Whose socket it is to be.
        uid: Uid,
        /// The new listener.
        listener: ListenerId,
        /// The address to listen on.
        address: Ipv4Addr,
        /// The port to listen on.
        port: u16,
    },
    /// Stop listening; nobody is told.
    Close {
        /// The listener.
        listener: ListenerId,
    },
    /// Nothing listens on the address now: an alias that was added for it can go.
    ReleaseAddress {
        /// The address.
        address: Ipv4Addr,
    },
    /// Hand the listener to the worker; answered by [`Report::Held`](super::Report::Held).
    Grant {
        /// The worker's user.
        uid: Uid,
        /// The listener.
        listener: ListenerId,
        /// The service it is for.
        service: ServiceKey,
        /// The only pod it is for.
        pod: Option<PodName>,
        /// The port of the service.
        service_port: u16,
    },
    /// Take the listener from the worker.
    Revoke {
        /// The worker's user.
        uid: Uid,
        /// The listener.
        listener: ListenerId,
    },
    /// Send the worker its desired state.
    SendDesired {
        /// The worker's user.
        uid: Uid,
        /// All that is wanted of it.
        desired: Desired,
    },
    /// Tell the worker who may connect.
    LimitAccess {
        /// The worker's user.
        uid: Uid,
        /// Only the user, root and the group; otherwise every local user.
        limited: bool,
    },
    /// Run a worker for this user.
    StartWorker {
        /// The user.
        uid: Uid,
        /// What is known of the user's environment.
        environment: BTreeMap<String, String>,
    },
    /// This user no longer forwards anything.
    StopWorker {
        /// The user.
        uid: Uid,
    },
    /// Names changed; answered by [`Report::HostsWritten`](super::Report::HostsWritten).
    WriteHosts {
        /// The version of the entries that has the changes.
        revision: u64,
        /// The names of each address that changed; none where it has none.
        changes: Vec<(Ipv4Addr, Vec<HostName>)>,
    },
    /// What must survive a restart changed: [`State::save`](super::State::save) has it.
    Persist,
    /// Something that people and programs want to know of.
    Announce(Event),
    /// Something about a user for the log.
    Warn {
        /// The user.
        uid: Uid,
        /// What happened.
        message: String,
    },
}

/// All that is wanted of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// What its user asked for.
    pub contexts: BTreeMap<ContextName, ContextSpec>,
    /// Differs when what was known of the namespace was forgotten: everything has to be reported again.
    pub generations: BTreeMap<NamespaceKey, u64>,
}
