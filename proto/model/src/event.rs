//! What happened to namespaces, services, forwards and pods.

use crate::words::words;
use crate::{NamespaceKey, ServiceKey, Time, Uid};

words! {
    /// Kinds of events.
    pub enum EventKind {
        /// A namespace was asked for.
        NamespaceAdded = "namespace.added",
        /// A namespace is no longer forwarded.
        NamespaceRemoved = "namespace.removed",
        /// A service is forwarded, or listed with the reason why it cannot be.
        ServiceAdded = "service.added",
        /// A service is no longer forwarded.
        ServiceRemoved = "service.removed",
        /// Its ports, names or address changed.
        ServiceUpdated = "service.updated",
        /// A service or namespace went into error.
        ServiceError = "service.error",
        /// A forward became usable.
        ForwardConnected = "forward.connected",
        /// A forward is no longer usable.
        ForwardDisconnected = "forward.disconnected",
        /// A pod began to serve.
        PodAdded = "pod.added",
        /// A pod stopped serving.
        PodRemoved = "pod.removed",
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub time: Time,
    /// What happened.
    pub kind: EventKind,
    /// The user it concerns.
    pub uid: Uid,
    /// The namespace it concerns.
    pub namespace: NamespaceKey,
    /// The service it concerns.
    pub service: Option<ServiceKey>,
    /// The key of the forward it concerns.
    pub forward: Option<String>,
    /// The pod it concerns.
    pub pod: Option<String>,
    /// One sentence for people.
    pub message: String,
}
