//! The index of one namespace, reduced to what forwarding needs.
//!
//! It is fed with lists and changes of three resources and answers two questions: what changed since the last report
//! ([`NamespaceIndex::take_changes`]), and which pods are behind a service ([`NamespaceIndex::endpoints`]). It is a pure
//! state machine: no clock, no runtime, no client. Any order of events that ends in the same objects gives the same answers.

use std::collections::{BTreeSet, HashMap, HashSet};

use kubefwd_proto::worker::v1::ObservedService;

pub(crate) mod filter;
pub(crate) mod object;
mod observe;
mod pods;
mod presence;
pub(crate) mod select;
mod slices;
#[cfg(test)]
mod tests;

use filter::{Filter, Membership};
use object::{Name, Pod, Service, Slice};
use pods::Pods;
use select::Endpoints;
use slices::Slices;

/// An update of one kind of objects.
#[derive(Clone, Debug)]
pub(crate) enum Change<T> {
    /// All objects that exist now.
    Listed(Vec<T>),
    /// One object was added or changed.
    Applied(T),
    /// One object no longer exists, or no longer matches the watch's selector.
    Deleted(Name),
}

/// Everything known of one namespace.
pub(crate) struct NamespaceIndex {
    filter: Filter,
    services: HashMap<Name, Entry>,
    listed: Membership,
    backing: Backing,
    dirty: BTreeSet<Name>,
    reported: HashMap<Name, ObservedService>,
    announced: bool,
}

struct Entry {
    service: Service,
    membership: Membership,
}

/// Where the pods behind services are read from.
enum Backing {
    Slices(Slices),
    Pods(Pods),
    /// The cluster allows neither: services are known, their pods are not.
    Unavailable,
}

/// What the daemon does not know yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// `services` is all there is.
    pub complete: bool,
    /// New and changed services.
    pub services: Vec<ObservedService>,
    /// Services that are gone.
    pub removed: Vec<String>,
    /// Services whose pods may have changed, whether or not the daemon has to know.
    pub touched: Vec<Name>,
    /// The uids of pods that no longer exist; not for the daemon.
    pub gone: BTreeSet<Name>,
}

impl NamespaceIndex {
    /// An empty index that reads pods from EndpointSlices and knows nothing until everything was listed once.
    pub(crate) fn new(filter: Filter) -> Self {
        Self {
            filter,
            services: HashMap::new(),
            listed: Membership::empty(),
            backing: Backing::Slices(Slices::default()),
            dirty: BTreeSet::new(),
            reported: HashMap::new(),
            announced: false,
        }
    }

    /// Applies a change of services from a watch that covers `covers`.
    pub(crate) fn services(&mut self, covers: Membership, change: Change<Service>) {
        match change {
            Change::Listed(services) => {
                for name in absent(&self.services, services.iter().map(|s| &s.name)) {
                    if self.services[&name].membership.intersects(covers) {
                        self.leave(&name, covers);
                    }
                }
                for service in services {
                    self.apply_service(covers, service);
                }
                self.listed |= covers;
            }
            Change::Applied(service) => self.apply_service(covers, service),
            Change::Deleted(name) => self.leave(&name, covers),
        }
    }

    /// Applies a change of EndpointSlices; ignored once pods are read instead.
    pub(crate) fn slices(&mut self, change: Change<Slice>) {
        if let Backing::Slices(slices) = &mut self.backing {
            slices.apply(change, &mut self.dirty);
        }
    }

    /// Switches to pods by selector, because EndpointSlices are not available.
    pub(crate) fn use_pods(&mut self) {
        let mut pods = Pods::default();
        for entry in self.services.values() {
            pods.service_applied(&entry.service);
        }
        self.replace_backing(Backing::Pods(pods));
    }

    /// Gives up on pods, because neither EndpointSlices nor pods are available.
    pub(crate) fn use_nothing(&mut self) {
        self.replace_backing(Backing::Unavailable);
    }

    /// Applies a change of pods; ignored unless [`use_pods`](Self::use_pods) was called.
    pub(crate) fn pods(&mut self, change: Change<Pod>) {
        if let Backing::Pods(pods) = &mut self.backing {
            pods.apply(change, &mut self.dirty);
        }
    }

    /// Whether every kind of object was listed at least once.
    pub(crate) fn is_synced(&self) -> bool {
        let backed = match &self.backing {
            Backing::Slices(slices) => slices.listed,
            Backing::Pods(pods) => pods.listed,
            Backing::Unavailable => true,
        };
        backed && self.listed.contains(self.filter.needs())
    }

    /// Whether there are no services.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// What changed since the last call; `None` when nothing did, or when not everything was listed yet.
    pub(crate) fn take_changes(&mut self) -> Option<Changes> {
        if !self.is_synced() || (self.announced && self.dirty.is_empty()) {
            return None;
        }
        let mut changes = Changes {
            complete: !self.announced,
            ..Changes::default()
        };
        self.announced = true;
        changes.gone = match &mut self.backing {
            Backing::Slices(slices) => slices.presence.take_gone(),
            Backing::Pods(pods) => pods.presence.take_gone(),
            Backing::Unavailable => BTreeSet::new(),
        };
        for name in std::mem::take(&mut self.dirty) {
            match self.observe(&name) {
                Some(observed) if self.reported.get(&name) != Some(&observed) => {
                    self.reported.insert(name.clone(), observed.clone());
                    changes.services.push(observed);
                }
                Some(_) => {}
                None => {
                    if self.reported.remove(&name).is_some() {
                        changes.removed.push(name.to_string());
                    }
                }
            }
            changes.touched.push(name);
        }
        Some(changes)
    }

    /// Whether a pod may exist: where pods cannot be read, any may.
    pub(crate) fn has_pod(&self, uid: &str) -> bool {
        match &self.backing {
            Backing::Slices(slices) => slices.presence.has(uid),
            Backing::Pods(pods) => pods.presence.has(uid),
            Backing::Unavailable => true,
        }
    }

    /// The pods behind a service, by port; empty for a service that does not exist.
    pub(crate) fn endpoints(&self, service: &str) -> Endpoints {
        let Some(entry) = self.services.get(service) else {
            return Endpoints::default();
        };
        match &self.backing {
            Backing::Slices(slices) => slices.endpoints(&entry.service),
            Backing::Pods(pods) => pods.endpoints(&entry.service),
            Backing::Unavailable => Endpoints::default(),
        }
    }

    fn observe(&self, name: &str) -> Option<ObservedService> {
        let entry = self.services.get(name)?;
        let known = !matches!(self.backing, Backing::Unavailable);
        let endpoints = known.then(|| self.endpoints(name));
        let selected = entry.membership.intersects(Membership::SELECTED);
        let endpoints = endpoints.as_ref();
        Some(observe::observe(&entry.service, endpoints, selected))
    }

    fn apply_service(&mut self, covers: Membership, service: Service) {
        let member = self.filter.membership(&service.name) & covers;
        let before = self.services.get(&service.name);
        let before = before.map_or(Membership::empty(), |entry| entry.membership);
        let membership = (before - covers) | member;
        if membership.is_empty() {
            self.leave(&service.name, covers);
            return;
        }
        if let Backing::Pods(pods) = &mut self.backing {
            pods.service_applied(&service);
        }
        let name = service.name.clone();
        self.dirty.insert(name.clone());
        let entry = Entry {
            service,
            membership,
        };
        self.services.insert(name, entry);
    }

    fn leave(&mut self, name: &Name, covers: Membership) {
        let Some(entry) = self.services.get_mut(name) else {
            return;
        };
        self.dirty.insert(name.clone());
        entry.membership -= covers;
        if entry.membership.is_empty() {
            self.services.remove(name);
            if let Backing::Pods(pods) = &mut self.backing {
                pods.service_deleted(name);
            }
        }
    }

    fn replace_backing(&mut self, backing: Backing) {
        self.backing = backing;
        self.dirty.extend(self.services.keys().cloned());
    }
}

/// Removes a name from those under a key, and the key once it has none.
fn remove_from(map: &mut HashMap<Name, BTreeSet<Name>>, key: &Name, name: &Name) {
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
}

/// Known objects that are not in a list: they no longer exist.
fn absent<'a, T>(known: &HashMap<Name, T>, listed: impl Iterator<Item = &'a Name>) -> Vec<Name> {
    let present: HashSet<&Name> = listed.collect();
    let absent = known.keys().filter(|name| !present.contains(name));
    absent.cloned().collect()
}
