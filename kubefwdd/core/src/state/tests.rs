//! The state against a small world that executes its effects, and records every command.

mod any_order;
mod replay;
mod scenarios;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::SystemTime;

use kubefwd_model::{
    ContextName, Event, Failure, NamespaceName, Options, PodName, Reason, Selection, Service,
    ServiceName, Uid,
};

use super::*;

const UID: Uid = Uid::new(1000);
const LIMIT: usize = 100;

/// The world: sockets, one worker, the hosts file.
struct World {
    state: State,
    open: BTreeMap<ListenerId, (Ipv4Addr, u16)>,
    held: BTreeSet<ListenerId>,
    hosts: HostsEntries,
    /// The entries that the hosts file is to have.
    wanted: HostsEntries,
    /// Versions of the hosts file that were asked for and are not written.
    unwritten: Vec<u64>,
    taken: BTreeSet<u16>,
    /// The next port is taken at its address only.
    taken_here: bool,
    running: bool,
    events: Vec<Event>,
    warnings: Vec<String>,
    /// What the state started with, and everything that was applied since.
    recorded: (Saved, Vec<Recorded>),
}

/// One step of the store.
#[derive(Clone, Debug)]
enum Recorded {
    Apply(Box<Command>, SystemTime),
    Settle,
}

// === impl World ===

impl World {
    fn new(saved: Saved) -> Self {
        let state = State::restore(saved.clone(), Self::settings(), NameRules::default());
        Self {
            state,
            open: BTreeMap::new(),
            held: BTreeSet::new(),
            hosts: HostsEntries::new(),
            wanted: HostsEntries::new(),
            unwritten: Vec::new(),
            taken: BTreeSet::new(),
            taken_here: false,
            running: false,
            events: Vec::new(),
            warnings: Vec::new(),
            recorded: (saved, Vec::new()),
        }
    }

    fn settings() -> Settings {
        Settings {
            dashed_names: false,
            domains: vec![HostName::parse("test").expect("it is one")],
            max_services_per_user: LIMIT,
            range: AddressRange::new(Ipv4Addr::new(127, 0, 0, 0), 8).unwrap(),
            reservations: Vec::new(),
            access: Access::Auto,
            capture: true,
        }
    }

    fn apply(&mut self, command: Command) -> Result<Reply, Refused> {
        self.apply_at(command, SystemTime::UNIX_EPOCH)
    }

    fn apply_at(&mut self, command: Command, now: SystemTime) -> Result<Reply, Refused> {
        self.recorded
            .1
            .push(Recorded::Apply(Box::new(command.clone()), now));
        self.state.apply(command, now)
    }

    fn report(&mut self, report: Report) {
        self.apply(Command::Report(report)).unwrap();
    }

    /// Carries everything out but the writing of the hosts file.
    fn settle(&mut self) {
        loop {
            self.recorded.1.push(Recorded::Settle);
            let effects = self.state.settle(SystemTime::UNIX_EPOCH);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.execute(effect);
            }
        }
        self.apply(Command::FinishStart).unwrap();
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Bind {
                listener,
                address,
                port,
                ..
            } => {
                let in_use = self.open.values().any(|place| *place == (address, port));
                assert!(!in_use, "{address}:{port} is bound twice");
                let taken = || BindFailure::from(Failure::new(Reason::PortUnavailable, "taken"));
                let result = if std::mem::take(&mut self.taken_here) {
                    let only_here = true;
                    Err(BindFailure {
                        only_here,
                        ..taken()
                    })
                } else if self.taken.contains(&port) {
                    Err(taken())
                } else {
                    self.open.insert(listener, (address, port));
                    Ok(())
                };
                self.report(Report::Bound { listener, result });
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
                    assert!(!leads_there || self.state.addresses.holder(address).is_some());
                }
            }
            Effect::Grant { uid, listener, .. } => {
                assert!(self.running && self.open.contains_key(&listener));
                self.held.insert(listener);
                let error = None;
                self.report(Report::Held {
                    uid,
                    listener,
                    error,
                });
                let report = ForwardReport {
                    phase: ForwardPhase::Active,
                    sequence: 1,
                    ..ForwardReport::default()
                };
                self.report(Report::Forward {
                    uid,
                    listener,
                    report,
                });
            }
            Effect::Revoke { listener, .. } => {
                self.held.remove(&listener);
            }
            Effect::WriteHosts { revision, changes } => {
                self.wanted.extend(changes);
                self.wanted.retain(|_, names| !names.is_empty());
                self.unwritten.push(revision);
            }
            Effect::StartWorker { .. } if !self.running => {
                self.running = true;
                self.report(Report::WorkerReady { uid: UID });
            }
            Effect::StopWorker { .. } => {
                self.running = false;
                self.held.clear();
                self.report(gone(false));
            }
            Effect::Announce(event) => self.events.push(event),
            Effect::Warn { message, .. } => self.warnings.push(message),
            Effect::StartWorker { .. }
            | Effect::ReleaseAddress { .. }
            | Effect::SendDesired { .. }
            | Effect::LimitAccess { .. }
            | Effect::Persist => {}
        }
    }

    fn write_hosts(&mut self) {
        if let Some(revision) = self.unwritten.drain(..).max() {
            self.hosts = self.wanted.clone();
            assert_eq!(self.hosts, self.state.hosts_entries());
            self.report(Report::HostsWritten { revision });
        }
    }

    /// Until nothing moves.
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
            selection: Selection::default(),
            options: Options::default(),
            origin: Origin::default(),
        };
        self.apply(Command::AddNamespace(request)).map(drop)
    }

    fn add_service(
        &mut self,
        namespace: &str,
        service: &str,
        ports: &[u16],
    ) -> Result<(), Refused> {
        let request = AddService {
            key: key(namespace).service(name(service)),
            ports: ports.iter().copied().collect(),
            address: None,
            options: Options::default(),
            origin: Origin::default(),
        };
        self.apply(Command::AddService(request)).map(drop)
    }

    fn found(&mut self, namespace: &str, service: &str, observed: ObservedService) {
        let found = vec![(name(service), observed)];
        self.services(namespace, found, &[], None);
    }

    fn services(
        &mut self,
        namespace: &str,
        found: Vec<(ServiceName, ObservedService)>,
        removed: &[ServiceName],
        listed: Option<BTreeSet<ServiceName>>,
    ) {
        self.report(Report::Services {
            namespace: key(namespace),
            found,
            removed: removed.to_vec(),
            listed,
        });
    }

    fn remove_namespaces(&mut self, which: Which) -> Result<Reply, Refused> {
        self.apply(Command::RemoveNamespaces { uid: UID, which })
    }

    fn service(&self, namespace: &str, service: &str) -> Option<&Service> {
        self.state
            .view()
            .services
            .get(&key(namespace).service(name(service)))
            .map(|s| &**s)
    }
}

/// The worker exited.
fn gone(restarts: bool) -> Report {
    Report::WorkerGone {
        uid: UID,
        error: "killed".to_owned(),
        restarts,
    }
}

fn key(namespace: &str) -> NamespaceKey {
    NamespaceKey {
        uid: UID,
        context: ContextName::parse("sim").unwrap(),
        namespace: NamespaceName::parse(namespace).unwrap(),
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
