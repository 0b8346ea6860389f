//! What a command added, by key.

use std::collections::BTreeSet;

/// What was requested, by the keys that the daemon returned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    /// Keys of namespaces: all their services count.
    pub(crate) namespaces: BTreeSet<String>,
    /// Keys of single services.
    pub(crate) services: BTreeSet<String>,
    /// The first revision at which all of it can be seen.
    pub(crate) revision: u64,
}

impl Targets {
    /// Whether a service was requested, by itself or with its namespace.
    pub(super) fn cover(&self, service: &str, namespace: &str) -> bool {
        self.services.contains(service) || self.namespaces.contains(namespace)
    }

    /// Namespaces, then services.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.namespaces.iter().chain(&self.services);
        keys.map(String::as_str)
    }

    /// Whether nothing was requested, or all of it was refused.
    pub(crate) fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.services.is_empty()
    }

    /// All keys, for messages.
    pub(crate) fn names(&self) -> String {
        self.keys().collect::<Vec<_>>().join(", ")
    }
}
