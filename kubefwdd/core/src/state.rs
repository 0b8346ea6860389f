//! The state and its changes, pure: a request or a report goes in, the state changes, effects come out.
//!
//! Desired state ([`Spec`]) is what users asked for and is persisted. Observed state is what their workers report.
//! What should be forwarded is a function of both ([`converge`](self)); the effects are the difference to what is.
//! One task owns the [`State`], applies [`Command`]s, then calls [`State::settle`] and executes the [`Effect`]s. Readers
//! only ever see the [`View`].

mod access;
mod changes;
mod command;
mod converge;
mod effect;
mod events;
mod forwards;
mod hosts_gate;
mod observed;
mod reports;
mod reservations;
mod spec;
mod suffixes;
#[cfg(test)]
mod tests;
mod view;
mod view_builder;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_model::{HostName, ListenerId, NamespaceKey, PodName, ServiceKey, Uid};
use serde::{Deserialize, Serialize};

use crate::addresses::{AddressPool, AddressRange, Reservation, SavedAddresses};
#[cfg(test)]
use crate::hosts_block::HostsEntries;
use crate::names::{ContextLabels, NameChange, NameRegistry, NameRules};
use crate::policy::Access;

pub use access::shown;
pub use command::{
    AddNamespace, AddService, BindFailure, Command, Origin, Refused, Reply, Report, Which,
};
pub use effect::{Desired, Effect};
pub use observed::{ForwardPhase, ForwardReport, ObservedPort, ObservedService, Phase, Protocol};
pub use spec::{Environment, Lease, NamespaceSpec, Spec};
pub use view::{AllowedSuffix, Changes, DeniedPeer, DeniedPeers, View, WorkerView, changes};

use forwards::{Port, PortRef, ServiceRuntime, Unit};
use hosts_gate::HostsGate;
use observed::ObservedNamespace;

/// What the administrator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Also write each name with `-` for every dot.
    pub dashed_names: bool,
    /// The domains below which users may have names, and what is within them.
    pub domains: Vec<HostName>,
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

impl Settings {
    /// Whether users may have names below this domain.
    fn allows_domain(&self, domain: &HostName) -> bool {
        let mut allowed = self.domains.iter();
        allowed.any(|allowed| domain.is_within(allowed.as_str()))
    }
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
    /// Domains that were allowed before.
    Domains,
    /// The state file at the start.
    Loading,
    /// Saving the state.
    Saving,
}

/// Everything the daemon knows.
pub struct State {
    settings: Settings,
    spec: Spec,
    observed: BTreeMap<NamespaceKey, ObservedNamespace>,
    services: BTreeMap<ServiceKey, ServiceRuntime>,
    listeners: BTreeMap<ListenerId, PortRef>,
    next_listener: u64,
    next_generation: u64,
    addresses: AddressPool,
    names: NameRegistry,
    /// As they are without what root allows.
    rules: Arc<NameRules>,
    /// What root allows.
    allowed_suffixes: BTreeSet<HostName>,
    labels: ContextLabels,
    workers: BTreeMap<Uid, WorkerView>,
    warnings: BTreeMap<Topic, Vec<String>>,
    hosts: HostsGate,
    /// Variables that clients sent before the last restart and that were not kept, by user.
    missing_env: BTreeMap<Uid, BTreeSet<String>>,
    /// Until [`Command::FinishStart`].
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
    /// To be shown again.
    services: BTreeSet<ServiceKey>,
    namespaces: BTreeSet<NamespaceKey>,
    /// Workers whose desired state changed.
    desired: BTreeSet<Uid>,
    /// What was asked for.
    spec: bool,
    view: bool,
    persist: bool,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// What users asked for.
    #[serde(rename = "wishes")]
    pub spec: Spec,
    /// Addresses and who has or had them.
    pub addresses: SavedAddresses,
    /// The label of each context.
    pub labels: ContextLabels,
    /// Names that stay with their user, see [`NameRegistry::save`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<(HostName, ServiceKey)>,
    /// Suffixes that root allows.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_suffixes: BTreeSet<HostName>,
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
            spec,
            addresses,
            labels,
            names: kept_names,
            allowed_suffixes,
            services,
        } = saved;
        let (mut addresses, lost) = AddressPool::restore(settings.range, addresses);
        let refused = configure(&mut addresses, &settings.reservations);
        let warnings = BTreeMap::from([(Topic::Addresses, lost), (Topic::Reservations, refused)]);
        let users = spec.users.iter().filter(|(_, u)| !u.secrets.is_empty());
        let missing_env = users.map(|(uid, user)| (*uid, user.secrets.clone()));
        let missing_env = missing_env.collect();
        let mut state = Self {
            settings,
            spec,
            observed: BTreeMap::new(),
            services: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_listener: 1,
            next_generation: 1,
            addresses,
            names: NameRegistry::default(),
            rules: Arc::new(rules),
            allowed_suffixes,
            labels,
            workers: BTreeMap::new(),
            warnings,
            hosts: HostsGate::new(),
            missing_env,
            starting: true,
            access_limited: false,
            changed: Changed::default(),
            view: View::default(),
            effects: Vec::new(),
        };
        state.names = NameRegistry::restore(state.effective_rules(), kept_names);
        let namespaces: Vec<NamespaceKey> = state.spec.namespaces().map(|(key, _)| key).collect();
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
        let users: Vec<Uid> = state.spec.users.keys().copied().collect();
        for uid in users {
            state.start_worker(uid);
        }
        state.report_domains();
        state.changed.view = true;
        state
    }

    /// What has to survive a restart.
    pub fn save(&self) -> Saved {
        let spec = self.spec.persistent();
        let services = self
            .observed
            .iter()
            .filter(|(key, _)| spec.namespace(key).is_some())
            .flat_map(|(key, namespace)| {
                namespace
                    .services
                    .iter()
                    .map(|(name, service)| (key.service(name.clone()), service.clone()))
            })
            .collect();
        Saved {
            spec,
            addresses: self.addresses.save(),
            labels: self.labels.clone(),
            names: self.names.save(),
            allowed_suffixes: self.allowed_suffixes.clone(),
            services,
        }
    }

    /// Changes the state; what follows from the change comes out of the next [`State::settle`].
    ///
    /// # Errors
    /// When a request is refused; the state is as before then.
    pub fn apply(&mut self, command: Command, now: SystemTime) -> Result<Reply, Refused> {
        match command {
            Command::AddNamespace(request) => self.add_namespace(request, now)?,
            Command::AddService(request) => self.add_service(request, now)?,
            Command::RemoveNamespaces { uid, which } => {
                return self
                    .remove_namespaces(uid, &which, now)
                    .map(Reply::Namespaces);
            }
            Command::RemoveServices { uid, which } => {
                return self.remove_services(uid, &which).map(Reply::Services);
            }
            Command::SetCapture { uid, service, on } => {
                let service = self.set_capture(uid, &service, on)?;
                return Ok(Reply::Services(vec![service]));
            }
            Command::EndLease(lease) => self.end_lease(lease, now),
            Command::Reserve(reservation) => self.reserve(reservation)?,
            Command::Unreserve { uid, target } => self.unreserve(Some(uid), &target)?,
            Command::AllowSuffix(suffix) => self.allow_suffix(suffix)?,
            Command::DenySuffix(suffix) => self.deny_suffix(&suffix)?,
            Command::EnvironmentReceived { uid } => self.environment_received(uid),
            Command::SetSettings(settings) => self.set_settings(*settings),
            Command::SetNameRules(rules) => self.set_name_rules(rules),
            Command::SetWarnings { topic, warnings } => self.set_warnings(topic, warnings),
            Command::RetryFailedPorts => return Ok(Reply::Retrying(self.retry_failed_ports())),
            Command::FinishStart => self.starting = false,
            Command::Ping => {}
            Command::Report(report) => self.reported(report, now),
        }
        Ok(Reply::Done)
    }

    /// Brings everything that changed to what it should be, and takes what has to be done for it.
    pub fn settle(&mut self, now: SystemTime) -> Vec<Effect> {
        for uid in std::mem::take(&mut self.changed.desired) {
            let desired = self.desired(uid);
            self.effects.push(Effect::SendDesired { uid, desired });
        }
        while let Some(key) = self.changed.converge.pop_first() {
            self.converge(&key, now);
            self.changed.services.insert(key);
        }
        if std::mem::take(&mut self.changed.spec) {
            let spec = &self.spec;
            let wanted = |service: &ServiceKey| {
                let namespace = spec.namespace(&service.namespace_key());
                namespace.is_some_and(|spec| spec.plan(service, true).is_some())
            };
            let (moved, waiting) = self.names.forget(|service| !wanted(service));
            self.names_moved(&moved);
            self.changed.services.extend(waiting);
        }
        if let Some((revision, addresses)) = self.hosts.request() {
            let changes = addresses.into_iter();
            let changes = changes.map(|address| (address, self.names_at(address)));
            let changes = changes.collect();
            self.effects.push(Effect::WriteHosts { revision, changes });
        }
        self.settle_access();
        if let Some(version) = self.hosts.assumed() {
            self.hosts_written(version);
        }
        self.refresh_view(now);
        if std::mem::take(&mut self.changed.persist) {
            self.effects.push(Effect::Persist);
        }
        std::mem::take(&mut self.effects)
    }

    /// The snapshot for readers, as of the last [`State::settle`].
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The names that the hosts file is to have for an address.
    fn names_at(&self, address: Ipv4Addr) -> Vec<HostName> {
        let Some(key) = self.addresses.holder(address) else {
            return Vec::new();
        };
        match self.unit(&ServiceKey::from(&**key), key.pod.as_ref()) {
            Some(unit) if unit.named_in.is_some() && !unit.blocked => {
                self.names.held(key).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The names of every unit that can be reached.
    #[cfg(test)]
    fn hosts_entries(&self) -> HostsEntries {
        let units = self
            .services
            .values()
            .flat_map(|service| service.units.values());
        let named = units.map(|unit| (unit.address, self.names_at(unit.address)));
        named.filter(|(_, names)| !names.is_empty()).collect()
    }

    /// All that is wanted of one user's worker.
    fn desired(&self, uid: Uid) -> Desired {
        let contexts = self.spec.users.get(&uid).map(|user| user.contexts.clone());
        let own = self.observed.iter().filter(|(key, _)| key.uid == uid);
        Desired {
            contexts: contexts.unwrap_or_default(),
            generations: own
                .map(|(key, observed)| (key.clone(), observed.generation))
                .collect(),
        }
    }

    /// A client of this user sent its environment, with all that a restart had taken.
    fn environment_received(&mut self, uid: Uid) {
        if self.missing_env.remove(&uid).is_some() {
            let own = self.observed.keys().filter(|key| key.uid == uid);
            self.changed.namespaces.extend(own.cloned());
        }
    }

    /// The administrator changed the configuration. The range of addresses stays as it is until the next start.
    fn set_settings(&mut self, settings: Settings) {
        drop_configured(&mut self.addresses, &settings.reservations);
        let reserved = settings.reservations.iter().cloned();
        let refused: Vec<_> = reserved.map(|r| self.reserve(r)).collect();
        let refused = refused.into_iter().filter_map(Result::err);
        self.set_warnings(
            Topic::Reservations,
            refused.map(|error| error.to_string()).collect(),
        );
        self.changed.view = true;
        // Names are claimed again for each.
        self.changed.converge.extend(self.services.keys().cloned());
        self.settings = Settings {
            // These hold until the next start.
            range: self.settings.range,
            capture: self.settings.capture,
            ..settings
        };
        self.report_domains();
    }

    /// What was asked for below a domain that is no longer allowed stays, and is reported.
    fn report_domains(&mut self) {
        let mut kept = BTreeSet::new();
        for (key, spec) in self.spec.namespaces() {
            let all = spec.all.iter().map(|all| &all.options);
            let each = spec.services.values().map(|one| &one.options);
            for domain in all
                .chain(each)
                .filter_map(|options| options.domain.as_ref())
            {
                if !self.settings.allows_domain(domain) {
                    kept.insert(format!(
                        "{key} keeps names below {domain}, which names.domains no longer lists: add it there, or add {key} again"
                    ));
                }
            }
        }
        self.set_warnings(Topic::Domains, kept.into_iter().collect());
    }

    /// Problems of the daemon itself, shown in its status.
    fn set_warnings(&mut self, topic: Topic, warnings: Vec<String>) {
        let before = self.warnings.insert(topic, warnings);
        self.changed.view |= before.as_ref() != self.warnings.get(&topic);
    }

    fn names_moved(&mut self, moved: &[NameChange]) {
        for change in moved {
            for unit in [&change.from, &change.to].into_iter().flatten() {
                let key = ServiceKey::from(&**unit);
                if let Some(address) = self.unit(&key, unit.pod.as_ref()).map(|unit| unit.address) {
                    self.hosts.mark(address);
                }
                self.changed.services.insert(key);
            }
        }
    }

    /// What a user is called, for people.
    fn user_name(&self, uid: Uid) -> String {
        match self.spec.users.get(&uid) {
            Some(user) if !user.name.is_empty() => user.name.clone(),
            _ => uid.to_string(),
        }
    }

    fn start_worker(&mut self, uid: Uid) {
        let user = self.spec.users.get(&uid);
        let environment = user.map(|user| user.environment.clone());
        self.effects.push(Effect::StartWorker {
            uid,
            environment: environment.unwrap_or_default(),
        });
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

    fn port(&self, place: &PortRef) -> Option<&Port> {
        self.unit(&place.service, place.pod.as_ref())?
            .ports
            .get(&place.local_port)
            .map(Box::as_ref)
    }

    /// A listener's port; also of a unit that was taken away but still listens, since it may be taken back and has to know
    /// what was reported by then.
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
        self.hosts.port_mut(listener)
    }
}

/// Replaces the reservations that came from the configuration by those it has now; what does not fit comes back as text.
fn configure(addresses: &mut AddressPool, configured: &[Reservation]) -> Vec<String> {
    drop_configured(addresses, configured);
    let added = configured
        .iter()
        .map(|reservation| addresses.reserve(reservation.clone()));
    added
        .filter_map(Result::err)
        .map(|error| error.to_string())
        .collect()
}

/// Lifts the reservations of the configuration that it no longer has.
fn drop_configured(addresses: &mut AddressPool, configured: &[Reservation]) {
    let old: Vec<_> = addresses.reservations().collect();
    let gone = old
        .iter()
        .filter(|r| r.owner.is_none() && !configured.contains(r));
    for reservation in gone {
        addresses.unreserve(None, &reservation.target);
    }
}
