//! The state against a small world that carries its effects out.

mod any_order;
mod scenarios;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::SystemTime;

use kubefwd_model::{ContextName, NamespaceName, Options, PodName, Selection, ServiceName};

use super::*;

const UID: u32 = 1000;
const LIMIT: usize = 100;

/// The world: sockets, one worker, the hosts file.
struct World {
    state: State,
    open: BTreeMap<ListenerId, (Ipv4Addr, u16)>,
    held: BTreeSet<ListenerId>,
    hosts: HostsEntries,
    /// Versions of the hosts file that were asked for and are not written.
    unwritten: Vec<u64>,
    taken: BTreeSet<u16>,
    running: bool,
    events: Vec<Event>,
}

// === impl World ===

impl World {
    fn new(saved: Saved) -> Self {
        let settings = Settings {
            dashed_names: false,
            max_services_per_user: LIMIT,
            range: AddressRange::new(Ipv4Addr::new(127, 0, 0, 0), 8).unwrap(),
            reservations: Vec::new(),
            access: Access::Auto,
            capture: true,
        };
        Self {
            state: State::restore(saved, settings, NameRules::default()),
            open: BTreeMap::new(),
            held: BTreeSet::new(),
            hosts: HostsEntries::new(),
            unwritten: Vec::new(),
            taken: BTreeSet::new(),
            running: false,
            events: Vec::new(),
        }
    }

    /// Carries everything out but the writing of the hosts file.
    fn settle(&mut self) {
        loop {
            let effects = self.state.settle(SystemTime::UNIX_EPOCH);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
        self.state.started();
    }

    fn carry_out(&mut self, effect: Effect) {
        let now = SystemTime::UNIX_EPOCH;
        match effect {
            Effect::Bind {
                listener,
                address,
                port,
            } => {
                let in_use = self.open.values().any(|place| *place == (address, port));
                assert!(!in_use, "{address}:{port} is bound twice");
                let result = match self.taken.contains(&port) {
                    true => Err(BindProblem {
                        message: "taken".into(),
                        hint: String::new(),
                    }),
                    false => {
                        self.open.insert(listener, (address, port));
                        Ok(())
                    }
                };
                self.state.bound(listener, result, now);
            }
            Effect::Close { listener } => {
                let place = self.open.remove(&listener);
                assert!(
                    !self.held.contains(&listener),
                    "closed while the worker holds it"
                );
                if let Some((address, _)) = place
                    && !self.open.values().any(|(other, _)| *other == address)
                {
                    // The last listener of an address goes after its names (or before it ever had any).
                    let leads_there = self.hosts.contains_key(&address);
                    assert!(!leads_there || self.state.addresses().holder(address).is_some());
                }
            }
            Effect::Grant { uid, listener, .. } => {
                assert!(self.running && self.open.contains_key(&listener));
                self.held.insert(listener);
                self.state.held(uid, listener, None);
                let report = ForwardReport {
                    phase: ForwardPhase::Active,
                    sequence: 1,
                    ..ForwardReport::default()
                };
                self.state.forward_reported(uid, listener, report);
            }
            Effect::Revoke { listener, .. } => {
                self.held.remove(&listener);
            }
            Effect::WriteHosts { revision } => self.unwritten.push(revision),
            Effect::StartWorker { .. } if !self.running => {
                self.running = true;
                self.state.worker_ready(UID);
            }
            Effect::StopWorker { .. } => {
                self.running = false;
                self.held.clear();
                self.state.worker_gone(UID, String::new(), false);
            }
            Effect::Announce(event) => self.events.push(event),
            Effect::StartWorker { .. }
            | Effect::ReleaseAddress { .. }
            | Effect::Tell { .. }
            | Effect::LimitAccess { .. }
            | Effect::Persist => {}
        }
    }

    fn write_hosts(&mut self) {
        if let Some(revision) = self.unwritten.drain(..).max() {
            self.hosts = self.state.hosts_entries();
            self.state.hosts_settled(revision);
        }
    }

    /// Until nothing moves any more.
    fn rest(&mut self) {
        self.settle();
        while !self.unwritten.is_empty() {
            self.write_hosts();
            self.settle();
        }
    }

    fn add_namespace(&mut self, namespace: &str) -> Result<(), Refused> {
        let request = AddNamespace {
            key: key(namespace),
            kubeconfig: Vec::new(),
            selection: Selection::default(),
            options: Options::default(),
            lease: None,
            environment: None,
        };
        self.state.add_namespace(request, SystemTime::UNIX_EPOCH)
    }

    fn add_service(
        &mut self,
        namespace: &str,
        service: &str,
        ports: &[u16],
    ) -> Result<(), Refused> {
        let request = AddService {
            key: key(namespace).service(name(service)),
            kubeconfig: Vec::new(),
            ports: ports.iter().copied().collect(),
            address: None,
            options: Options::default(),
            lease: None,
            environment: None,
        };
        self.state.add_service(request, SystemTime::UNIX_EPOCH)
    }

    fn found(&mut self, namespace: &str, service: &str, observed: ObservedService) {
        let found = vec![(name(service), observed)];
        self.state
            .services_reported(&key(namespace), found, &[])
            .unwrap();
    }

    fn service(&self, namespace: &str, service: &str) -> Option<&Service> {
        self.state
            .view()
            .services
            .get(&key(namespace).service(name(service)))
            .map(|s| &**s)
    }
}

fn key(namespace: &str) -> NamespaceKey {
    NamespaceKey {
        uid: UID,
        context: ContextName::parse("sim").unwrap(),
        namespace: Namespace::parse(namespace).unwrap(),
    }
}

fn name(service: &str) -> ServiceName {
    ServiceName::parse(service).unwrap()
}

fn observed(ports: &[u16]) -> ObservedService {
    let port = |port: &u16| ObservedPort {
        port: *port,
        name: String::new(),
        protocol: Protocol::Tcp,
        target: port.to_string(),
    };
    ObservedService {
        ports: ports.iter().map(port).collect(),
        ready_pods: 1,
        selected: true,
        ..ObservedService::default()
    }
}

fn headless(pods: &[&str]) -> ObservedService {
    let pods = pods
        .iter()
        .map(|pod| PodName::parse(pod).unwrap())
        .collect();
    ObservedService {
        headless: true,
        pods,
        ..observed(&[80])
    }
}
