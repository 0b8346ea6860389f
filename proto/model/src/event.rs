//! What happened to namespaces, services, forwards and pods.

use serde::Serialize;

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
// Serialized without its keys: each interface shows them in its own way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// When it happened.
    #[serde(rename = "timestamp")]
    pub time: Time,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The user it concerns.
    #[serde(skip)]
    pub uid: Uid,
    /// The namespace it concerns.
    #[serde(skip)]
    pub namespace: NamespaceKey,
    /// The service it concerns.
    #[serde(skip)]
    pub service: Option<ServiceKey>,
    /// The key of the forward it concerns.
    #[serde(rename = "forwardKey", skip_serializing_if = "Option::is_none")]
    pub forward: Option<String>,
    /// The pod it concerns.
    #[serde(rename = "podName", skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// One sentence for people.
    pub message: String,
}
