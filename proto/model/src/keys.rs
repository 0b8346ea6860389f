//! Keys of what is forwarded. The user is part of every key: two users never share anything.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ContextName, NamespaceName, PodName, ServiceName, Uid};

/// A namespace in one context of one user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespaceKey {
    /// The user.
    pub uid: Uid,
    /// A context of that user's kubeconfig.
    pub context: ContextName,
    /// The namespace.
    pub namespace: NamespaceName,
}

/// A service of such a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    /// The user.
    pub uid: Uid,
    /// A context of that user's kubeconfig.
    pub context: ContextName,
    /// The namespace.
    pub namespace: NamespaceName,
    /// The service.
    pub service: ServiceName,
}

/// Whatever has names and an address of its own: a service, or one pod of a headless service.
///
/// Clones are cheap: all text in it is shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// The user whose worker serves it.
    pub uid: Uid,
    /// A context of that user's kubeconfig.
    pub context: ContextName,
    /// The namespace of the service.
    pub namespace: NamespaceName,
    /// The service.
    pub service: ServiceName,
    /// The pod, if the service is headless and this is one of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
}

/// How a text matches a key in its dotted form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMatch {
    /// The text is the whole key.
    Whole,
    /// The text is the key up to one of its dots.
    Prefix,
}

/// A key whose text form is names joined by dots. Matching allocates nothing: there may be very many keys.
pub trait DottedKey: fmt::Display {
    /// The names, in the order of the text form.
    fn names(&self) -> impl Iterator<Item = &str>;

    /// Whether `text` is this key, or a prefix of it that ends before a dot.
    fn matches(&self, text: &str) -> Option<KeyMatch> {
        let mut text = text;
        let mut names = self.names().peekable();
        while let Some(name) = names.next() {
            if let Some(rest) = name.strip_prefix(text) {
                return match (rest.is_empty(), names.peek()) {
                    (true, None) => Some(KeyMatch::Whole),
                    (true, Some(_)) => Some(KeyMatch::Prefix),
                    (false, _) => rest.starts_with('.').then_some(KeyMatch::Prefix),
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

    /// Of an ordered map, the entries of this namespace's services, in order. Looks at no others.
    pub fn services_in<'a, V>(
        &self,
        map: &'a BTreeMap<ServiceKey, V>,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a V)> + use<'a, V> {
        let first = self.service(ServiceName::lowest());
        let namespace = self.clone();
        map.range(first..)
            .take_while(move |(key, _)| key.namespace_key() == namespace)
    }
}

impl DottedKey for NamespaceKey {
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

    /// The key of what has an address: the service itself, or one of its pods.
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

impl DottedKey for ServiceKey {
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

// === impl UnitKey ===

/// `pod.service.namespace.context`, or `service.namespace.context` without a pod.
impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pod) = &self.pod {
            write!(f, "{pod}.")?;
        }
        write!(f, "{}.{}.{}", self.service, self.namespace, self.context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by comparing the text form.
    fn matches_text(key: &ServiceKey, text: &str) -> Option<KeyMatch> {
        let whole = key.to_string();
        match whole.strip_prefix(text)? {
            "" => Some(KeyMatch::Whole),
            rest => rest.starts_with('.').then_some(KeyMatch::Prefix),
        }
    }

    fn key(uid: u32, context: &str, namespace: &str, service: &str) -> ServiceKey {
        ServiceKey {
            uid: Uid::new(uid),
            context: ContextName::parse(context).unwrap(),
            namespace: NamespaceName::parse(namespace).unwrap(),
            service: ServiceName::parse(service).unwrap(),
        }
    }

    proptest! {
        /// The range finds what comparing every key finds.
        #[test]
        fn services_of_a_namespace_are_one_range(
            keys in prop::collection::btree_set(
                (0..2u32, "[ab.]{1,2}", "[0a]{1,2}", "[0a]{1,2}"), 0..40),
            wanted in (0..2u32, "[ab.]{1,2}", "[0a]{1,2}"),
        ) {
            let keys = keys.iter().map(|(uid, c, n, s)| (key(*uid, c, n, s), ()));
            let map: BTreeMap<ServiceKey, ()> = keys.collect();
            let (uid, context, namespace) = &wanted;
            let wanted = key(*uid, context, namespace, "a").namespace_key();
            let found: Vec<_> = wanted.services_in(&map).map(|(key, ())| key).collect();
            let compared: Vec<_> = map.keys().filter(|key| key.namespace_key() == wanted).collect();
            prop_assert_eq!(found, compared);
        }

        #[test]
        fn keys_match_like_their_text_form(
            service in "[ab]{1,3}",
            namespace in "[ab]{1,2}",
            context in "[ab.]{1,4}",
            text in "[ab.]{0,9}",
            cut in 0usize..12,
        ) {
            let key = ServiceKey {
                uid: Uid::new(1),
                context: ContextName::parse(&context).unwrap(),
                namespace: NamespaceName::parse(&namespace).unwrap(),
                service: ServiceName::parse(&service).unwrap(),
            };
            let whole = key.to_string();
            let prefix = &whole[..cut.min(whole.len())];
            for text in [text.as_str(), prefix, &whole] {
                prop_assert_eq!(key.matches(text), matches_text(&key, text), "{} {}", key, text);
            }
        }
    }
}
