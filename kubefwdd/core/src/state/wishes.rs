//! Desired state: what the users asked for. The only part of the state that cannot be found out again, so it is persisted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use kubefwd_model::{
    ContextName, NamespaceKey, NamespaceName, Options, Selection, ServiceKey, ServiceName, Uid,
};
use serde::{Deserialize, Serialize};

/// Everything that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Grows with every wish: names are first come, first served.
    pub next_order: u64,
    /// By user.
    pub users: BTreeMap<Uid, UserWishes>,
}

/// What one user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserWishes {
    /// The part of the user's environment that is no secret, for credential plugins after a restart of the daemon.
    pub environment: BTreeMap<String, String>,
    /// The names of the variables that are left out of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// By context of the user's kubeconfig.
    pub contexts: BTreeMap<ContextName, ContextWishes>,
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
pub struct ContextWishes {
    /// The kubeconfig files that define the context.
    pub kubeconfig: Vec<String>,
    /// By namespace.
    pub namespaces: BTreeMap<NamespaceName, NamespaceWishes>,
}

/// What one user asked for in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceWishes {
    /// The services of the namespace, all or selected.
    pub all: Option<NamespaceWish>,
    /// Services by name.
    pub services: BTreeMap<ServiceName, ServiceWish>,
    /// Whether requests are looked for in the bytes of a service, where that was said; otherwise as the configuration says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capture: BTreeMap<ServiceName, bool>,
}

/// A whole namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceWish {
    /// Which of its services.
    #[serde(with = "saved_selection")]
    pub selection: Selection,
    /// Services that were taken out again one by one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<ServiceName>,
    /// How.
    pub options: Options,
    /// When, and for how long.
    #[serde(flatten)]
    pub terms: Terms,
}

/// One service by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceWish {
    /// Which of its ports; empty: all.
    pub ports: BTreeSet<u16>,
    /// The address that is reserved for it as long as it is wanted.
    pub address: Option<Ipv4Addr>,
    /// How.
    pub options: Options,
    /// When, and for how long.
    #[serde(flatten)]
    pub terms: Terms,
}

/// When a wish was made, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Position among all wishes.
    pub order: u64,
    /// Milliseconds since 1970 (UTC).
    pub added_at: u64,
    /// Set: ends with that client, and is never persisted.
    #[serde(skip)]
    pub lease: Option<Lease>,
}

/// One client's lease: what was added under it is removed when the client exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub u64);

/// What the wishes say about one service that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Which of its ports; empty: all.
    pub ports: BTreeSet<u16>,
    /// How.
    pub options: Options,
    /// The earliest wish that covers it.
    pub order: u64,
}

// === impl Wishes ===

impl Wishes {
    /// The wishes for one namespace.
    pub fn namespace(&self, key: &NamespaceKey) -> Option<&NamespaceWishes> {
        self.users
            .get(&key.uid)?
            .contexts
            .get(&key.context)?
            .namespaces
            .get(&key.namespace)
    }

    /// The wishes for one namespace, to change them.
    pub fn namespace_mut(&mut self, key: &NamespaceKey) -> Option<&mut NamespaceWishes> {
        let contexts = &mut self.users.get_mut(&key.uid)?.contexts;
        contexts
            .get_mut(&key.context)?
            .namespaces
            .get_mut(&key.namespace)
    }

    /// Every namespace that something is wished of.
    pub fn namespaces(&self) -> impl Iterator<Item = (NamespaceKey, &NamespaceWishes)> {
        self.users.iter().flat_map(|(uid, user)| {
            user.contexts.iter().flat_map(move |(context, wishes)| {
                wishes.namespaces.iter().map(move |(namespace, wishes)| {
                    let key = NamespaceKey {
                        uid: *uid,
                        context: context.clone(),
                        namespace: namespace.clone(),
                    };
                    (key, wishes)
                })
            })
        })
    }

    /// The terms of a new wish.
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
            context.namespaces.retain(|_, wishes| !wishes.is_empty());
        }
        user.contexts
            .retain(|_, context| !context.namespaces.is_empty());
        if user.contexts.is_empty() {
            self.users.remove(&uid);
        }
    }

    /// What to write to disk: everything but leases.
    pub fn persistent(&self) -> Self {
        let mut wishes = self.clone();
        for user in wishes.users.values_mut() {
            for namespace in user
                .contexts
                .values_mut()
                .flat_map(|c| c.namespaces.values_mut())
            {
                namespace.all.take_if(|wish| wish.terms.lease.is_some());
                namespace
                    .services
                    .retain(|_, wish| wish.terms.lease.is_none());
            }
        }
        for uid in self.users.keys() {
            wishes.prune(*uid);
        }
        wishes
    }
}

// === impl NamespaceWishes ===

impl NamespaceWishes {
    /// Nothing is wished any more.
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.services.is_empty()
    }

    /// What is wished of one service; `selected` says whether the cluster found it to match the selection.
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
                // The namespace wants every port, whatever the single wish says.
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

/// The names under which version 1 of the state file has a selection.
mod saved_selection {
    use kubefwd_model::Selection;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Saved {
        labels: String,
        fields: String,
        include: Vec<String>,
        exclude: Vec<String>,
    }

    pub(super) fn serialize<S: Serializer>(
        selection: &Selection,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let Selection {
            label_selector,
            field_selector,
            include,
            exclude,
        } = selection.clone();
        let saved = Saved {
            labels: label_selector,
            fields: field_selector,
            include,
            exclude,
        };
        saved.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Selection, D::Error> {
        let Saved {
            labels,
            fields,
            include,
            exclude,
        } = Saved::deserialize(deserializer)?;
        Ok(Selection {
            label_selector: labels,
            field_selector: fields,
            include,
            exclude,
        })
    }
}
