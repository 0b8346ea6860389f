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

/// How a text and a key as it is written are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// From the first to the last character.
    Whole,
    /// The text is what stands before a dot of the key.
    Front,
}

/// A key that is written as names with dots between them, and compared without being written: there may be very many.
pub(super) trait Written: fmt::Display {
    /// Its names, in the order in which they are written.
    fn names(&self) -> impl Iterator<Item = &str>;

    /// Whether a text means this key.
    fn matches(&self, text: &str) -> Option<Match> {
        let mut text = text;
        let mut names = self.names().peekable();
        while let Some(name) = names.next() {
            if let Some(rest) = name.strip_prefix(text) {
                return match (rest.is_empty(), names.peek()) {
                    (true, None) => Some(Match::Whole),
                    (true, Some(_)) => Some(Match::Front),
                    (false, _) => rest.starts_with('.').then_some(Match::Front),
                };
            }
            text = text.strip_prefix(name)?.strip_prefix('.')?;
        }
        None
    }
}

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

impl Written for NamespaceKey {
    fn names(&self) -> impl Iterator<Item = &str> {
        [self.namespace.as_str(), self.context.as_str()].into_iter()
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

impl Written for ServiceKey {
    fn names(&self) -> impl Iterator<Item = &str> {
        let Self {
            service,
            namespace,
            context,
            ..
        } = self;
        [service.as_str(), namespace.as_str(), context.as_str()].into_iter()
    }
}

/// `service.namespace.context`
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.service, self.namespace, self.context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the text means, seen in the key as it is written.
    fn as_written(key: &ServiceKey, text: &str) -> Option<Match> {
        let written = key.to_string();
        match written.strip_prefix(text)? {
            "" => Some(Match::Whole),
            rest => rest.starts_with('.').then_some(Match::Front),
        }
    }

    proptest! {
        #[test]
        fn a_key_is_compared_as_if_it_were_written(
            service in "[ab]{1,3}",
            namespace in "[ab]{1,2}",
            context in "[ab.]{1,4}",
            text in "[ab.]{0,9}",
            cut in 0usize..12,
        ) {
            let key = ServiceKey {
                uid: 1,
                context: ContextName::parse(&context).unwrap(),
                namespace: Namespace::parse(&namespace).unwrap(),
                service: ServiceName::parse(&service).unwrap(),
            };
            let written = key.to_string();
            let front = &written[..cut.min(written.len())];
            for text in [text.as_str(), front, &written] {
                prop_assert_eq!(key.matches(text), as_written(&key, text), "{} {}", key, text);
            }
        }
    }
}
