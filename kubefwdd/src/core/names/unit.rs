//! The key of whatever gets names and an address of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ContextName, Namespace, PodName, ServiceName};

/// One thing with names and an address of its own: a service, or one pod of a headless service.
///
/// The user is part of the key: two users with the same context name never share a unit.
/// Clones are cheap, all text in it is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// The user whose worker serves it.
    pub uid: u32,
    /// The context of that user's kubeconfig.
    pub context: ContextName,
    /// The namespace of the service.
    pub namespace: Namespace,
    /// The service.
    pub service: ServiceName,
    /// The pod, where the service is headless and this is one of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
}

/// `pod.service.namespace.context`, the form that the REST contract calls a key.
impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pod) = &self.pod {
            write!(f, "{pod}.")?;
        }
        write!(f, "{}.{}.{}", self.service, self.namespace, self.context)
    }
}
