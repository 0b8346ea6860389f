//! The state and its changes, pure: a request or a report goes in, the state changes, effects come out.
//!
//! Desired state ([`Wishes`]) is what users asked for and is persisted. Observed state is what their workers report.
//! What should be forwarded is a function of both ([`converge`](self)); the effects are the difference to what is.
//! One task owns the [`State`], calls its methods, then [`State::settle`], and carries the [`Effect`]s out. Readers
//! only ever see the [`View`].

mod access;
mod converge;
mod effect;
mod forwards;
mod observed;
mod present;
mod reports;
mod requests;
#[cfg(test)]
mod tests;
mod view;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use kubefwd_model::{
    ContextName, ListenerId, NamespaceKey, NamespaceName, PodName, ServiceKey, Uid,
};
use serde::{Deserialize, Serialize};

use crate::addresses::{AddressPool, AddressRange, Reservation, SavedAddresses};
use crate::hosts_block::HostsEntries;
use crate::names::{ContextLabels, NameChange, NameRegistry, NameRules};
use crate::policy::Access;

pub use access::{DeniedPeer, DeniedPeers, shown};
pub use effect::{Desired, DesiredContext, DesiredNamespace, Effect};
pub use observed::{ForwardPhase, ForwardReport, ObservedPort, ObservedService, Phase, Protocol};
pub use requests::{AddNamespace, AddService, Refused, RemoveNamespaces, RemoveServices};
pub use view::{Changes, View, WorkerView, changes};
pub use wishes::{Environment, Lease, Wishes};

use converge::Retired;
use forwards::{Place, Port, ServiceRuntime, Unit};
use observed::ObservedNamespace;

/// What the administrator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Also write each name with `-` for every dot.
    pub dashed_names: bool,
    /// The most services that one user's worker may report.
    pub max_services_per_user: usize,
    /// Where addresses come from.
    pub range: AddressRange,
    /// Addresses that the configuration sets aside.
    pub reservations: Vec<Reservation>,
    /// Who may connect to forwarded ports.
    pub access: Access,
    /// Whether requests are looked for in forwarded bytes, where nothing else was said of a service.
    pub capture: bool,
}

/// What a warning is about; a new one takes the place of the last about the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The configuration file.
    Configuration,
    /// Addresses that the configuration sets aside.
    Reservations,
    /// Addresses that were had before.
    Addresses,
    /// The state file at the start.
    Loading,
    /// Saving the state.
    Saving,
}

/// Everything the daemon knows.
pub struct State {
    settings: Settings,
    wishes: Wishes,
    observed: BTreeMap<NamespaceKey, ObservedNamespace>,
    services: BTreeMap<ServiceKey, ServiceRuntime>,
    listeners: BTreeMap<ListenerId, Place>,
    next_listener: u64,
    next_generation: u64,
    addresses: AddressPool,
    names: NameRegistry,
    labels: ContextLabels,
    workers: BTreeMap<Uid, WorkerView>,
    warnings: BTreeMap<Topic, Vec<String>>,
    /// Taken away since the hosts file was last asked for.
    retiring: Vec<Retired>,
    /// Taken away, by the version of the hosts file that no longer names them.
    closing: BTreeMap<u64, Vec<Retired>>,
    hosts_revision: u64,
    /// The version that the hosts file is known to have.
    hosts_settled: u64,
    /// The hosts file cannot be written just now.
    hosts_broken: bool,
    /// Variables that clients sent before the last restart and that were not kept, by user.
    lacking: BTreeMap<Uid, BTreeSet<String>>,
    /// Until [`State::started`].
    starting: bool,
    /// What the workers were told, see [`State::is_access_limited`].
    access_limited: bool,
    changed: Changed,
    view: View,
    effects: Vec<Effect>,
}

/// What has to be looked at again.
#[derive(Default)]
struct Changed {
    /// To be compared with what they should have.
    converge: BTreeSet<ServiceKey>,
    /// To be shown anew.
    services: BTreeSet<ServiceKey>,
    namespaces: BTreeSet<NamespaceKey>,
    view: bool,
    hosts: bool,
    persist: bool,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// What users asked for.
    pub wishes: Wishes,
    /// Addresses and who has or had them.
    pub addresses: SavedAddresses,
    /// The label of each context.
    pub labels: ContextLabels,
    /// What was last known of the services, so that they listen and have their names before their cluster answers.
    pub services: Vec<(ServiceKey, ObservedService)>,
}

// === impl State ===

impl State {
    /// The state as it was saved (or `Saved::default()`), under the rules of today.
    ///
    /// The first [`State::settle`] asks for listeners of all services that were known.
    pub fn restore(saved: Saved, settings: Settings, rules: NameRules) -> Self {
        let Saved {
            wishes,
            addresses,
            labels,
            services,
        } = saved;
        let (mut addresses, lost) = AddressPool::restore(settings.range, addresses);
        let refused = configure(&mut addresses, &settings.reservations);
        let warnings = BTreeMap::from([(Topic::Addresses, lost), (Topic::Reservations, refused)]);
        let users = wishes.users.iter().filter(|(_, u)| !u.secrets.is_empty());
        let lacking = users.map(|(uid, user)| (*uid, user.secrets.clone()));
        let lacking = lacking.collect();
        let mut state = Self {
            settings,
            wishes,
            observed: BTreeMap::new(),
            services: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_listener: 1,
            next_generation: 1,
            addresses,
            names: NameRegistry::new(rules),
            labels,
            workers: BTreeMap::new(),
            warnings,
            retiring: Vec::new(),
            closing: BTreeMap::new(),
            hosts_revision: 0,
            hosts_settled: 0,
            hosts_broken: false,
            lacking,
            starting: true,
            access_limited: false,
            changed: Changed::default(),
            view: View::default(),
            effects: Vec::new(),
        };
        let namespaces: Vec<NamespaceKey> = state.wishes.namespaces().map(|(key, _)| key).collect();
        for key in namespaces {
            state.changed.namespaces.insert(key.clone());
            state.observe(&key);
        }
        for (key, service) in services {
            if let Some(namespace) = state.observed.get_mut(&key.namespace_key()) {
                namespace.services.insert(key.service.clone(), service);
                state.changed.converge.insert(key);
            }
        }
        let users: Vec<Uid> = state.wishes.users.keys().copied().collect();
        for uid in users {
            state.effects.push(Effect::StartWorker { uid });
        }
        state.changed.hosts = true;
        state.changed.view = true;
        state
    }

    /// What has to survive a restart.
    pub fn save(&self) -> Saved {
        let wishes = self.wishes.persistent();
        let services = self
            .observed
            .iter()
            .filter(|(key, _)| wishes.namespace(key).is_some())
            .flat_map(|(key, namespace)| {
                namespace
                    .services
                    .iter()
                    .map(|(name, service)| (key.service(name.clone()), service.clone()))
            })
            .collect();
        Saved {
            wishes,
            addresses: self.addresses.save(),
            labels: self.labels.clone(),
            services,
        }
    }

    /// Brings everything that changed to what it should be, and takes what has to be done for it.
    pub fn settle(&mut self, now: SystemTime) -> Vec<Effect> {
        while let Some(key) = self.changed.converge.pop_first() {
            self.converge(&key, now);
            self.changed.services.insert(key);
        }
        if std::mem::take(&mut self.changed.hosts) {
            self.hosts_revision += 1;
            self.effects.push(Effect::WriteHosts {
                revision: self.hosts_revision,
            });
            let retiring = std::mem::take(&mut self.retiring);
            if !retiring.is_empty() {
                self.closing.insert(self.hosts_revision, retiring);
            }
        }
        self.settle_access();
        if self.hosts_broken {
            self.settle_hosts(self.hosts_revision);
        }
        self.refresh_view(now);
        if std::mem::take(&mut self.changed.persist) {
            self.effects.push(Effect::Persist);
        }
        std::mem::take(&mut self.effects)
    }

    /// Everything that was known has been asked for. What listens by now has its name, before a worker holds it: it had it
    /// in the last run too, and whoever connects waits in the listener's queue until the worker is there.
    pub fn started(&mut self) {
        self.starting = false;
    }

    /// The snapshot for readers, as of the last [`State::settle`].
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What users asked for.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// The addresses, who has them, and what is reserved.
    pub fn addresses(&self) -> &AddressPool {
        &self.addresses
    }

    /// The names of every unit that can be reached.
    pub fn hosts_entries(&self) -> HostsEntries {
        let mut entries = HostsEntries::new();
        for (key, runtime) in &self.services {
            for (pod, unit) in runtime
                .units
                .iter()
                .filter(|(_, unit)| unit.named_in.is_some())
            {
                let names: Vec<_> = self.names.held(&key.unit(pod.clone())).cloned().collect();
                if !names.is_empty() {
                    entries.insert(unit.address, names);
                }
            }
        }
        entries
    }

    /// All that is wanted of one user's worker.
    pub fn desired(&self, uid: Uid) -> Desired {
        let Some(user) = self.wishes.users.get(&uid) else {
            return Desired::default();
        };
        let contexts = user
            .contexts
            .iter()
            .map(|(context_name, context)| DesiredContext {
                name: context_name.to_string(),
                kubeconfig: context.kubeconfig.clone(),
                namespaces: context
                    .namespaces
                    .iter()
                    .map(|(name, wishes)| DesiredNamespace {
                        name: name.to_string(),
                        selection: wishes.all.as_ref().map(|all| all.selection.clone()),
                        balance: wishes
                            .all
                            .as_ref()
                            .map(|all| all.options.balance)
                            .unwrap_or_default(),
                        services: wishes
                            .services
                            .iter()
                            .map(|(name, wish)| (name.to_string(), wish.options.balance))
                            .collect(),
                        capture: wishes
                            .capture
                            .iter()
                            .map(|(name, on)| (name.to_string(), *on))
                            .collect(),
                        generation: self.generation(uid, context_name, name),
                    })
                    .collect(),
            });
        Desired {
            contexts: contexts.collect(),
        }
    }

    /// New rules for names: the machine's own names, lines of the hosts file or the configuration changed.
    pub fn set_name_rules(&mut self, rules: NameRules) {
        if *self.names.rules() != rules {
            let moved = self.names.set_rules(rules);
            self.names_moved(&moved);
            self.changed.services.extend(self.services.keys().cloned());
        }
    }

    /// A client of this user sent its environment, with all that a restart had taken.
    pub fn environment_came(&mut self, uid: Uid) {
        if self.lacking.remove(&uid).is_some() {
            let own = self.observed.keys().filter(|key| key.uid == uid);
            self.changed.namespaces.extend(own.cloned());
        }
    }

    /// The rules for names in force.
    pub fn name_rules(&self) -> &NameRules {
        self.names.rules()
    }

    /// The administrator decided anew. The range of addresses stays as it is until the next start.
    pub fn set_settings(&mut self, settings: Settings) {
        let configured: Vec<_> = self.addresses.reservations().collect();
        let configured = configured.iter().filter(|r| r.owner.is_none());
        for gone in configured.filter(|r| !settings.reservations.contains(r)) {
            self.addresses.unreserve(None, &gone.target);
        }
        let reserved = settings.reservations.iter().cloned();
        let refused: Vec<_> = reserved.map(|r| self.reserve(r)).collect();
        let refused = refused.into_iter().filter_map(Result::err);
        self.set_warnings(
            Topic::Reservations,
            refused.map(|error| error.to_string()).collect(),
        );
        // Names are claimed anew for each.
        self.changed.converge.extend(self.services.keys().cloned());
        self.settings = Settings {
            // These hold until the next start.
            range: self.settings.range,
            capture: self.settings.capture,
            ..settings
        };
    }

    /// Problems of the daemon itself, shown in its status.
    pub fn set_warnings(&mut self, topic: Topic, warnings: Vec<String>) {
        let before = self.warnings.insert(topic, warnings);
        self.changed.view |= before.as_ref() != self.warnings.get(&topic);
    }

    fn names_moved(&mut self, moved: &[NameChange]) {
        for change in moved {
            for unit in [&change.from, &change.to].into_iter().flatten() {
                self.changed.services.insert(ServiceKey::from(&**unit));
            }
        }
        self.changed.hosts |= !moved.is_empty();
    }

    /// Begins to know something of a namespace, if nothing is known yet.
    fn observe(&mut self, key: &NamespaceKey) {
        let generation = self.next_generation;
        let observed = self
            .observed
            .entry(key.clone())
            .or_insert_with(|| ObservedNamespace {
                generation,
                ..ObservedNamespace::default()
            });
        if observed.generation == generation {
            self.next_generation += 1;
        }
    }

    fn generation(&self, uid: Uid, context: &ContextName, namespace: &NamespaceName) -> u64 {
        let key = NamespaceKey {
            uid,
            context: context.clone(),
            namespace: namespace.clone(),
        };
        self.observed
            .get(&key)
            .map_or(0, |observed| observed.generation)
    }

    fn observed_service(&self, key: &ServiceKey) -> Option<&ObservedService> {
        self.observed
            .get(&key.namespace_key())?
            .services
            .get(&key.service)
    }

    fn unit(&self, key: &ServiceKey, pod: Option<&PodName>) -> Option<&Unit> {
        let units = &self.services.get(key)?.units;
        units.get(&pod.cloned()).map(Box::as_ref)
    }

    fn port(&self, place: &Place) -> Option<&Port> {
        self.unit(&place.service, place.pod.as_ref())?
            .ports
            .get(&place.local_port)
            .map(Box::as_ref)
    }

    /// A listener's port; also of a unit that was taken away but is still open, since it may be taken back and has to know
    /// what was said meanwhile.
    fn port_mut(&mut self, listener: ListenerId) -> Option<&mut Port> {
        let place = self.listeners.get(&listener)?;
        let unit = self
            .services
            .get_mut(&place.service)
            .and_then(|runtime| runtime.units.get_mut(&place.pod))
            .and_then(|unit| unit.ports.get_mut(&place.local_port))
            .filter(|port| port.listener == listener);
        if unit.is_some() {
            return unit.map(Box::as_mut);
        }
        let waiting = self
            .closing
            .values_mut()
            .flatten()
            .chain(&mut self.retiring);
        let mut ports = waiting.flat_map(|retired| retired.ports.values_mut());
        ports
            .find(|port| port.listener == listener)
            .map(Box::as_mut)
    }
}

/// Replaces the reservations that came from the configuration by those it has now; what does not fit comes back as text.
fn configure(addresses: &mut AddressPool, configured: &[Reservation]) -> Vec<String> {
    let old: Vec<_> = addresses
        .reservations()
        .filter(|r| r.owner.is_none())
        .collect();
    for reservation in old.iter().filter(|r| !configured.contains(r)) {
        addresses.unreserve(None, &reservation.target);
    }
    let added = configured
        .iter()
        .map(|reservation| addresses.reserve(reservation.clone()));
    added
        .filter_map(Result::err)
        .map(|error| error.to_string())
        .collect()
}
