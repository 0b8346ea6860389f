//! A service that is forwarded, or is listed with the reason why it cannot be.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::Serialize;

use crate::words::words;
use crate::{Forward, ForwardStatus, HostName, ServiceKey, Time};

words! {
    /// The status of a service: the sum of its forwards.
    pub enum ServiceStatus {
        /// Every forward is active.
        Active = "active",
        /// No forward is active, and at least one is in error.
        Error = "error",
        /// Some forwards are active, some are not.
        Partial = "partial",
        /// Being set up, or no pod is ready.
        Pending = "pending",
        /// Cannot be forwarded at all: neither active nor an error.
        Unsupported = "unsupported",
    }
}

/// A service with its forwards.
// Serialized without its key, addresses and forwards: `entry::ServiceEntry` adds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Service {
    /// Whose service, in which context and namespace.
    #[serde(skip)]
    pub key: ServiceKey,
    /// Has no cluster IP: each ready pod has an address of its own.
    pub headless: bool,
    /// The sum of its forwards.
    pub status: ServiceStatus,
    /// Why it is not (fully) active; empty when it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_reason: String,
    /// What to do about that; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Its own address, once it has one.
    #[serde(skip)]
    pub address: Option<Ipv4Addr>,
    /// Names that resolve to that address.
    #[serde(skip)]
    pub hostnames: Arc<[HostName]>,
    /// Names it asked for and did not get.
    pub refused_names: Vec<RefusedName>,
    /// Its forwards, by pod and local port.
    #[serde(skip)]
    pub forwards: Vec<Forward>,
    /// Pods that are ready.
    pub ready_pods: u32,
    /// Pods behind it, ready or not.
    pub total_pods: u32,
    /// Ports that cannot be forwarded, with the reason.
    pub skipped_ports: Vec<String>,
    /// HTTP requests in its traffic are recorded.
    pub capture: bool,
    /// When it was first seen.
    #[serde(skip)]
    pub since: Time,
}

/// A name that a service asked for and did not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefusedName {
    /// The name.
    pub name: String,
    /// Why it was refused.
    pub reason: String,
    /// What to do about that; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

// === impl Service ===

impl Service {
    /// Whether at least one of its forwards works.
    pub fn is_active(&self) -> bool {
        matches!(self.status, ServiceStatus::Active | ServiceStatus::Partial)
    }

    /// Its address and the names that resolve to it; of a headless service without one, those of its first pod.
    pub fn address(&self) -> Option<(Ipv4Addr, &Arc<[HostName]>)> {
        match (self.address, self.forwards.first()) {
            (Some(address), _) => Some((address, &self.hostnames)),
            (None, Some(first)) => Some((first.address, &first.hostnames)),
            (None, None) => None,
        }
    }

    /// How many of its forwards have this status.
    pub fn count(&self, status: ForwardStatus) -> usize {
        let has = |forward: &&Forward| forward.status == status;
        self.forwards.iter().filter(has).count()
    }
}
