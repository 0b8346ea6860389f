//! What comes back from the world: workers' reports, bound listeners, the hosts file.
//!
//! Everything that names a listener checks that it is one of that user's: a worker cannot speak for another's.

use std::collections::BTreeSet;
use std::time::SystemTime;

use kubefwd_model::{
    Failure, FirstByte, ListenerId, NamespaceKey, PodName, Reason, ServiceKey, ServiceName,
    Traffic, Uid, Worker, WorkerState,
};

use super::State;
use super::command::{BindFailure, Report};
use super::effect::Effect;
use super::forwards::{Port, PortPhase, PortRef};

use super::observed::{ForwardReport, ObservedService, Phase};
use super::view::{DeniedPeers, WorkerView};

impl State {
    /// Takes over what was observed.
    pub(super) fn reported(&mut self, report: Report, now: SystemTime) {
        match report {
            Report::WorkerStarted { uid, pid, user } => self.worker_started(uid, pid, user),
            Report::WorkerReady { uid } => self.worker_ready(uid),
            Report::WorkerGone {
                uid,
                error,
                restarts,
            } => self.worker_gone(uid, error, restarts),
            Report::Namespace {
                key,
                sequence,
                phase,
                notes,
            } => self.namespace_reported(&key, sequence, phase, notes),
            Report::Services {
                namespace,
                found,
                removed,
                listed,
            } => {
                self.services_reported(&namespace, found, &removed);
                self.services_listed(&namespace, listed.as_ref());
            }
            Report::Bound { listener, result } => self.bound(listener, result, now),
            Report::Held {
                uid,
                listener,
                error,
            } => self.held(uid, listener, error),
            Report::Forward {
                uid,
                listener,
                report,
            } => self.forward_reported(uid, listener, report),
            Report::Traffic { uid, traffic } => {
                for (listener, traffic) in traffic {
                    self.traffic_reported(uid, listener, traffic);
                }
            }
            Report::PeerDenied {
                uid,
                listener,
                peer,
                count,
                at,
            } => self.peer_denied(uid, listener, peer, count, (now, at)),
            Report::HostsWritten { revision } => {
                self.hosts.set_failed(false);
                self.hosts_written(revision);
            }
            Report::HostsFailed => {
                self.hosts.set_failed(true);
                if let Some(version) = self.hosts.assumed() {
                    self.hosts_written(version);
                }
            }
        }
    }

    /// A worker's process was started.
    fn worker_started(&mut self, uid: Uid, pid: u32, user: String) {
        let worker = self.worker(uid);
        worker.user = user;
        worker.pid = pid;
        worker.state = WorkerState::Starting;
        self.changed.view = true;
    }

    /// A worker said hello: it gets what is wanted of it and every listener that is open.
    fn worker_ready(&mut self, uid: Uid) {
        let worker = self.worker(uid);
        worker.state = WorkerState::Running;
        self.changed.view = true;
        // Before it can accept anything.
        let (limited, desired) = (self.is_access_limited(), self.desired(uid));
        self.effects.push(Effect::LimitAccess { uid, limited });
        self.effects.push(Effect::SendDesired { uid, desired });
        for listener in self.listeners_of(uid) {
            self.grant(listener);
        }
    }

    /// A worker ended. Its listeners stay open: connections wait in their queues.
    fn worker_gone(&mut self, uid: Uid, error: String, restarts: bool) {
        if restarts {
            let worker = self.worker(uid);
            worker.pid = 0;
            worker.state = WorkerState::Backoff;
            worker.restarts += 1;
            worker.error = error;
        } else {
            self.workers.remove(&uid);
        }
        self.changed.view = true;
        for listener in self.listeners_of(uid) {
            let Some(place) = self.listeners.get(&listener).cloned() else {
                continue;
            };
            if let Some(port) = self.port_mut(listener) {
                port.worker_gone();
            }
            self.changed.services.insert(place.service);
        }
        let namespaces = self.observed.iter_mut().filter(|(key, _)| key.uid == uid);
        for (key, namespace) in namespaces {
            namespace.phase = Phase::Connecting;
            namespace.sequence = 0;
            self.changed.namespaces.insert(key.clone());
        }
    }

    /// How far a worker is with a namespace. One that nobody wants is ignored, and so is a report that a later
    /// one has overtaken.
    fn namespace_reported(
        &mut self,
        key: &NamespaceKey,
        sequence: u64,
        phase: Phase,
        notes: Vec<String>,
    ) {
        let Some(namespace) = self.observed.get_mut(key) else {
            return;
        };
        if namespace.sequence >= sequence {
            return;
        }
        namespace.sequence = sequence;
        if namespace.phase != phase || namespace.notes != notes {
            namespace.phase = phase;
            namespace.notes = notes;
            self.changed.namespaces.insert(key.clone());
        }
    }

    /// Services that a worker found, or found changed. Those beyond what the user may have are ignored, which the namespace
    /// shows.
    fn services_reported(
        &mut self,
        namespace: &NamespaceKey,
        found: Vec<(ServiceName, ObservedService)>,
        removed: &[ServiceName],
    ) {
        let limit = self.settings.max_services_per_user;
        self.services_removed(namespace, removed);
        let Some(observed) = self.observed.get(namespace) else {
            return;
        };
        let known = |name| {
            observed
                .services
                .get(name)
                .map_or(0, ObservedService::weight)
        };
        // Most reports are of pods that came or went, and need no sum over all that the user has.
        let grows = found
            .iter()
            .any(|(name, service)| service.weight() > known(name));
        let mut count = match grows {
            true => self.services_of(namespace.uid),
            false => 0,
        };
        let Some(observed) = self.observed.get_mut(namespace) else {
            return;
        };
        for (name, service) in found {
            let known = observed.services.get(&name);
            if known == Some(&service) {
                continue;
            }
            let (before, after) = (known.map_or(0, ObservedService::weight), service.weight());
            if after <= before {
                count = count.saturating_sub(before - after);
            } else if count + after - before <= limit {
                count += after - before;
            } else {
                if !std::mem::replace(&mut observed.left_out, true) {
                    let message = format!("{namespace}: {}", too_many_services(limit));
                    let uid = namespace.uid;
                    self.effects.push(Effect::Warn { uid, message });
                }
                continue;
            }
            self.changed
                .converge
                .insert(namespace.service(name.clone()));
            observed.services.insert(name, service);
        }
        self.changed.persist = true;
        self.changed.namespaces.insert(namespace.clone());
        if !removed.is_empty() {
            self.make_room(namespace.uid);
        }
    }

    fn services_removed(&mut self, namespace: &NamespaceKey, removed: &[ServiceName]) {
        let Some(observed) = self.observed.get_mut(namespace) else {
            return;
        };
        for name in removed {
            if observed.services.remove(name).is_some() {
                let gone = namespace.service(name.clone());
                self.changed.converge.insert(gone);
            }
        }
    }

    /// Services that were left out may have room now: their namespaces are listed again.
    pub(super) fn make_room(&mut self, uid: Uid) {
        if self.services_of(uid) >= self.settings.max_services_per_user {
            return;
        }
        let full = self.observed.iter_mut();
        for (key, observed) in full.filter(|(key, observed)| key.uid == uid && observed.left_out) {
            self.changed.namespaces.insert(key.clone());
            observed.left_out = false;
            observed.generation = self.next_generation;
            self.next_generation += 1;
            self.changed.desired.insert(uid);
        }
    }

    /// How many services a user has, of the usual size.
    fn services_of(&self, uid: Uid) -> usize {
        let own = self.observed.iter().filter(|(key, _)| key.uid == uid);
        let services = own.flat_map(|(_, observed)| observed.services.values());
        services.map(ObservedService::weight).sum()
    }

    /// The listing of a namespace is complete, if there is one: what is not in it does not exist.
    fn services_listed(&mut self, namespace: &NamespaceKey, exist: Option<&BTreeSet<ServiceName>>) {
        let (Some(observed), Some(exist)) = (self.observed.get_mut(namespace), exist) else {
            return;
        };
        let gone: Vec<ServiceName> = observed
            .services
            .keys()
            .filter(|name| !exist.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            observed.services.remove(&name);
            self.changed.converge.insert(namespace.service(name));
            self.changed.persist = true;
        }
        self.changed.namespaces.insert(namespace.clone());
        self.make_room(namespace.uid);
    }

    /// The kernel's answer to [`Effect::Bind`].
    fn bound(&mut self, listener: ListenerId, result: Result<(), BindFailure>, now: SystemTime) {
        let Some(place) = self.listeners.get(&listener).cloned() else {
            // Taken away in the meantime.
            self.effects.push(Effect::Close { listener });
            return;
        };
        let Some(port) = self.port_mut(listener) else {
            return;
        };
        match result {
            Ok(()) => {
                port.phase = PortPhase::Bound;
                port.since = now;
                self.grant(listener);
                if self.starting {
                    self.name_unit(&place.service, place.pod.as_ref());
                }
            }
            Err(BindFailure { failure, only_here }) => {
                port.phase = PortPhase::Failed(failure);
                self.block_unit(&place);
                if only_here {
                    self.move_unit(&place);
                }
            }
        }
        self.changed.services.insert(place.service);
    }

    /// Takes the names of a unit out of the hosts file until it has all of its ports.
    fn block_unit(&mut self, place: &PortRef) {
        let runtime = self.services.get_mut(&place.service);
        let unit = runtime.and_then(|runtime| runtime.units.get_mut(&place.pod));
        if let Some(unit) = unit
            && !std::mem::replace(&mut unit.blocked, true)
            && unit.named_in.is_some()
        {
            self.hosts.mark(unit.address);
        }
    }

    /// Gives a unit another address, if it need not have this one.
    fn move_unit(&mut self, place: &PortRef) {
        let unit = place.service.unit(place.pod.clone());
        if self.addresses.can_move(&unit) {
            self.drain(&place.service, place.pod.as_ref());
            self.addresses.shun(&unit);
            self.changed.converge.insert(place.service.clone());
        }
    }

    /// Asks again for every port that could not be listened on; whether there was one.
    pub(super) fn retry_failed_ports(&mut self) -> bool {
        let mut again = Vec::new();
        for (key, runtime) in &mut self.services {
            for unit in runtime.units.values_mut() {
                for (local, port) in &mut unit.ports {
                    if matches!(port.phase, PortPhase::Failed(_)) {
                        again.push(Effect::Bind {
                            uid: key.uid,
                            listener: port.listener,
                            address: unit.address,
                            port: *local,
                        });
                    }
                }
            }
        }
        let any = !again.is_empty();
        self.effects.extend(again);
        any
    }

    /// A worker's answer to [`Effect::Grant`].
    fn held(&mut self, uid: Uid, listener: ListenerId, error: Option<String>) {
        let Some((place, port)) = self.own_port(uid, listener) else {
            return;
        };
        match error {
            None if port.phase == PortPhase::Bound => port.phase = PortPhase::Held,
            None => return,
            Some(error) => {
                let hint = "see the kubefwdd log; `kubefwdctl fwd reconnect` tries again";
                let message = format!("the worker could not take over the listener: {error}");
                let failure = Failure::new(Reason::PortUnavailable, message).hint(hint);
                port.phase = PortPhase::Failed(failure);
            }
        }
        let is_held = self
            .port(&place)
            .is_some_and(|port| port.listener == listener && port.phase == PortPhase::Held);
        if is_held {
            self.name_unit(&place.service, place.pod.as_ref());
        }
        self.changed.services.insert(place.service);
    }

    /// Lets the names of a unit into the hosts file once it has all the ports that it should have: on another port of its
    /// address anybody may listen.
    pub(super) fn name_unit(&mut self, key: &ServiceKey, pod: Option<&PodName>) {
        // The version that the next settling asks for.
        let version = self.hosts.next_version();
        let runtime = self.services.get_mut(key);
        let unit = runtime.and_then(|runtime| runtime.units.get_mut(&pod.cloned()));
        let is_had = |port: &Port| match port.phase {
            PortPhase::Held => true,
            PortPhase::Bound => self.starting,
            PortPhase::Binding | PortPhase::Failed(_) => false,
        };
        if let Some(unit) = unit
            && (unit.named_in.is_none() || unit.blocked)
            && unit.ports.values().all(|port| is_had(port))
        {
            unit.named_in = Some(version);
            unit.blocked = false;
            self.hosts.mark(unit.address);
        }
    }

    /// Whether a forward can reach a pod.
    fn forward_reported(&mut self, uid: Uid, listener: ListenerId, report: ForwardReport) {
        let Some((place, port)) = self.own_port(uid, listener) else {
            return;
        };
        // Reports may overtake each other on their way here.
        if port
            .report
            .as_ref()
            .is_none_or(|last| last.sequence < report.sequence)
        {
            port.report = Some(report);
            self.changed.services.insert(place.service);
        }
    }

    /// Counters of a forward, as totals since the worker took the listener. They never go back.
    fn traffic_reported(&mut self, uid: Uid, listener: ListenerId, traffic: Traffic) {
        let Some((place, port)) = self.own_port(uid, listener) else {
            return;
        };
        let last = port.counting;
        port.counting = Traffic {
            bytes_in: traffic.bytes_in.max(last.bytes_in),
            bytes_out: traffic.bytes_out.max(last.bytes_out),
            active: traffic.active,
            opened: traffic.opened.max(last.opened),
            failed: traffic.failed.max(last.failed),
            first_byte: FirstByte {
                sum_us: traffic.first_byte.sum_us.max(last.first_byte.sum_us),
                count: traffic.first_byte.count.max(last.first_byte.count),
            },
            last_active: traffic.last_active.max(last.last_active),
        };
        self.changed.services.insert(place.service);
    }

    /// The hosts file has this version: names count, and what nothing names is closed.
    pub(super) fn hosts_written(&mut self, version: u64) {
        let (new, due) = self.hosts.written(version);
        let named = self.services.iter().filter(|(_, runtime)| {
            let mut units = runtime.units.values();
            units.any(|unit| unit.named_in.is_some_and(|named| new.contains(&named)))
        });
        let named = named.map(|(key, _)| key.clone());
        self.changed.services.extend(named);
        for drained in due {
            self.close_drained(drained);
        }
    }

    fn own_port(&mut self, uid: Uid, listener: ListenerId) -> Option<(PortRef, &mut Port)> {
        Some((self.port_ref(uid, listener)?, self.port_mut(listener)?))
    }

    /// Where a listener belongs, if it is one of this user's.
    pub(super) fn port_ref(&self, uid: Uid, listener: ListenerId) -> Option<PortRef> {
        self.listeners
            .get(&listener)
            .filter(|place| place.service.uid == uid)
            .cloned()
    }

    fn worker(&mut self, uid: Uid) -> &mut Worker {
        let view = self.workers.entry(uid).or_insert_with(|| WorkerView {
            worker: Worker {
                uid,
                user: uid.to_string(),
                pid: 0,
                state: WorkerState::Starting,
                restarts: 0,
                error: String::new(),
            },
            denied: DeniedPeers::new(),
        });
        &mut view.worker
    }

    fn listeners_of(&self, uid: Uid) -> Vec<ListenerId> {
        let own = self
            .listeners
            .iter()
            .filter(|(_, place)| place.service.uid == uid);
        own.map(|(listener, _)| *listener).collect()
    }
}

/// A worker reported more services than one user may have.
pub(super) fn too_many_services(limit: usize) -> String {
    format!(
        "you have more than {limit} services, and some of this namespace are left out; select fewer, or have the administrator raise limits.services_per_user"
    )
}
