//! What users ask for, as every interface puts it: before the cluster was asked and names were checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use kubefwd_model::{Options, Selection};

use crate::state::Lease;

/// How the caller's worker reaches a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterAccess {
    /// Empty: the kubeconfig's current context.
    pub context: String,
    /// Absolute paths; empty: as the environment says.
    pub kubeconfig: Vec<String>,
    /// The caller's environment; `None` where the interface has none (REST).
    pub environment: Option<BTreeMap<String, String>>,
}

/// A namespace to forward.
#[derive(Clone, Debug, Default)]
pub struct NamespaceRequest {
    /// Where.
    pub access: ClusterAccess,
    /// Which.
    pub namespace: String,
    /// Which of its services.
    pub selection: Selection,
    /// How.
    pub options: Options,
    /// Ends with this client.
    pub lease: Option<Lease>,
    /// Do not ask the cluster first.
    pub defer: bool,
}

/// A service to forward.
#[derive(Clone, Debug, Default)]
pub struct ServiceRequest {
    /// Where.
    pub access: ClusterAccess,
    /// Its namespace; empty: the context's own.
    pub namespace: String,
    /// Which.
    pub service: String,
    /// Which of its ports; empty: all.
    pub ports: BTreeSet<u16>,
    /// The address it must have.
    pub address: Option<Ipv4Addr>,
    /// How.
    pub options: Options,
    /// Ends with this client.
    pub lease: Option<Lease>,
    /// Do not ask the cluster first.
    pub defer: bool,
}

/// Which services to reopen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// All of them.
    All,
    /// Those in error.
    Failed,
    /// Those with these service or forward keys.
    Keys(Vec<String>),
}

// === impl ClusterAccess ===

impl ClusterAccess {
    /// A context of the kubeconfig that the user's worker finds by itself.
    #[must_use]
    pub fn context(context: String) -> Self {
        Self {
            context,
            ..Self::default()
        }
    }
}
