//! Keys of what is forwarded. The user is part of every key: two users never share anything.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::names::{ContextName, Namespace, PodName, ServiceName, UnitKey};

/// One namespace of one context of one user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespaceKey {
    /// Whose.
    pub uid: u32,
    /// A context of that user's kubeconfig.
    pub context: ContextName,
    /// The namespace.
    pub namespace: Namespace,
}

/// One service of such a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    /// Whose.
    pub uid: u32,
    /// A context of that user's kubeconfig.
    pub context: ContextName,
    /// The namespace.
    pub namespace: Namespace,
    /// The service.
    pub service: ServiceName,
}

/// One listening port: a number that is never used twice in the life of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u64);

/// One client's lease: what was added under it ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub u64);

// === impl NamespaceKey ===

impl NamespaceKey {
    /// The key of one of its services.
    pub fn service(&self, service: ServiceName) -> ServiceKey {
        ServiceKey {
            uid: self.uid,
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            service,
        }
    }
}

/// `namespace.context`
impl fmt::Display for NamespaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.context)
    }
}

// === impl ServiceKey ===

impl ServiceKey {
    /// The key of its namespace.
    pub fn namespace_key(&self) -> NamespaceKey {
        NamespaceKey {
            uid: self.uid,
            context: self.context.clone(),
            namespace: self.namespace.clone(),
        }
    }

    /// The key of what has an address: the service, or one pod of it.
    pub fn unit(&self, pod: Option<PodName>) -> UnitKey {
        UnitKey {
            uid: self.uid,
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            service: self.service.clone(),
            pod,
        }
    }
}

impl From<&UnitKey> for ServiceKey {
    fn from(unit: &UnitKey) -> Self {
        Self {
            uid: unit.uid,
            context: unit.context.clone(),
            namespace: unit.namespace.clone(),
            service: unit.service.clone(),
        }
    }
}

/// `service.namespace.context`
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.service, self.namespace, self.context)
    }
}
