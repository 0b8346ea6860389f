//! Builds the view: what readers see of the state.

use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_model::{
    EventKind, Failure, Forward, ForwardStatus, HostName, Namespace, NamespaceKey, NamespaceStatus,
    PodName, Reason, RefusedName, Service, ServiceKey, ServiceStatus, Uid,
};

use super::State;
use super::effect::Effect;
use super::events::service_events;
use super::forwards::{Port, PortPhase, ServiceRuntime, Unit};

use super::observed::{ForwardPhase, ObservedNamespace, ObservedService, Phase};
use super::reports::too_many_services;
use crate::names::Why;

impl State {
    /// Updates what readers see of what changed, and announces it.
    pub(super) fn refresh_view(&mut self, now: SystemTime) {
        let services = std::mem::take(&mut self.changed.services);
        let namespaces = std::mem::take(&mut self.changed.namespaces);
        let before = self.view.revision;
        for key in services {
            self.refresh_service(&key, now);
        }
        for key in namespaces {
            self.refresh_namespace(&key, now);
        }
        if std::mem::take(&mut self.changed.view) {
            self.view.workers = self.workers.clone();
            let warnings = self.warnings.values().flatten().cloned();
            self.view.warnings = Arc::new(warnings.collect());
            self.view.reservations = Arc::new(self.addresses.reservations().collect());
            self.view.rules = self.rules.clone();
            self.view.allowed_suffixes = self.allowed_view();
            self.view.access_limited = self.access_limited;
            self.view.revision += 1;
        }
        if self.view.revision != before {
            self.view.revision = before + 1;
        }
    }

    fn refresh_service(&mut self, key: &ServiceKey, now: SystemTime) {
        let new = self.service_view(key);
        let old = self.view.services.get(key);
        match (old, new) {
            (None, None) => return,
            (Some(old), Some(new)) if **old == new => return,
            (old, new) => {
                let old = old.cloned();
                let events = service_events(key, old.as_deref(), new.as_ref(), now.into());
                self.effects
                    .extend(events.into_iter().map(Effect::Announce));
                match new {
                    Some(new) => self.view.services.insert(key.clone(), Arc::new(new)),
                    None => self.view.services.remove(key),
                };
            }
        }
        self.view.revision += 1;
    }

    fn refresh_namespace(&mut self, key: &NamespaceKey, now: SystemTime) {
        let old = self.view.namespaces.get(key).cloned();
        let new = self.namespace_view(key, old.as_deref(), now);
        match (&old, new) {
            (None, None) => return,
            (Some(old), Some(new)) if **old == new => return,
            (old, Some(new)) => {
                let failed_before = old.as_ref().and_then(|old| old.failed_since);
                if let (Some(failure), None) = (&new.failure, failed_before) {
                    let message = failure.message.clone();
                    self.announce(now, EventKind::ServiceError, key, message);
                }
                self.view.namespaces.insert(key.clone(), Arc::new(new));
            }
            (Some(_), None) => {
                self.view.namespaces.remove(key);
            }
        }
        self.view.revision += 1;
    }

    /// What a worker cannot know: that credentials may be missing because a restart took them.
    fn explain(&self, uid: Uid, failure: &Failure) -> Failure {
        let mut failure = failure.clone();
        if failure.reason == Reason::CredentialsNeeded
            && let Some(missing_env) = self.missing_env.get(&uid)
        {
            let names: Vec<&str> = missing_env.iter().map(String::as_str).collect();
            let names = names.join(", ");
            failure.hint = format!(
                "secret variables ({names}) are not kept across a restart: run `kubefwdctl context ls` in a shell where they are set"
            );
        }
        failure
    }

    fn namespace_view(
        &self,
        key: &NamespaceKey,
        old: Option<&Namespace>,
        now: SystemTime,
    ) -> Option<Namespace> {
        let spec = self.spec.namespace(key)?;
        let observed = self.observed.get(key)?;
        let (status, failure) = match &observed.phase {
            Phase::Connecting => (NamespaceStatus::Connecting, None),
            Phase::Watching => (NamespaceStatus::Watching, None),
            Phase::Failed(failure) => (
                NamespaceStatus::Failed,
                Some(Box::new(self.explain(key.uid, failure))),
            ),
        };
        let since = |_: &_| old.and_then(|old| old.failed_since).unwrap_or(now.into());
        let terms = spec.all.iter().map(|all| &all.terms);
        let mut terms = terms.chain(spec.services.values().map(|one| &one.terms));
        let first = terms.clone().min_by_key(|terms| terms.order);
        Some(Namespace {
            key: key.clone(),
            status,
            selection: spec.all.as_ref().map(|all| all.selection.clone()),
            started_at: first.map_or(now, super::spec::Terms::time).into(),
            attached: terms.all(|terms| terms.lease.is_some()),
            failed_since: failure.as_ref().map(since),
            failure,
            notes: self.notes(key, observed),
        })
    }

    fn notes(&self, key: &NamespaceKey, observed: &ObservedNamespace) -> Vec<String> {
        let limit = self.settings.max_services_per_user;
        let left_out = observed.left_out.then(|| too_many_services(limit));
        let label = self.label_note(key);
        let own = left_out.into_iter().chain(label);
        observed.notes.iter().cloned().chain(own).collect()
    }

    /// Why the longest names do not end in the context's own name.
    fn label_note(&self, key: &NamespaceKey) -> Option<String> {
        let label = self.labels.get(key.uid, &key.context)?;
        let plain = key.context.label();
        if *label == plain {
            return None;
        }
        let why = match self.names.rules().refuses_below(&plain) {
            Some(refusal) => refusal.why().into_owned(),
            None => format!("another context or user has \"{plain}\""),
        };
        Some(format!("names end in .{label} and not in .{plain}: {why}"))
    }

    fn service_view(&self, key: &ServiceKey) -> Option<Service> {
        let runtime = self.services.get(key)?;
        let observed = self.observed_service(key)?;
        let mut forwards: Vec<Forward> = runtime
            .units
            .iter()
            .flat_map(|(pod, unit)| {
                let names = self.hostnames(key, pod.as_ref(), unit);
                let named = self.is_named(unit);
                unit.ports.iter().map(move |(local, port)| {
                    let view = forward(key, pod.as_ref(), unit, *local, port, &names);
                    // Usable means by name: until then it is being set up.
                    match view.status {
                        ForwardStatus::Active if !named => Forward {
                            status: ForwardStatus::Connecting,
                            ..view
                        },
                        _ => view,
                    }
                })
            })
            .collect();
        // Most services have one: collecting makes room for four.
        forwards.shrink_to_fit();
        let skipped_ports = self.skipped_ports(key);
        let (status, status_reason, hint) =
            summary(key, runtime, observed, &forwards, &skipped_ports);
        let own = runtime.units.get(&None);
        Some(Service {
            key: key.clone(),
            headless: observed.headless,
            status,
            status_reason,
            hint,
            address: own.map(|unit| unit.address),
            hostnames: own
                .map(|unit| self.hostnames(key, None, unit))
                .unwrap_or_default(),
            refused_names: self.refused_names(key, runtime),
            forwards,
            ready_pods: observed.ready_pods,
            total_pods: observed.total_pods,
            skipped_ports,
            capture: self.captures(key),
            since: runtime.since.into(),
        })
    }

    fn captures(&self, key: &ServiceKey) -> bool {
        let spec = self.spec.namespace(&key.namespace_key());
        let said = spec.and_then(|spec| spec.capture.get(&key.service));
        said.copied().unwrap_or(self.settings.capture)
    }

    fn is_named(&self, unit: &Unit) -> bool {
        !unit.blocked && unit.named_in.is_some_and(|version| self.hosts.has(version))
    }

    fn hostnames(&self, key: &ServiceKey, pod: Option<&PodName>, unit: &Unit) -> Arc<[HostName]> {
        if !self.is_named(unit) {
            return Arc::default();
        }
        self.names.held(&key.unit(pod.cloned())).cloned().collect()
    }

    /// Names that the service and its pods do not have, and why.
    fn refused_names(&self, key: &ServiceKey, runtime: &ServiceRuntime) -> Vec<RefusedName> {
        let mut names = Vec::new();
        for pod in runtime.units.keys() {
            let outcome = self.names.outcome(&key.unit(pod.clone()));
            names.extend(outcome.lost.into_iter().map(|lost| {
                let (reason, hint) = self.explain_loss(key, lost.why);
                RefusedName {
                    reason,
                    hint,
                    name: lost.name.to_string(),
                }
            }));
            names.extend(outcome.refused.into_iter().map(|refusal| RefusedName {
                reason: refusal.why().into_owned(),
                hint: refusal.hint().into_owned(),
                name: refusal.name.to_string(),
            }));
        }
        names
    }

    /// Why a service does not have a name that it could have, and what to do. What others forward is theirs to tell.
    fn explain_loss(&self, key: &ServiceKey, why: Why) -> (String, String) {
        let user = match why {
            Why::Taken(holder) if holder.uid == key.uid => {
                let hint = "use a longer form of the name".to_owned();
                return (format!("it leads to {holder}"), hint);
            }
            Why::Taken(holder) => holder.uid,
            Why::Kept(uid) => uid,
            Why::Released => {
                let namespace = &key.namespace;
                return (
                    "it was another user's when this service was added, and is free now".to_owned(),
                    format!(
                        "`kubefwdctl ns rm {namespace} && kubefwdctl ns add {namespace}` takes it"
                    ),
                );
            }
        };
        let label = self.labels.get(key.uid, &key.context);
        let own =
            label.map(|label| format!("{}.{}.{label} is always yours", key.service, key.namespace));
        let user = self.user_name(user);
        (
            format!("it leads to a service of user {user}"),
            own.unwrap_or_default(),
        )
    }
}

fn forward(
    key: &ServiceKey,
    pod: Option<&PodName>,
    unit: &Unit,
    local_port: u16,
    port: &Port,
    hostnames: &Arc<[HostName]>,
) -> Forward {
    let report = port.report.clone().unwrap_or_default();
    let (status, failure) = match &port.phase {
        PortPhase::Binding | PortPhase::Bound => (ForwardStatus::Connecting, None),
        PortPhase::Failed(failure) => (ForwardStatus::Error, Some(failure)),
        PortPhase::Held => match port.report.as_ref().map(|report| &report.phase) {
            None => (ForwardStatus::Connecting, None),
            Some(ForwardPhase::Pending) => (ForwardStatus::Pending, None),
            Some(ForwardPhase::Active) => (ForwardStatus::Active, None),
            Some(ForwardPhase::Error(failure)) => (ForwardStatus::Error, Some(failure)),
        },
    };
    let shown_pod = pod.map_or(report.pod.as_str(), PodName::as_str);
    Forward {
        listener: port.listener,
        // A pod's own forward is told apart from the service's, which may reach the same pod.
        key: format!(
            "{}.{}.{local_port}",
            key.unit(pod.cloned()),
            if shown_pod.is_empty() { "-" } else { shown_pod }
        ),
        address: unit.address,
        local_port,
        service_port: port.service_port,
        port_name: port.name.clone(),
        pod: shown_pod.to_owned(),
        container: report.container,
        pod_port: report.pod_port,
        pod_address: pod.is_some(),
        hostnames: hostnames.clone(),
        status,
        failure: failure.cloned().map(Box::new),
        started_at: port.since.into(),
        traffic: port.traffic(),
        transport: report.transport,
    }
}

/// The state of a service, why it is not active, and what to do about it.
fn summary(
    key: &ServiceKey,
    runtime: &ServiceRuntime,
    observed: &ObservedService,
    forwards: &[Forward],
    skipped_ports: &[String],
) -> (ServiceStatus, String, String) {
    let plain = |status, why: &str| (status, why.to_owned(), String::new());
    if let Some(why) = &observed.unsupported {
        return plain(ServiceStatus::Unsupported, why);
    }
    if forwards.is_empty() {
        return match (&runtime.error, skipped_ports) {
            (Some(why), _) => plain(ServiceStatus::Error, why),
            (None, []) => plain(ServiceStatus::Unsupported, "it has no ports"),
            (None, ports) => plain(ServiceStatus::Unsupported, &ports.join("; ")),
        };
    }
    let active = forwards
        .iter()
        .filter(|f| f.status == ForwardStatus::Active)
        .count();
    let error = forwards
        .iter()
        .find_map(|f| f.failure.as_deref())
        .map(|failure| (failure.message.clone(), failure.hint.clone()));
    match (active, error) {
        (all, None) if all == forwards.len() => plain(ServiceStatus::Active, ""),
        (0, Some((message, hint))) => (ServiceStatus::Error, message, hint),
        (0, None) if forwards.iter().any(|f| f.status == ForwardStatus::Pending) => {
            let hint = format!(
                "`kubectl --context {} -n {} get pods` shows why; connections wait for one and are then reset",
                key.context, key.namespace
            );
            (ServiceStatus::Pending, "no pod is ready".to_owned(), hint)
        }
        (0, None) => plain(ServiceStatus::Pending, "being set up"),
        (_, Some((message, hint))) => (ServiceStatus::Partial, message, hint),
        (_, None) => plain(ServiceStatus::Partial, "some pods are not ready"),
    }
}
