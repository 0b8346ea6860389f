//! How services are forwarded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::HostName;
use crate::words::words;

words! {
    /// How a new connection picks one of the ready pods.
    #[derive(Default)]
    pub enum Balance {
        /// One pod serves every connection while it is ready.
        #[default]
        Primary = "primary",
        /// Pods take turns.
        RoundRobin = "round-robin",
        /// The pod with the fewest open connections.
        LeastConnections = "least-connections",
    }
}

/// Options that hold for everything one request adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Local port by service port, where they differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub port_mappings: BTreeMap<u16, u16>,
    /// Also `svc.DOMAIN` and `svc.ns.svc.cluster.DOMAIN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<HostName>,
    /// Which pod serves a new connection.
    #[serde(default)]
    pub balance: Balance,
}
