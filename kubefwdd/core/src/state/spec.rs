//! Desired state: what the users asked for. The only part of the state that cannot be found out again, so it is persisted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use kubefwd_model::{
    ContextName, NamespaceKey, NamespaceName, Options, Selection, ServiceKey, ServiceName, Uid,
};
use serde::{Deserialize, Serialize};

/// Everything that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Grows with every request: names are first come, first served.
    pub next_order: u64,
    /// By user.
    pub users: BTreeMap<Uid, UserSpec>,
}

/// What one user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The login name, as it was when something was last asked for; empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The part of the user's environment that is not secret, for credential plugins after a restart of the daemon.
    pub environment: BTreeMap<String, String>,
    /// The names of the variables that are left out of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// By context of the user's kubeconfig.
    pub contexts: BTreeMap<ContextName, ContextSpec>,
}

/// What is kept of the environment that a client sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Without secrets.
    pub variables: BTreeMap<String, String>,
    /// The names of those that are secrets.
    pub secrets: BTreeSet<String>,
}

/// What one user asked for in one context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSpec {
    /// The kubeconfig files that define the context.
    pub kubeconfig: Vec<String>,
    /// By namespace.
    pub namespaces: BTreeMap<NamespaceName, NamespaceSpec>,
}

/// What one user asked for in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSpec {
    /// The services of the namespace, all or selected.
    pub all: Option<AllServices>,
    /// Services by name.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Whether HTTP requests are recorded, by service; otherwise as the configuration says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capture: BTreeMap<ServiceName, bool>,
}

/// A whole namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllServices {
    /// Which of its services.
    #[serde(with = "SavedSelection")]
    pub selection: Selection,
    /// Services that were taken out again one by one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<ServiceName>,
    /// How to forward.
    pub options: Options,
    /// When it was asked for, and for how long.
    #[serde(flatten)]
    pub terms: Terms,
}

/// One service by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Which of its ports; empty: all.
    pub ports: BTreeSet<u16>,
    /// The address that is reserved for it as long as it is wanted.
    pub address: Option<Ipv4Addr>,
    /// How to forward.
    pub options: Options,
    /// When it was asked for, and for how long.
    #[serde(flatten)]
    pub terms: Terms,
}

/// When something was asked for, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Position among all requests.
    pub order: u64,
    /// Milliseconds since 1970 (UTC).
    pub added_at: u64,
    /// Removed when that client exits, and never persisted.
    #[serde(skip)]
    pub lease: Option<Lease>,
}

/// One client's lease: what was added under it is removed when the client exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub u64);

/// What was asked for of one service that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Which of its ports; empty: all.
    pub ports: BTreeSet<u16>,
    /// How to forward.
    pub options: Options,
    /// The earliest request that covers it.
    pub order: u64,
}

// === impl Spec ===

impl Spec {
    /// What was asked for in one namespace.
    pub fn namespace(&self, key: &NamespaceKey) -> Option<&NamespaceSpec> {
        self.users
            .get(&key.uid)?
            .contexts
            .get(&key.context)?
            .namespaces
            .get(&key.namespace)
    }

    /// What was asked for in one namespace, to change it.
    pub fn namespace_mut(&mut self, key: &NamespaceKey) -> Option<&mut NamespaceSpec> {
        let contexts = &mut self.users.get_mut(&key.uid)?.contexts;
        contexts
            .get_mut(&key.context)?
            .namespaces
            .get_mut(&key.namespace)
    }

    /// Every namespace that something was asked for in.
    pub fn namespaces(&self) -> impl Iterator<Item = (NamespaceKey, &NamespaceSpec)> {
        self.users.iter().flat_map(|(uid, user)| {
            user.contexts.iter().flat_map(move |(context, spec)| {
                spec.namespaces.iter().map(move |(namespace, spec)| {
                    let key = NamespaceKey {
                        uid: *uid,
                        context: context.clone(),
                        namespace: namespace.clone(),
                    };
                    (key, spec)
                })
            })
        })
    }

    /// The terms of a new request.
    pub fn new_terms(&mut self, added_at: u64, lease: Option<Lease>) -> Terms {
        let order = self.next_order;
        self.next_order += 1;
        Terms {
            order,
            added_at,
            lease,
        }
    }

    /// Drops what became empty, so that nothing is kept for a user who wants nothing.
    pub fn prune(&mut self, uid: Uid) {
        let Some(user) = self.users.get_mut(&uid) else {
            return;
        };
        for context in user.contexts.values_mut() {
            context.namespaces.retain(|_, spec| !spec.is_empty());
        }
        user.contexts
            .retain(|_, context| !context.namespaces.is_empty());
        if user.contexts.is_empty() {
            self.users.remove(&uid);
        }
    }

    /// What to write to disk: everything but leases.
    pub fn persistent(&self) -> Self {
        let mut spec = self.clone();
        for user in spec.users.values_mut() {
            for namespace in user
                .contexts
                .values_mut()
                .flat_map(|c| c.namespaces.values_mut())
            {
                namespace.all.take_if(|spec| spec.terms.lease.is_some());
                namespace
                    .services
                    .retain(|_, spec| spec.terms.lease.is_none());
            }
        }
        for uid in self.users.keys() {
            spec.prune(*uid);
        }
        spec
    }
}

// === impl NamespaceSpec ===

impl NamespaceSpec {
    /// Nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.services.is_empty()
    }

    /// What was asked for of one service; `selected` says whether the cluster found it to match the selection.
    pub fn plan(&self, service: &ServiceKey, selected: bool) -> Option<ServicePlan> {
        let all = self
            .all
            .as_ref()
            .filter(|all| selected && !all.removed.contains(&service.service));
        match (all, self.services.get(&service.service)) {
            (None, None) => None,
            (Some(all), None) => Some(ServicePlan {
                ports: BTreeSet::new(),
                options: all.options.clone(),
                order: all.terms.order,
            }),
            (all, Some(one)) => Some(ServicePlan {
                // The namespace has every port, whatever the single service asked for.
                ports: if all.is_some() {
                    BTreeSet::new()
                } else {
                    one.ports.clone()
                },
                options: one.options.clone(),
                order: all.map_or(one.terms.order, |all| all.terms.order.min(one.terms.order)),
            }),
        }
    }
}

// === impl Terms ===

impl Terms {
    /// When it was asked for.
    pub fn time(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(self.added_at)
    }
}

/// The names under which version 1 of the state file has a selection.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Selection")]
struct SavedSelection {
    #[serde(rename = "labels")]
    label_selector: String,
    #[serde(rename = "fields")]
    field_selector: String,
    include: Vec<String>,
    exclude: Vec<String>,
}
