//! What readers see: an immutable snapshot of everything, cheap to clone, published by the state's owner.
//!
//! A new snapshot shares every object that did not change with the one before, so a reader finds the difference
//! between two snapshots by comparing pointers ([`changes`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use kubefwd_model::{
    Counts, HostName, Namespace, NamespaceKey, NamespaceStatus, Service, ServiceKey, Uid, Worker,
};

use crate::addresses::Reservation;
use crate::names::NameRules;

/// Everything, at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Grows with every change.
    pub revision: u64,
    /// What is watched.
    pub namespaces: BTreeMap<NamespaceKey, Arc<Namespace>>,
    /// What is forwarded, and what cannot be with the reason.
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
    /// The processes that do it.
    pub workers: BTreeMap<Uid, WorkerView>,
    /// Problems of the daemon itself.
    pub warnings: Arc<Vec<String>>,
    /// Reserved addresses, of the configuration and of all users.
    pub reservations: Arc<Vec<Reservation>>,
    /// What keeps names from everybody, without what the administrator allows.
    pub rules: Arc<NameRules>,
    /// Suffixes that the administrator allows.
    pub allowed_suffixes: Arc<[AllowedSuffix]>,
    /// Forwarded ports are for their owner, root and the group only.
    pub access_limited: bool,
}

/// A suffix that the administrator allows although names within it could hide something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedSuffix {
    /// The suffix.
    pub suffix: HostName,
    /// By the configuration, and not by a command.
    pub configured: bool,
}

/// A user's worker, and whom it turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The process.
    pub worker: Worker,
    /// Users whose connections it refused.
    pub denied: DeniedPeers,
}

/// A local user whose connections to a user's ports were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedPeer {
    /// The port that was tried last: `service.namespace.context:port`.
    pub port: String,
    /// How many connections.
    pub count: u64,
    /// The last of them.
    pub last: SystemTime,
    /// The same by the clock that is never set.
    pub(super) seen: Instant,
    /// When the log last spoke of it.
    pub(super) logged: Option<Instant>,
}

/// By uid; `None` are connections whose user the kernel does not know.
pub type DeniedPeers = BTreeMap<Option<Uid>, DeniedPeer>;

/// What became different between two snapshots.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New or changed.
    pub namespaces: Vec<Arc<Namespace>>,
    /// New or changed.
    pub services: Vec<Arc<Service>>,
    /// Gone.
    pub removed_namespaces: Vec<NamespaceKey>,
    /// Gone.
    pub removed_services: Vec<ServiceKey>,
}

/// The difference from `old` to `new`.
pub fn changes(old: &View, new: &View) -> Changes {
    let (namespaces, removed_namespaces) = difference(&old.namespaces, &new.namespaces);
    let (services, removed_services) = difference(&old.services, &new.services);
    Changes {
        namespaces,
        services,
        removed_namespaces,
        removed_services,
    }
}

fn difference<K: Ord + Clone, V>(
    old: &BTreeMap<K, Arc<V>>,
    new: &BTreeMap<K, Arc<V>>,
) -> (Vec<Arc<V>>, Vec<K>) {
    let changed = new
        .iter()
        .filter(|(key, value)| {
            !old.get(*key)
                .is_some_and(|before| Arc::ptr_eq(before, value))
        })
        .map(|(_, value)| value.clone())
        .collect();
    let removed = old
        .keys()
        .filter(|key| !new.contains_key(*key))
        .cloned()
        .collect();
    (changed, removed)
}

// === impl View ===

impl View {
    /// Whether names within this suffix could hide servers of the machine's own network.
    #[must_use]
    pub fn is_private(&self, suffix: &HostName) -> bool {
        self.rules.is_private(suffix)
    }

    /// The name of a user with a worker, else the number.
    pub fn user_name(&self, uid: Uid) -> String {
        self.workers
            .get(&uid)
            .map_or_else(|| uid.to_string(), |view| view.worker.user.clone())
    }

    /// The services of a namespace, in order.
    pub fn services_of<'a>(
        &'a self,
        namespace: &NamespaceKey,
    ) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        let found = namespace.services_in(&self.services);
        found.map(|(_, service)| service)
    }

    /// The sums over the services of a namespace.
    pub fn counts_of(&self, namespace: &NamespaceKey) -> Counts {
        let mut counts = Counts::default();
        self.services_of(namespace)
            .for_each(|service| counts.add(service));
        counts
    }

    /// The sums that summaries show, over the objects that `visible` lets through.
    pub fn counts(&self, visible: impl Fn(Uid) -> bool) -> Counts {
        let namespaces = self.namespaces.values().filter(|n| visible(n.key.uid));
        let failed = |n: &&Arc<Namespace>| n.status == NamespaceStatus::Failed;
        let mut counts = Counts {
            errors: namespaces.clone().filter(failed).count(),
            namespaces: namespaces.count(),
            ..Counts::default()
        };
        for (_, service) in self.services.iter().filter(|(key, _)| visible(key.uid)) {
            counts.add(service);
        }
        counts
    }
}
