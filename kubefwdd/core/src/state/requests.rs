//! What users ask for: adding and removing namespaces and services, and reservations.

use super::Lease;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use kubefwd_model::{
    DottedKey, Event, EventKind, Failure, KeyMatch, NamespaceKey, Options, Reason, Selection,
    ServiceKey, Uid, UnitKey,
};

use super::State;
use super::effect::Effect;

use super::wishes::{ContextWishes, Environment, NamespaceWish, ServiceWish, Terms};
use crate::addresses::{Reservation, ReserveError, Target};

/// Forward a namespace.
#[derive(Clone, Debug)]
pub struct AddNamespace {
    /// Which.
    pub key: NamespaceKey,
    /// The kubeconfig files that define the context.
    pub kubeconfig: Vec<String>,
    /// Which of its services.
    pub selection: Selection,
    /// How.
    pub options: Options,
    /// Ends with this client.
    pub lease: Option<Lease>,
    /// The part of the caller's environment that may be kept on disk; `None` leaves what is known.
    pub environment: Option<Environment>,
}

/// Forward one service.
#[derive(Clone, Debug)]
pub struct AddService {
    /// Which.
    pub key: ServiceKey,
    /// The kubeconfig files that define the context.
    pub kubeconfig: Vec<String>,
    /// Which of its ports; empty: all.
    pub ports: BTreeSet<u16>,
    /// The address it must have.
    pub address: Option<Ipv4Addr>,
    /// How.
    pub options: Options,
    /// Ends with this client.
    pub lease: Option<Lease>,
    /// The part of the caller's environment that may be kept on disk; `None` leaves what is known.
    pub environment: Option<Environment>,
}

/// Which namespaces to remove.
#[derive(Clone, Debug)]
pub enum RemoveNamespaces {
    /// Every one of the user.
    All,
    /// `namespace.context`, or `namespace` where that is unambiguous.
    Named(String),
}

/// Which services to remove.
#[derive(Clone, Debug)]
pub enum RemoveServices {
    /// Every one that was asked for by name.
    All,
    /// `service.namespace.context`, or the front of it where that is unambiguous.
    Named(String),
}

/// Why a request was refused. The text says what, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is there.
    #[error("{what} {key} is forwarded already")]
    Exists {
        /// namespace or service
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// It is not there.
    #[error("{what} {key:?} is not forwarded")]
    Missing {
        /// namespace or service
        what: &'static str,
        /// What was asked for.
        key: String,
        /// The command that lists them.
        list: &'static str,
    },
    /// It could be one of several.
    #[error("{key:?} could be one of: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// What it could be.
        candidates: Vec<String>,
    },
    /// The context is in use from another kubeconfig.
    #[error(
        "context {context:?} is in use from another kubeconfig ({})",
        shown(kubeconfig)
    )]
    OtherKubeconfig {
        /// The context.
        context: String,
        /// Where it is used from.
        kubeconfig: Vec<String>,
    },
    /// The address cannot be had.
    #[error(transparent)]
    Address(#[from] ReserveError),
}

// === impl Refused ===

impl Refused {
    /// For programs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Exists { .. } => Reason::AlreadyExists,
            Self::Missing { .. } => Reason::NotFound,
            Self::Ambiguous { .. } => Reason::InvalidArgument,
            Self::OtherKubeconfig { .. } | Self::Address(_) => Reason::Conflict,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { .. } => "to change how, remove it first".to_owned(),
            Self::Missing { list, .. } => format!("see `kubefwdctl {list}`"),
            Self::Ambiguous { .. } => "give the whole key".to_owned(),
            Self::OtherKubeconfig { .. } => {
                "remove its namespaces first (`kubefwdctl ns ls`), or rename one of the contexts"
                    .to_owned()
            }
            Self::Address(error) => error.hint().to_owned(),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(refused.reason(), refused.to_string()).hint(refused.hint())
    }
}

impl State {
    /// Wants a namespace.
    ///
    /// # Errors
    /// When it is wanted already, or its context is in use from another kubeconfig.
    pub fn add_namespace(&mut self, request: AddNamespace, now: SystemTime) -> Result<(), Refused> {
        let AddNamespace {
            key,
            kubeconfig,
            selection,
            options,
            lease,
            environment,
        } = request;
        self.check_kubeconfig(&key, &kubeconfig)?;
        if self
            .wishes
            .namespace(&key)
            .is_some_and(|wishes| wishes.all.is_some())
        {
            return Err(Refused::Exists {
                what: "namespace",
                key: key.to_string(),
            });
        }
        let terms = self.wishes.new_terms(millis(now), lease);
        let context = self.wish(&key, kubeconfig, environment);
        let wishes = context.namespaces.entry(key.namespace.clone()).or_default();
        wishes.all = Some(NamespaceWish {
            selection,
            removed: BTreeSet::new(),
            options,
            terms,
        });
        self.announce(
            now,
            EventKind::NamespaceAdded,
            &key,
            format!("{key} is forwarded"),
        );
        self.wishes_changed(&key);
        Ok(())
    }

    /// Wants one service. A service that was taken out of a namespace comes back with it.
    ///
    /// # Errors
    /// When it is wanted already, its context is in use from another kubeconfig, or its address cannot be had.
    pub fn add_service(&mut self, request: AddService, now: SystemTime) -> Result<(), Refused> {
        let AddService {
            key,
            kubeconfig,
            ports,
            address,
            options,
            lease,
            environment,
        } = request;
        let namespace = key.namespace_key();
        self.check_kubeconfig(&namespace, &kubeconfig)?;
        let wishes = self.wishes.namespace(&namespace);
        if wishes.is_some_and(|wishes| wishes.services.contains_key(&key.service)) {
            return Err(Refused::Exists {
                what: "service",
                key: key.to_string(),
            });
        }
        if let Some(address) = address {
            let target = Target::Unit(key.unit(None));
            self.reserve(Reservation {
                owner: Some(key.uid),
                target,
                address,
            })?;
        }
        let terms = self.wishes.new_terms(millis(now), lease);
        let context = self.wish(&namespace, kubeconfig, environment);
        let wishes = context.namespaces.entry(key.namespace.clone()).or_default();
        if let Some(all) = &mut wishes.all {
            all.removed.remove(&key.service);
        }
        wishes.services.insert(
            key.service.clone(),
            ServiceWish {
                ports,
                address,
                options,
                terms,
            },
        );
        self.service_wish_changed(&key);
        Ok(())
    }

    /// No longer wants namespaces, nor the services of them that were asked for by name.
    ///
    /// # Errors
    /// When there is none of that name, or several.
    pub fn remove_namespaces(
        &mut self,
        uid: Uid,
        which: &RemoveNamespaces,
        now: SystemTime,
    ) -> Result<Vec<NamespaceKey>, Refused> {
        let wanted: Vec<NamespaceKey> = self
            .wishes
            .namespaces()
            .map(|(key, _)| key)
            .filter(|key| key.uid == uid)
            .collect();
        let gone = match which {
            RemoveNamespaces::All => wanted,
            RemoveNamespaces::Named(name) => {
                vec![one_of(wanted.iter(), name, "namespace", "ns ls")?]
            }
        };
        for key in &gone {
            if let Some(wishes) = self.wishes.namespace_mut(key) {
                wishes.all = None;
                let services: Vec<_> = wishes.services.keys().cloned().collect();
                for service in services {
                    self.drop_service_wish(&key.service(service));
                }
            }
            self.wishes_changed(key);
            let message = format!("{key} is no longer forwarded");
            self.announce(now, EventKind::NamespaceRemoved, key, message);
        }
        Ok(gone)
    }

    /// No longer wants services. One that is wanted as part of its namespace is taken out of it.
    ///
    /// # Errors
    /// When there is none of that name, or several.
    pub fn remove_services(
        &mut self,
        uid: Uid,
        which: &RemoveServices,
    ) -> Result<Vec<ServiceKey>, Refused> {
        let named = self.wishes.namespaces().flat_map(|(namespace, wishes)| {
            let services: Vec<_> = wishes.services.keys().cloned().collect();
            services
                .into_iter()
                .map(move |service| namespace.service(service))
        });
        let wanted: BTreeSet<ServiceKey> = named.filter(|key| key.uid == uid).collect();
        let gone = match which {
            RemoveServices::All => wanted.into_iter().collect(),
            RemoveServices::Named(name) => {
                let own = self.services.keys().filter(|key| key.uid == uid);
                vec![one_of(wanted.iter().chain(own), name, "service", "svc ls")?]
            }
        };
        for key in &gone {
            let namespace = key.namespace_key();
            self.drop_service_wish(key);
            if let Some(wishes) = self.wishes.namespace_mut(&namespace) {
                wishes.capture.remove(&key.service);
                if let Some(all) = &mut wishes.all {
                    all.removed.insert(key.service.clone());
                }
            }
            self.service_wish_changed(key);
        }
        Ok(gone)
    }

    /// Looks for requests in the bytes of a service's new connections from now on, or does not, whatever the configuration
    /// says; until the service is removed.
    ///
    /// # Errors
    /// When there is none of that name, or several.
    pub fn set_capture(&mut self, uid: Uid, name: &str, on: bool) -> Result<ServiceKey, Refused> {
        let own = self.services.keys().filter(|key| key.uid == uid);
        let key = one_of(own, name, "service", "svc ls")?;
        let namespace = key.namespace_key();
        if let Some(wishes) = self.wishes.namespace_mut(&namespace) {
            wishes.capture.insert(key.service.clone(), on);
            self.changed.services.insert(key.clone());
            self.changed.persist = true;
            self.effects.push(Effect::Tell { uid });
        }
        Ok(key)
    }

    /// A client that had a lease is gone: so is what it asked for.
    pub fn end_lease(&mut self, lease: Lease, now: SystemTime) {
        let keys: Vec<NamespaceKey> = self.wishes.namespaces().map(|(key, _)| key).collect();
        for key in keys {
            let Some(wishes) = self.wishes.namespace_mut(&key) else {
                continue;
            };
            let all = wishes.all.take_if(|all| all.terms.lease == Some(lease));
            let leased = wishes
                .services
                .iter()
                .filter(|(_, wish)| wish.terms.lease == Some(lease));
            let services: Vec<_> = leased.map(|(name, _)| name.clone()).collect();
            for service in &services {
                self.drop_service_wish(&key.service(service.clone()));
            }
            if all.is_some() {
                let message = format!("{key} is no longer forwarded: its client disconnected");
                self.announce(now, EventKind::NamespaceRemoved, &key, message);
            }
            if all.is_some() || !services.is_empty() {
                self.wishes_changed(&key);
            }
        }
    }

    /// Keeps an address for what it is meant for; what is forwarded already moves to it.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn reserve(&mut self, reservation: Reservation) -> Result<(), Refused> {
        let target = reservation.target.clone();
        self.addresses.reserve(reservation)?;
        self.changed.persist = true;
        let moves: Vec<UnitKey> = self
            .addresses
            .live()
            .map(|(unit, _)| unit)
            .filter(|unit| match &target {
                Target::Unit(meant) => ***unit == *meant,
                Target::Name(name) => self.names.held(unit).any(|held| held == name),
            })
            .map(|unit| UnitKey::clone(unit))
            .collect();
        for unit in moves {
            let key = ServiceKey::from(&unit);
            self.retire(&key, unit.pod.as_ref());
            self.changed.converge.insert(key);
        }
        Ok(())
    }

    /// Gives a reservation up; what has the address keeps it until it is removed.
    ///
    /// # Errors
    /// When there is none.
    pub fn unreserve(&mut self, owner: Option<Uid>, target: &Target) -> Result<(), Refused> {
        if self.addresses.unreserve(owner, target).is_none() {
            let key = target.to_string();
            return Err(Refused::Missing {
                what: "reservation",
                key,
                list: "reserve ls",
            });
        }
        self.changed.persist = true;
        Ok(())
    }

    fn drop_service_wish(&mut self, key: &ServiceKey) {
        let wishes = self.wishes.namespace_mut(&key.namespace_key());
        let wish = wishes.and_then(|wishes| wishes.services.remove(&key.service));
        if wish.is_some_and(|wish| wish.address.is_some()) {
            self.addresses
                .unreserve(Some(key.uid), &Target::Unit(key.unit(None)));
        }
    }

    fn check_kubeconfig(&self, key: &NamespaceKey, kubeconfig: &[String]) -> Result<(), Refused> {
        let context = self
            .wishes
            .users
            .get(&key.uid)
            .and_then(|user| user.contexts.get(&key.context));
        match context {
            Some(context) if context.kubeconfig != kubeconfig => Err(Refused::OtherKubeconfig {
                context: key.context.to_string(),
                kubeconfig: context.kubeconfig.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn wish(
        &mut self,
        key: &NamespaceKey,
        kubeconfig: Vec<String>,
        environment: Option<Environment>,
    ) -> &mut ContextWishes {
        if !self.wishes.users.contains_key(&key.uid) {
            self.effects.push(Effect::StartWorker { uid: key.uid });
        }
        let user = self.wishes.users.entry(key.uid).or_default();
        if let Some(environment) = environment {
            user.environment = environment.variables;
            user.secrets = environment.secrets;
        }
        let context = user.contexts.entry(key.context.clone()).or_default();
        context.kubeconfig = kubeconfig;
        context
    }

    /// After any change of wishes of a namespace: everything that follows from it.
    fn wishes_changed(&mut self, key: &NamespaceKey) {
        self.follow_wishes(key);
        let runtime = self
            .services
            .keys()
            .filter(|service| service.namespace_key() == *key);
        self.changed.converge.extend(runtime.cloned());
        if let Some(observed) = self.observed.get(key) {
            let services = observed
                .services
                .keys()
                .map(|name| key.service(name.clone()));
            self.changed.converge.extend(services);
        }
    }

    /// The same after a change that concerns one service: the others of its namespace, thousands maybe, stay as they are.
    fn service_wish_changed(&mut self, key: &ServiceKey) {
        let namespace = key.namespace_key();
        self.wishes.prune(key.uid);
        if self.wishes.namespace(&namespace).is_none() {
            self.wishes_changed(&namespace);
            return;
        }
        self.follow_wishes(&namespace);
        self.changed.converge.insert(key.clone());
    }

    /// What follows for the namespace, the worker and what is kept.
    fn follow_wishes(&mut self, key: &NamespaceKey) {
        self.wishes.prune(key.uid);
        if self.wishes.namespace(key).is_some() {
            self.observe(key);
        } else {
            self.observed.remove(key);
            let left = self
                .wishes
                .namespaces()
                .any(|(other, _)| other.context == key.context);
            if !left {
                self.labels.forget(&key.context);
            }
        }
        self.changed.namespaces.insert(key.clone());
        self.changed.persist = true;
        let uid = key.uid;
        self.effects.push(Effect::Tell { uid });
        self.make_room(uid);
        if !self.wishes.users.contains_key(&uid) {
            self.effects.push(Effect::StopWorker { uid });
        }
    }

    fn announce(&mut self, time: SystemTime, kind: EventKind, key: &NamespaceKey, message: String) {
        self.effects.push(Effect::Announce(Event {
            time: time.into(),
            kind,
            uid: key.uid,
            namespace: key.clone(),
            service: None,
            forward: None,
            pod: None,
            message,
        }));
    }
}

/// The one key that is meant: exactly, or by its front part where only one has it.
fn one_of<'k, K: DottedKey + Clone + Ord + 'k>(
    keys: impl Iterator<Item = &'k K>,
    name: &str,
    what: &'static str,
    list: &'static str,
) -> Result<K, Refused> {
    let mut candidates = BTreeSet::new();
    for key in keys {
        match key.matches(name) {
            Some(KeyMatch::Whole) => return Ok(key.clone()),
            Some(KeyMatch::Prefix) => {
                candidates.insert(key);
            }
            None => {}
        }
    }
    if candidates.len() > 1 {
        let candidates = candidates.into_iter().map(ToString::to_string).collect();
        return Err(Refused::Ambiguous {
            key: name.to_owned(),
            candidates,
        });
    }
    let found = candidates.pop_first().cloned();
    found.ok_or_else(|| Refused::Missing {
        what,
        key: name.to_owned(),
        list,
    })
}

fn shown(kubeconfig: &[String]) -> String {
    match kubeconfig {
        [] => "the default one".to_owned(),
        paths => paths.join(":"),
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

// === impl Terms ===

impl Terms {
    /// When the wish was made.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_millis(self.added_at)
    }
}
