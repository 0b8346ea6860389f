//! What users ask for: adding and removing namespaces and services.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use kubefwd_model::{
    DottedKey, Event, EventKind, KeyMatch, NamespaceKey, Options, ServiceKey, Uid,
};

use super::State;
use super::command::{AddNamespace, AddService, MAX_REQUESTS, Origin, Refused, Which};
use super::effect::Effect;
use super::spec::{AllServices, ContextSpec, Lease, ServiceSpec};
use crate::addresses::{Reservation, Target};

impl State {
    /// Forwards a namespace.
    ///
    /// # Errors
    /// When it is forwarded already, or its context is in use from another kubeconfig.
    pub(super) fn add_namespace(
        &mut self,
        request: AddNamespace,
        now: SystemTime,
    ) -> Result<(), Refused> {
        let AddNamespace {
            key,
            selection,
            options,
            origin,
        } = request;
        self.check_room(key.uid)?;
        self.check_domain(&options)?;
        self.check_kubeconfig(&key, &origin.kubeconfig)?;
        if self
            .spec
            .namespace(&key)
            .is_some_and(|spec| spec.all.is_some())
        {
            return Err(Refused::Exists {
                what: "namespace",
                key: key.to_string(),
            });
        }
        let terms = self.spec.new_terms(millis(now), origin.lease);
        let context = self.context_spec(&key, origin);
        let spec = context.namespaces.entry(key.namespace.clone()).or_default();
        spec.all = Some(AllServices {
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
        self.spec_changed(&key);
        Ok(())
    }

    /// Forwards one service. A service that was taken out of a namespace comes back with it.
    ///
    /// # Errors
    /// When it is forwarded already, its context is in use from another kubeconfig, or its address is not available.
    pub(super) fn add_service(
        &mut self,
        request: AddService,
        now: SystemTime,
    ) -> Result<(), Refused> {
        let AddService {
            key,
            ports,
            address,
            options,
            origin,
        } = request;
        let namespace = key.namespace_key();
        self.check_room(key.uid)?;
        self.check_domain(&options)?;
        self.check_kubeconfig(&namespace, &origin.kubeconfig)?;
        let spec = self.spec.namespace(&namespace);
        if spec.is_some_and(|spec| spec.services.contains_key(&key.service)) {
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
        let terms = self.spec.new_terms(millis(now), origin.lease);
        let context = self.context_spec(&namespace, origin);
        let spec = context.namespaces.entry(key.namespace.clone()).or_default();
        if let Some(all) = &mut spec.all {
            all.removed.remove(&key.service);
        }
        spec.services.insert(
            key.service.clone(),
            ServiceSpec {
                ports,
                address,
                options,
                terms,
            },
        );
        self.service_spec_changed(&key);
        Ok(())
    }

    /// Stops forwarding namespaces, and the services of them that were added by name.
    ///
    /// # Errors
    /// When there is none of that name, or several.
    pub(super) fn remove_namespaces(
        &mut self,
        uid: Uid,
        which: &Which,
        now: SystemTime,
    ) -> Result<Vec<NamespaceKey>, Refused> {
        let wanted: Vec<NamespaceKey> = self
            .spec
            .namespaces()
            .map(|(key, _)| key)
            .filter(|key| key.uid == uid)
            .collect();
        let gone = match which {
            Which::All => wanted,
            Which::Named(name) => {
                vec![one_of(wanted.iter(), name, "namespace", "ns ls")?]
            }
        };
        for key in &gone {
            if let Some(spec) = self.spec.namespace_mut(key) {
                spec.all = None;
                let services: Vec<_> = spec.services.keys().cloned().collect();
                for service in services {
                    self.drop_service_spec(&key.service(service));
                }
            }
            self.spec_changed(key);
            let message = format!("{key} is no longer forwarded");
            self.announce(now, EventKind::NamespaceRemoved, key, message);
        }
        Ok(gone)
    }

    /// Stops forwarding services. One that is forwarded as part of its namespace is taken out of it.
    ///
    /// # Errors
    /// When there is none of that name, or several.
    pub(super) fn remove_services(
        &mut self,
        uid: Uid,
        which: &Which,
    ) -> Result<Vec<ServiceKey>, Refused> {
        let named = self.spec.namespaces().flat_map(|(namespace, spec)| {
            let services: Vec<_> = spec.services.keys().cloned().collect();
            services
                .into_iter()
                .map(move |service| namespace.service(service))
        });
        let wanted: BTreeSet<ServiceKey> = named.filter(|key| key.uid == uid).collect();
        let gone = match which {
            Which::All => wanted.into_iter().collect(),
            Which::Named(name) => {
                let own = self.services.keys().filter(|key| key.uid == uid);
                vec![one_of(wanted.iter().chain(own), name, "service", "svc ls")?]
            }
        };
        for key in &gone {
            let namespace = key.namespace_key();
            self.drop_service_spec(key);
            if let Some(spec) = self.spec.namespace_mut(&namespace) {
                spec.capture.remove(&key.service);
                if let Some(all) = &mut spec.all {
                    all.removed.insert(key.service.clone());
                }
            }
            self.service_spec_changed(key);
        }
        Ok(gone)
    }

    /// Looks for requests in the bytes of a service's new connections from now on, or does not, whatever the configuration
    /// says; until the service is removed.
    ///
    /// # Errors
    /// When there is none of that name, or several.
    pub(super) fn set_capture(
        &mut self,
        uid: Uid,
        name: &str,
        on: bool,
    ) -> Result<ServiceKey, Refused> {
        let own = self.services.keys().filter(|key| key.uid == uid);
        let key = one_of(own, name, "service", "svc ls")?;
        let namespace = key.namespace_key();
        if let Some(spec) = self.spec.namespace_mut(&namespace) {
            spec.capture.insert(key.service.clone(), on);
            self.changed.services.insert(key.clone());
            self.changed.persist = true;
            self.changed.desired.insert(uid);
        }
        Ok(key)
    }

    /// A client that had a lease is gone: so is what it asked for.
    pub(super) fn end_lease(&mut self, lease: Lease, now: SystemTime) {
        let keys: Vec<NamespaceKey> = self.spec.namespaces().map(|(key, _)| key).collect();
        for key in keys {
            let Some(spec) = self.spec.namespace_mut(&key) else {
                continue;
            };
            let all = spec.all.take_if(|all| all.terms.lease == Some(lease));
            let leased = spec
                .services
                .iter()
                .filter(|(_, spec)| spec.terms.lease == Some(lease));
            let services: Vec<_> = leased.map(|(name, _)| name.clone()).collect();
            for service in &services {
                self.drop_service_spec(&key.service(service.clone()));
            }
            if all.is_some() {
                let message = format!("{key} is no longer forwarded: its client disconnected");
                self.announce(now, EventKind::NamespaceRemoved, &key, message);
            }
            if all.is_some() || !services.is_empty() {
                self.spec_changed(&key);
            }
        }
    }

    fn drop_service_spec(&mut self, key: &ServiceKey) {
        let spec = self.spec.namespace_mut(&key.namespace_key());
        let spec = spec.and_then(|spec| spec.services.remove(&key.service));
        if spec.is_some_and(|spec| spec.address.is_some()) {
            self.addresses
                .unreserve(Some(key.uid), &Target::Unit(key.unit(None)));
            self.changed.view = true;
        }
    }

    fn check_room(&self, uid: Uid) -> Result<(), Refused> {
        let user = self.spec.users.get(&uid).into_iter();
        let contexts = user.flat_map(|user| user.contexts.values());
        let namespaces = contexts.flat_map(|context| context.namespaces.values());
        let asked = namespaces.map(|one| usize::from(one.all.is_some()) + one.services.len());
        match asked.sum::<usize>() >= MAX_REQUESTS {
            true => Err(Refused::TooMany),
            false => Ok(()),
        }
    }

    fn check_domain(&self, options: &Options) -> Result<(), Refused> {
        match &options.domain {
            Some(domain) if !self.settings.allows_domain(domain) => Err(Refused::Domain {
                domain: domain.clone(),
                allowed: self.settings.domains.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn check_kubeconfig(&self, key: &NamespaceKey, kubeconfig: &[String]) -> Result<(), Refused> {
        let context = self
            .spec
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

    fn context_spec(&mut self, key: &NamespaceKey, origin: Origin) -> &mut ContextSpec {
        let is_new = !self.spec.users.contains_key(&key.uid);
        let user = self.spec.users.entry(key.uid).or_default();
        if !origin.user.is_empty() {
            user.name = origin.user;
        }
        if let Some(environment) = origin.environment {
            user.environment = environment.variables;
            user.secrets = environment.secrets;
        }
        if is_new {
            self.start_worker(key.uid);
        }
        // It is told with the first answer, before there is a service.
        let name = self.user_name(key.uid);
        let rules = self.names.rules();
        self.labels.label(key.uid, &name, &key.context, rules);
        let user = self.spec.users.entry(key.uid).or_default();
        let context = user.contexts.entry(key.context.clone()).or_default();
        context.kubeconfig = origin.kubeconfig;
        context
    }

    /// Everything that follows from a change of what was asked for in a namespace.
    fn spec_changed(&mut self, key: &NamespaceKey) {
        self.follow_spec(key);
        let runtime = key.services_in(&self.services);
        let runtime = runtime.map(|(service, _)| service.clone());
        self.changed.converge.extend(runtime);
        if let Some(observed) = self.observed.get(key) {
            let services = observed
                .services
                .keys()
                .map(|name| key.service(name.clone()));
            self.changed.converge.extend(services);
        }
    }

    /// The same after a change that concerns one service: the others of its namespace, thousands maybe, stay as they are.
    fn service_spec_changed(&mut self, key: &ServiceKey) {
        let namespace = key.namespace_key();
        self.spec.prune(key.uid);
        if self.spec.namespace(&namespace).is_none() {
            self.spec_changed(&namespace);
            return;
        }
        self.follow_spec(&namespace);
        self.changed.converge.insert(key.clone());
    }

    /// What follows for the namespace, the worker and what is kept.
    fn follow_spec(&mut self, key: &NamespaceKey) {
        self.spec.prune(key.uid);
        if self.spec.namespace(key).is_some() {
            self.observe(key);
        } else {
            self.observed.remove(key);
            let user = self.spec.users.get(&key.uid);
            if user.is_none_or(|user| !user.contexts.contains_key(&key.context)) {
                self.labels.forget(key.uid, &key.context);
            }
        }
        self.changed.namespaces.insert(key.clone());
        self.changed.persist = true;
        self.changed.spec = true;
        let uid = key.uid;
        self.changed.desired.insert(uid);
        self.make_room(uid);
        if !self.spec.users.contains_key(&uid) {
            self.effects.push(Effect::StopWorker { uid });
        }
    }

    /// Announces what happened to a namespace.
    pub(super) fn announce(
        &mut self,
        time: SystemTime,
        kind: EventKind,
        key: &NamespaceKey,
        message: String,
    ) {
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

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
