//! The persisted form: grouped by namespace, so that thousands of services stay a small file.

use std::net::Ipv4Addr;

use kubefwd_model::{ContextName, NamespaceName, PodName, ServiceName, Uid};
use serde::{Deserialize, Serialize};

use super::Reservation;

/// Everything a pool knows, less the range (which is configuration).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedAddresses {
    /// The namespaces with addresses.
    pub namespaces: Vec<SavedNamespace>,
    /// The reservations.
    pub reservations: Vec<Reservation>,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedNamespace {
    /// The user.
    pub uid: Uid,
    /// The context.
    pub context: ContextName,
    /// The number of the context.
    pub context_number: u32,
    /// The namespace.
    pub namespace: NamespaceName,
    /// The number of the namespace.
    pub number: u32,
    /// The first addresses of the blocks that are its own.
    pub blocks: Vec<Ipv4Addr>,
    /// Its units.
    pub units: Vec<SavedUnit>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedUnit {
    /// The service.
    pub service: ServiceName,
    /// The pod of a headless service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// The address.
    pub address: Ipv4Addr,
    /// When it was released, as a count of releases; none while it was in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<u64>,
}
