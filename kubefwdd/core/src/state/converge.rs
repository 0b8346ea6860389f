//! Convergence: what a service should have is a function of the desired state and of what was observed; the effects are the
//! difference to what it has. So any order of events ends in the same state.
//!
//! Within a service the order is address, listener, worker, name; removal is the reverse, so that a name never points
//! at nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use kubefwd_model::{ListenerId, PodName, ServiceKey, Uid, UnitKey, WorkerState};

use super::State;
use super::effect::Effect;
use super::forwards::{
    DesiredPorts, DesiredUnits, Port, PortPhase, PortRef, Ports, ServiceRuntime, Unit,
};

use super::hosts_gate::Draining;
use super::observed::{ObservedPort, ObservedService, Protocol};

use super::spec::ServicePlan;
use crate::names::{NameOptions, Rank, candidates};

impl State {
    /// Brings one service to what it should have.
    pub(super) fn converge(&mut self, key: &ServiceKey, now: SystemTime) {
        let plan = self.plan(key);
        let desired = match (&plan, self.observed_service(key)) {
            (Some(plan), Some(observed)) => desired_units(plan, observed),
            _ => DesiredUnits::default(),
        };
        let listed = plan.is_some() && self.observed_service(key).is_some();
        if !listed && !self.services.contains_key(key) {
            return;
        }
        let runtime = self
            .services
            .entry(key.clone())
            .or_insert_with(|| ServiceRuntime {
                since: now,
                units: BTreeMap::new(),
                error: None,
            });
        runtime.error = None;

        let gone: Vec<_> = runtime
            .units
            .keys()
            .filter(|pod| !desired.contains_key(*pod))
            .cloned()
            .collect();
        for pod in gone {
            self.drain(key, pod.as_ref());
        }
        for (pod, ports) in desired {
            let Some(plan) = &plan else { break };
            self.converge_unit(key, pod, ports, plan, now);
        }
        if !listed {
            self.services.remove(key);
        }
    }

    /// What was asked for of a service that exists.
    pub(super) fn plan(&self, key: &ServiceKey) -> Option<ServicePlan> {
        let selected = self.observed_service(key)?.selected;
        self.spec
            .namespace(&key.namespace_key())?
            .plan(key, selected)
    }

    /// Why ports of a service that could be forwarded are not: mappings that collide, and other protocols.
    pub(super) fn skipped_ports(&self, key: &ServiceKey) -> Vec<String> {
        let (Some(plan), Some(observed)) = (self.plan(key), self.observed_service(key)) else {
            return Vec::new();
        };
        ports_of(&plan, observed).1
    }

    fn converge_unit(
        &mut self,
        key: &ServiceKey,
        pod: Option<PodName>,
        mut wanted: DesiredPorts,
        plan: &ServicePlan,
        now: SystemTime,
    ) {
        self.address_unit(key, pod.as_ref(), plan);
        let Some(unit) = self
            .services
            .get_mut(key)
            .and_then(|runtime| runtime.units.get_mut(&pod))
        else {
            return;
        };
        let address = unit.address;
        let gone: Vec<u16> = unit
            .ports
            .iter()
            .filter(|(local, port)| {
                wanted
                    .get(local)
                    .is_none_or(|(service_port, _)| *service_port != port.service_port)
            })
            .map(|(local, _)| *local)
            .collect();
        for local in gone {
            if let Some(port) = unit.ports.remove(&local) {
                let (effects, listeners) = (&mut self.effects, &mut self.listeners);
                drop_listener(effects, listeners, key.uid, port.listener);
            }
        }
        for (local, port) in &mut unit.ports {
            if let Some((_, name)) = wanted.remove(local) {
                port.name = name;
            }
        }
        for (local_port, (service_port, name)) in wanted {
            let listener = ListenerId(self.next_listener);
            self.next_listener += 1;
            let port = Port::new(listener, service_port, name, now);
            unit.ports.insert(local_port, Box::new(port));
            let port_ref = PortRef {
                service: key.clone(),
                pod: pod.clone(),
                local_port,
            };
            self.listeners.insert(listener, port_ref);
            self.effects.push(Effect::Bind {
                uid: key.uid,
                listener,
                address,
                port: local_port,
            });
        }
        // It may have lacked a port only that it need not have any more.
        self.name_unit(key, pod.as_ref());
    }

    /// Gives a unit its address and claims its names.
    fn address_unit(&mut self, key: &ServiceKey, pod: Option<&PodName>, plan: &ServicePlan) {
        let unit_key = key.unit(pod.cloned());
        let user = self.user_name(key.uid);
        let rules = self.names.rules();
        let label = self.labels.label(key.uid, &user, &key.context, rules);
        let options = NameOptions {
            domain: plan.options.domain.clone(),
            dashed: self.settings.dashed_names,
        };
        let candidates = candidates(&unit_key, &label, &options);
        if self.unit(key, pod).is_none() {
            let names = candidates.iter().map(|candidate| &candidate.name);
            match self.addresses.assign(&unit_key, names) {
                Ok(address) => {
                    let ports = self.reclaim(&unit_key, address);
                    let Some(runtime) = self.services.get_mut(key) else {
                        return;
                    };
                    let held = !ports.is_empty()
                        && ports.values().all(|port| port.phase == PortPhase::Held);
                    if held {
                        self.hosts.mark(address);
                    }
                    let open: Vec<ListenerId> = ports.values().map(|port| port.listener).collect();
                    let named_in = held.then(|| self.hosts.next_version());
                    let unit = Unit {
                        address,
                        named_in,
                        blocked: false,
                        ports,
                    };
                    runtime.units.insert(pod.cloned(), Box::new(unit));
                    // A worker that came in between has not been given them.
                    open.into_iter().for_each(|listener| self.grant(listener));
                    self.changed.persist = true;
                }
                Err(error) => {
                    let Some(runtime) = self.services.get_mut(key) else {
                        return;
                    };
                    runtime.error = Some(error.to_string());
                    return;
                }
            }
        }
        let moved = self.names.claim(&unit_key, Rank(plan.order), candidates);
        self.names_moved(&moved);
    }

    /// Takes a unit away: its names at once, its listeners when the hosts file no longer names them.
    pub(super) fn drain(&mut self, key: &ServiceKey, pod: Option<&PodName>) {
        let Some(unit) = self
            .services
            .get_mut(key)
            .and_then(|runtime| runtime.units.remove(&pod.cloned()))
        else {
            return;
        };
        let unit_key = key.unit(pod.cloned());
        let moved = self.names.release(&unit_key);
        self.names_moved(&moved);
        self.addresses.release(&unit_key);
        self.changed.persist = true;
        let drained = Draining {
            unit: unit_key,
            address: unit.address,
            ports: unit.ports,
        };
        if unit.named_in.is_some() {
            self.hosts.drain(drained);
        } else {
            self.close_drained(drained);
        }
    }

    /// An address is used again before its old names were gone. Its own unit takes its listeners back, so that nobody who
    /// connects notices; the listeners of another make room at once.
    fn reclaim(&mut self, unit: &UnitKey, address: Ipv4Addr) -> Ports {
        let due = self.hosts.reclaim(address);
        let mut own = Ports::new();
        for drained in due {
            if drained.unit == *unit {
                own.extend(drained.ports);
            } else {
                self.drop_ports(drained);
            }
        }
        own
    }

    fn drop_ports(&mut self, drained: Draining) {
        for port in drained.ports.into_values() {
            let uid = drained.unit.uid;
            drop_listener(&mut self.effects, &mut self.listeners, uid, port.listener);
        }
    }

    /// Ends the listeners of a unit that no name points at.
    pub(super) fn close_drained(&mut self, drained: Draining) {
        let address = drained.address;
        self.drop_ports(drained);
        if self.addresses.holder(address).is_none() {
            self.effects.push(Effect::ReleaseAddress { address });
        }
    }

    /// Hands every listener that is open to the worker, if it runs.
    pub(super) fn grant(&mut self, listener: ListenerId) {
        let Some(place) = self.listeners.get(&listener) else {
            return;
        };
        let running = self
            .workers
            .get(&place.service.uid)
            .is_some_and(|view| view.worker.state == WorkerState::Running);
        let Some(port) = self.port(place) else { return };
        if running && port.phase == PortPhase::Bound {
            self.effects.push(Effect::Grant {
                uid: place.service.uid,
                listener,
                service: place.service.clone(),
                pod: place.pod.clone(),
                service_port: port.service_port,
            });
        }
    }
}

fn drop_listener(
    effects: &mut Vec<Effect>,
    listeners: &mut BTreeMap<ListenerId, PortRef>,
    uid: Uid,
    listener: ListenerId,
) {
    listeners.remove(&listener);
    effects.push(Effect::Revoke { uid, listener });
    effects.push(Effect::Close { listener });
}

/// What a service should have.
fn desired_units(plan: &ServicePlan, observed: &ObservedService) -> DesiredUnits {
    let mut desired = DesiredUnits::default();
    if observed.unsupported.is_some() {
        return desired;
    }
    let (ports, _) = ports_of(plan, observed);
    if ports.is_empty() {
        return desired;
    }
    if observed.headless {
        let pods = observed.pods.iter();
        desired.extend(pods.map(|pod| (Some(pod.clone()), ports.clone())));
    }
    desired.insert(None, ports);
    desired
}

/// The ports of a service that are forwarded, by local port; and why others, that could be, are not.
fn ports_of(plan: &ServicePlan, observed: &ObservedService) -> (DesiredPorts, Vec<String>) {
    let mut ports = DesiredPorts::new();
    let mut skipped = Vec::new();
    for ObservedPort {
        port,
        name,
        protocol,
    } in &observed.ports
    {
        if let Protocol::Other(protocol) = protocol {
            skipped.push(format!("{port}/{protocol}: Kubernetes forwards TCP only"));
            continue;
        }
        if !plan.ports.is_empty() && !plan.ports.contains(port) {
            continue;
        }
        let local = *plan.options.port_mappings.get(port).unwrap_or(port);
        match ports.entry(local) {
            Entry::Vacant(free) => {
                free.insert((*port, name.clone()));
            }
            Entry::Occupied(first) => skipped.push(format!(
                "{port}/TCP: local port {local} is already used for port {}; map it to another",
                first.get().0
            )),
        }
    }
    let exists = |port: &u16| observed.ports.iter().any(|known| known.port == *port);
    let missing = plan.ports.iter().filter(|port| !exists(port));
    skipped.extend(missing.map(|port| format!("{port}/TCP: the service has no such port")));
    (ports, skipped)
}
