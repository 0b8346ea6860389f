//! The view: what readers see of the state, and the events that follow from what they see change.

use std::sync::Arc;
use std::time::SystemTime;

use super::State;
use super::effect::{Effect, Event, EventKind};
use super::forwards::{Port, PortPhase, ServiceRuntime, Unit};
use super::keys::{NamespaceKey, ServiceKey};
use super::observed::{ForwardPhase, ObservedNamespace, ObservedService, Phase, Problem};
use super::reports::TooManyServices;
use super::view::{
    ForwardState, ForwardView, NamespaceState, NamespaceView, ServiceState, ServiceView,
};
use crate::core::names::{HostName, PodName};

impl State {
    /// Shows anew what changed, and announces it.
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
                announce_service(&mut self.effects, key, old.as_deref(), new.as_ref(), now);
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
                if let (NamespaceState::Failed(problem), None) = (&new.state, failed_before) {
                    self.effects.push(Effect::Announce(Event {
                        time: now,
                        kind: EventKind::ServiceError,
                        uid: key.uid,
                        namespace: key.clone(),
                        service: None,
                        forward: None,
                        pod: None,
                        message: problem.message.clone(),
                    }));
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
    fn explain(&self, uid: u32, problem: &Problem) -> Problem {
        let mut problem = problem.clone();
        if problem.is_about_credentials()
            && let Some(lacking) = self.lacking.get(&uid)
        {
            let names: Vec<&str> = lacking.iter().map(String::as_str).collect();
            let names = names.join(", ");
            problem.hint = format!(
                "secrets in variables ({names}) are not kept over a restart: where they are set, run `kubefwdctl context ls`"
            );
        }
        problem
    }

    fn namespace_view(
        &self,
        key: &NamespaceKey,
        old: Option<&NamespaceView>,
        now: SystemTime,
    ) -> Option<NamespaceView> {
        let wishes = self.wishes.namespace(key)?;
        let observed = self.observed.get(key)?;
        let state = match &observed.phase {
            Phase::Connecting => NamespaceState::Connecting,
            Phase::Watching => NamespaceState::Watching,
            Phase::Failed(problem) => NamespaceState::Failed(self.explain(key.uid, problem)),
        };
        let failed = matches!(state, NamespaceState::Failed(_));
        let terms = wishes.all.iter().map(|all| &all.terms);
        let mut terms = terms.chain(wishes.services.values().map(|one| &one.terms));
        let first = terms.clone().min_by_key(|terms| terms.order);
        Some(NamespaceView {
            key: key.clone(),
            state,
            notes: self.notes(observed),
            selection: wishes.all.as_ref().map(|all| all.selection.clone()),
            added_at: first.map_or(now, super::wishes::Terms::time),
            attached: terms.all(|terms| terms.lease.is_some()),
            failed_since: failed.then(|| old.and_then(|old| old.failed_since).unwrap_or(now)),
        })
    }

    fn notes(&self, observed: &ObservedNamespace) -> Vec<String> {
        let limit = self.settings.max_services_per_user;
        let left_out = observed
            .left_out
            .then(|| TooManyServices { limit }.to_string());
        observed.notes.iter().cloned().chain(left_out).collect()
    }

    fn service_view(&self, key: &ServiceKey) -> Option<ServiceView> {
        let runtime = self.services.get(key)?;
        let observed = self.observed_service(key)?;
        let mut forwards: Vec<ForwardView> = runtime
            .units
            .iter()
            .flat_map(|(pod, unit)| {
                let names = self.hostnames(key, pod.as_ref(), unit);
                let named = self.is_named(unit);
                unit.ports.iter().map(move |(local, port)| {
                    let view = forward(key, pod.as_ref(), unit, *local, port, &names);
                    // Usable means by name: until then it is being set up.
                    match view.state {
                        ForwardState::Active if !named => ForwardView {
                            state: ForwardState::Connecting,
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
        let (state, reason, hint) = summary(key, runtime, observed, &forwards, &skipped_ports);
        let own = runtime.units.get(&None);
        Some(ServiceView {
            key: key.clone(),
            headless: observed.headless,
            state,
            reason,
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
            since: runtime.since,
        })
    }

    fn captures(&self, key: &ServiceKey) -> bool {
        let wishes = self.wishes.namespace(&key.namespace_key());
        let said = wishes.and_then(|wishes| wishes.capture.get(&key.service));
        said.copied().unwrap_or(self.settings.capture)
    }

    fn is_named(&self, unit: &Unit) -> bool {
        unit.named_in
            .is_some_and(|revision| revision <= self.hosts_settled)
    }

    fn hostnames(&self, key: &ServiceKey, pod: Option<&PodName>, unit: &Unit) -> Arc<[HostName]> {
        if !self.is_named(unit) {
            return Arc::default();
        }
        self.names.held(&key.unit(pod.cloned())).cloned().collect()
    }

    /// Names that the service and its pods do not have, and why.
    fn refused_names(&self, key: &ServiceKey, runtime: &ServiceRuntime) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for pod in runtime.units.keys() {
            let outcome = self.names.outcome(&key.unit(pod.clone()));
            names.extend(outcome.lost.into_iter().map(|lost| {
                let why = format!(
                    "{} (uid {}) has it: it came first; use a longer form of the name",
                    lost.holder, lost.holder.uid
                );
                (lost.name.to_string(), why)
            }));
            names.extend(outcome.refused.into_iter().map(|refusal| {
                let text = refusal.to_string();
                // The name is shown beside it.
                let why = text
                    .split_once("refused: ")
                    .map_or(text.as_str(), |(_, why)| why);
                (refusal.name.to_string(), why.to_owned())
            }));
        }
        names
    }
}

fn forward(
    key: &ServiceKey,
    pod: Option<&PodName>,
    unit: &Unit,
    local_port: u16,
    port: &Port,
    hostnames: &Arc<[HostName]>,
) -> ForwardView {
    let report = port.report.clone().unwrap_or_default();
    let state = match &port.phase {
        PortPhase::Binding | PortPhase::Bound => ForwardState::Connecting,
        PortPhase::Failed(problem) => ForwardState::Error {
            message: problem.message.clone(),
            hint: problem.hint.clone(),
            local: true,
        },
        PortPhase::Held => match (&port.report, &report.phase) {
            (None, _) => ForwardState::Connecting,
            (Some(_), ForwardPhase::Pending) => ForwardState::Pending,
            (Some(_), ForwardPhase::Active) => ForwardState::Active,
            (Some(_), ForwardPhase::Error { message, hint }) => ForwardState::Error {
                message: message.clone(),
                hint: hint.clone(),
                local: false,
            },
        },
    };
    let shown_pod = pod.map_or(report.pod.as_str(), PodName::as_str);
    ForwardView {
        listener: port.listener,
        // A pod's own forward is told apart from the service's, which may lead to the same pod.
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
        state,
        since: port.since,
        traffic: port.traffic(),
        transport: report.transport,
    }
}

/// The state of a service, why it is not active, and what to do about it.
fn summary(
    key: &ServiceKey,
    runtime: &ServiceRuntime,
    observed: &ObservedService,
    forwards: &[ForwardView],
    skipped_ports: &[String],
) -> (ServiceState, String, String) {
    if let Some(why) = &observed.unsupported {
        return (ServiceState::Unsupported, why.clone(), String::new());
    }
    if let (Some(why), true) = (&runtime.error, forwards.is_empty()) {
        return (ServiceState::Error, why.clone(), String::new());
    }
    if forwards.is_empty() {
        let why = match skipped_ports {
            [] => "it has no ports".to_owned(),
            ports => ports.join("; "),
        };
        return (ServiceState::Unsupported, why, String::new());
    }
    let active = forwards
        .iter()
        .filter(|f| f.state == ForwardState::Active)
        .count();
    let error = forwards.iter().find_map(|f| match &f.state {
        ForwardState::Error { message, hint, .. } => Some((message.clone(), hint.clone())),
        ForwardState::Pending
        | ForwardState::Connecting
        | ForwardState::Active
        | ForwardState::Stopping => None,
    });
    match (active, error) {
        (all, None) if all == forwards.len() => {
            (ServiceState::Active, String::new(), String::new())
        }
        (0, Some((message, hint))) => (ServiceState::Error, message, hint),
        (0, None) if forwards.iter().any(|f| f.state == ForwardState::Pending) => {
            let hint = format!(
                "`kubectl --context {} -n {} get pods` shows why; connections wait for one, then are reset",
                key.context, key.namespace
            );
            (ServiceState::Pending, "no pod is ready".to_owned(), hint)
        }
        (0, None) => (
            ServiceState::Pending,
            "being set up".to_owned(),
            String::new(),
        ),
        (_, Some((message, hint))) => (ServiceState::Partial, message, hint),
        (_, None) => (
            ServiceState::Partial,
            "some pods are not ready".to_owned(),
            String::new(),
        ),
    }
}

fn announce_service(
    effects: &mut Vec<Effect>,
    key: &ServiceKey,
    old: Option<&ServiceView>,
    new: Option<&ServiceView>,
    time: SystemTime,
) {
    let mut announce = |kind, forward: Option<&ForwardView>, message: String| {
        let pod = forward.map(|f| f.pod.clone()).filter(|pod| !pod.is_empty());
        effects.push(Effect::Announce(Event {
            time,
            kind,
            uid: key.uid,
            namespace: key.namespace_key(),
            service: Some(key.clone()),
            forward: forward.map(|f| f.key.clone()),
            pod,
            message,
        }));
    };
    match (old, new) {
        (None, Some(new)) if new.state == ServiceState::Unsupported => {
            announce(
                EventKind::ServiceAdded,
                None,
                format!("{key} cannot be forwarded: {}", new.reason),
            );
        }
        (None, Some(_)) => announce(EventKind::ServiceAdded, None, format!("{key} is forwarded")),
        (Some(_), None) => {
            announce(
                EventKind::ServiceRemoved,
                None,
                format!("{key} is not forwarded any more"),
            );
        }
        (Some(old), Some(new)) if shape(old) != shape(new) => {
            announce(EventKind::ServiceUpdated, None, format!("{key} changed"));
        }
        _ => {}
    }
    let olds = old.map(|view| view.forwards.as_slice()).unwrap_or_default();
    let news = new.map(|view| view.forwards.as_slice()).unwrap_or_default();
    for before in olds {
        let after = news.iter().find(|f| same_place(f, before));
        let was = before.state == ForwardState::Active;
        let is = after.is_some_and(|f| f.state == ForwardState::Active);
        if was && !is {
            announce(
                EventKind::ForwardDisconnected,
                Some(before),
                why_lost(after),
            );
        }
        if !before.pod.is_empty() && after.is_none_or(|f| f.pod != before.pod) {
            announce(
                EventKind::PodRemoved,
                Some(before),
                format!("{} stopped serving", before.pod),
            );
        }
    }
    for after in news {
        let before = olds.iter().find(|f| same_place(f, after));
        let was = before.is_some_and(|f| f.state == ForwardState::Active);
        if !after.pod.is_empty() && before.is_none_or(|f| f.pod != after.pod) {
            announce(
                EventKind::PodAdded,
                Some(after),
                format!("{} serves", after.pod),
            );
        }
        if !was && after.state == ForwardState::Active {
            let message = format!("{}:{} is ready", after.address, after.local_port);
            announce(EventKind::ForwardConnected, Some(after), message);
        }
    }
    if let Some(new) = new.filter(|new| new.state == ServiceState::Error)
        && old.is_none_or(|old| old.state != ServiceState::Error || old.reason != new.reason)
    {
        announce(EventKind::ServiceError, None, new.reason.clone());
    }
}

fn same_place(left: &ForwardView, right: &ForwardView) -> bool {
    (left.address, left.local_port) == (right.address, right.local_port)
}

fn why_lost(after: Option<&ForwardView>) -> String {
    match after.map(|f| &f.state) {
        None | Some(ForwardState::Stopping) => "removed".to_owned(),
        Some(ForwardState::Pending) => "no pod is ready".to_owned(),
        Some(ForwardState::Connecting | ForwardState::Active) => "being set up again".to_owned(),
        Some(ForwardState::Error { message, .. }) => message.clone(),
    }
}

/// What makes a service look different to its users, beyond its state and counters.
fn shape(view: &ServiceView) -> impl PartialEq + '_ {
    let forwards: Vec<_> = view
        .forwards
        .iter()
        .map(|f| (f.address, f.local_port, f.service_port))
        .collect();
    (view.address, &view.hostnames, forwards, view.headless)
}
