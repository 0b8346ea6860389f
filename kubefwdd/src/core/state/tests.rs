//! The state against a small world that carries its effects out: whatever the order of events, the end is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::core::addresses::Target;
use crate::core::names::{ContextName, HostName, Namespace, PodName, ServiceName};

const UID: u32 = 1000;

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
            max_services_per_user: 100,
            range: AddressRange::new(Ipv4Addr::new(127, 0, 0, 0), 8).unwrap(),
            reservations: Vec::new(),
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
                return;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
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
            environment: BTreeMap::new(),
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
            environment: BTreeMap::new(),
        };
        self.state.add_service(request, SystemTime::UNIX_EPOCH)
    }

    fn found(&mut self, namespace: &str, service: &str, observed: ObservedService) {
        let found = vec![(name(service), observed)];
        self.state
            .services_reported(&key(namespace), found, &[])
            .unwrap();
    }

    fn service(&self, namespace: &str, service: &str) -> Option<&ServiceView> {
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

#[test]
fn a_service_is_active_once_its_name_is_written() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80, 8080]));
    world.settle();
    assert_eq!(
        world.service("demo", "api").unwrap().state,
        ServiceState::Pending
    );
    world.rest();
    let api = world.service("demo", "api").unwrap();
    assert_eq!(api.state, ServiceState::Active);
    assert_eq!(api.forwards.len(), 2);
    let names = &world.hosts[&api.address.unwrap()];
    assert!(names.contains(&HostName::parse("api").unwrap()));
    let kinds: BTreeSet<_> = world.events.iter().map(|e| e.kind).collect();
    assert!(
        kinds.contains(&EventKind::ServiceAdded) && kinds.contains(&EventKind::ForwardConnected)
    );
}

#[test]
fn listeners_outlive_the_names_that_lead_to_them() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    world
        .state
        .remove_namespaces(UID, &RemoveNamespaces::All, SystemTime::UNIX_EPOCH)
        .unwrap();
    world.settle();
    assert_eq!(
        world.open.len(),
        1,
        "the name still stands in the hosts file"
    );
    world.rest();
    assert!(world.open.is_empty() && world.hosts.is_empty());
    assert!(world.state.view().services.is_empty() && world.state.view().namespaces.is_empty());
}

#[test]
fn a_dead_worker_costs_no_listener_and_no_name() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let (open, hosts) = (world.open.clone(), world.hosts.clone());
    world.held.clear();
    world.state.worker_gone(UID, "killed".into(), true);
    world.rest();
    assert_eq!((&world.open, &world.hosts), (&open, &hosts));
    assert_eq!(
        world.service("demo", "api").unwrap().state,
        ServiceState::Pending
    );
    world.state.worker_ready(UID);
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().state,
        ServiceState::Active
    );
    assert_eq!(world.open, open);
}

#[test]
fn everything_listens_again_after_a_restart_before_the_cluster_answers() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.found("demo", "db", headless(&["db-0", "db-1"]));
    world.rest();
    let saved: Saved =
        serde_json::from_str(&serde_json::to_string(&world.state.save()).unwrap()).unwrap();
    let mut again = World::new(saved);
    again.rest();
    assert_eq!(again.hosts, world.hosts);
    let places = |world: &World| world.open.values().copied().collect::<BTreeSet<_>>();
    assert_eq!(places(&again), places(&world));
}

#[test]
fn what_is_removed_and_added_at_once_keeps_its_listeners() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let open = world.open.clone();
    world
        .state
        .remove_namespaces(UID, &RemoveNamespaces::All, SystemTime::UNIX_EPOCH)
        .unwrap();
    world.settle();
    world.add_namespace("demo").unwrap();
    world.settle();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    assert_eq!(world.open, open);
    assert_eq!(
        world.service("demo", "api").unwrap().state,
        ServiceState::Active
    );
}

#[test]
fn a_port_that_is_taken_fails_alone_and_is_tried_again() {
    let mut world = World::new(Saved::default());
    world.taken.insert(80);
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80, 8080]));
    world.rest();
    let api = world.service("demo", "api").unwrap();
    assert_eq!(
        (api.state, api.reason.as_str()),
        (ServiceState::Partial, "taken")
    );
    world.taken.clear();
    assert!(world.state.retry_failed_ports());
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().state,
        ServiceState::Active
    );
}

#[test]
fn short_names_go_to_the_first_and_pass_on() {
    let mut world = World::new(Saved::default());
    world.add_namespace("first").unwrap();
    world.add_namespace("second").unwrap();
    // The later namespace is known earlier.
    world.found("second", "api", observed(&[80]));
    world.found("first", "api", observed(&[80]));
    world.rest();
    let holder = |world: &World| {
        let short = HostName::parse("api").unwrap();
        world
            .hosts
            .iter()
            .find(|(_, names)| names.contains(&short))
            .map(|(address, _)| *address)
    };
    assert_eq!(
        holder(&world),
        world.service("first", "api").unwrap().address
    );
    assert!(
        !world
            .service("second", "api")
            .unwrap()
            .refused_names
            .is_empty()
    );
    let first = RemoveNamespaces::Named("first".into());
    world
        .state
        .remove_namespaces(UID, &first, SystemTime::UNIX_EPOCH)
        .unwrap();
    world.rest();
    assert_eq!(
        holder(&world),
        world.service("second", "api").unwrap().address
    );
}

#[test]
fn single_services_take_the_ports_that_were_asked_for() {
    let mut world = World::new(Saved::default());
    world.add_service("demo", "api", &[8080, 9999]).unwrap();
    assert!(matches!(
        world.add_service("demo", "api", &[]),
        Err(Refused::Exists { .. })
    ));
    let unselected = ObservedService {
        selected: false,
        ..observed(&[80, 8080])
    };
    world.found("demo", "api", unselected);
    world.rest();
    let api = world.service("demo", "api").unwrap();
    assert_eq!(
        api.forwards
            .iter()
            .map(|f| f.local_port)
            .collect::<Vec<_>>(),
        [8080]
    );
    assert!(
        api.skipped_ports[0].contains("9999"),
        "{:?}",
        api.skipped_ports
    );
}

#[test]
fn a_service_can_be_taken_out_of_its_namespace_and_come_back() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.found("demo", "db", observed(&[5432]));
    world.rest();
    let removed = world
        .state
        .remove_services(UID, &RemoveServices::Named("api".into()))
        .unwrap();
    assert_eq!(removed[0].to_string(), "api.demo.sim");
    world.rest();
    assert!(world.service("demo", "api").is_none() && world.service("demo", "db").is_some());
    world.add_service("demo", "api", &[]).unwrap();
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().state,
        ServiceState::Active
    );
}

#[test]
fn what_a_lease_brought_goes_with_it() {
    let mut world = World::new(Saved::default());
    let lease = Lease(7);
    let request = AddNamespace {
        key: key("demo"),
        kubeconfig: Vec::new(),
        selection: Selection::default(),
        options: Options::default(),
        lease: Some(lease),
        environment: BTreeMap::new(),
    };
    world
        .state
        .add_namespace(request, SystemTime::UNIX_EPOCH)
        .unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    assert!(
        world.state.save().wishes.users.is_empty(),
        "leases are not persisted"
    );
    world.state.end_lease(lease, SystemTime::UNIX_EPOCH);
    world.rest();
    assert!(world.open.is_empty() && world.hosts.is_empty());
}

#[test]
fn requests_that_cannot_be_are_refused_with_what_to_do() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    let twice = world.add_namespace("demo").unwrap_err().to_string();
    assert!(twice.contains("remove it first"), "{twice}");
    let now = SystemTime::UNIX_EPOCH;
    let missing = RemoveNamespaces::Named("nope".into());
    let missing = world
        .state
        .remove_namespaces(UID, &missing, now)
        .unwrap_err()
        .to_string();
    assert!(missing.contains("kubefwdctl ns ls"), "{missing}");
    let mut other = key("other");
    other.context = ContextName::parse("sim2").unwrap();
    let request = AddNamespace {
        key: NamespaceKey {
            namespace: Namespace::parse("demo").unwrap(),
            ..other
        },
        kubeconfig: vec!["/k".into()],
        selection: Selection::default(),
        options: Options::default(),
        lease: None,
        environment: BTreeMap::new(),
    };
    world.state.add_namespace(request, now).unwrap();
    let which = RemoveNamespaces::Named("demo".into());
    let ambiguous = world
        .state
        .remove_namespaces(UID, &which, now)
        .unwrap_err()
        .to_string();
    assert!(ambiguous.contains("demo.sim, demo.sim2"), "{ambiguous}");
    let exact = RemoveNamespaces::Named("demo.sim".into());
    assert_eq!(
        world
            .state
            .remove_namespaces(UID, &exact, now)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_reserved_address_moves_what_is_meant() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let address = Ipv4Addr::new(127, 9, 9, 9);
    let target = Target::Name(HostName::parse("api").unwrap());
    world
        .state
        .reserve(Reservation {
            owner: Some(UID),
            target: target.clone(),
            address,
        })
        .unwrap();
    world.rest();
    assert_eq!(world.service("demo", "api").unwrap().address, Some(address));
    assert_eq!(
        world.open.values().copied().collect::<Vec<_>>(),
        [(address, 80)]
    );
    world.state.unreserve(Some(UID), &target).unwrap();
    assert!(world.state.unreserve(Some(UID), &target).is_err());
}

#[test]
fn a_worker_speaks_for_its_own_listeners_only() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let before = world.service("demo", "api").unwrap().clone();
    let listener = *world.open.keys().next().unwrap();
    let stranger = UID + 1;
    let traffic = Traffic {
        bytes_in: 99,
        ..Traffic::default()
    };
    world.state.traffic_reported(stranger, listener, traffic);
    world.state.held(stranger, listener, Some("x".into()));
    let report = ForwardReport {
        sequence: 9,
        ..ForwardReport::default()
    };
    world.state.forward_reported(stranger, listener, report);
    world.rest();
    assert_eq!(*world.service("demo", "api").unwrap(), before);
}

#[test]
fn counters_go_on_over_a_worker_s_death_and_never_back() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let listener = *world.open.keys().next().unwrap();
    let bytes = |n| Traffic {
        bytes_in: n,
        ..Traffic::default()
    };
    world.state.traffic_reported(UID, listener, bytes(10));
    world.state.traffic_reported(UID, listener, bytes(5));
    world.held.clear();
    world.state.worker_gone(UID, String::new(), true);
    world.state.worker_ready(UID);
    world.rest();
    world.state.traffic_reported(UID, listener, bytes(3));
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().forwards[0]
            .traffic
            .bytes_in,
        13
    );
}

/// What can happen, in any order.
#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Remove(usize),
    AddService(usize, usize),
    RemoveService(usize, usize),
    Found(usize, usize, usize),
    Gone(usize, usize),
    Listed(usize, Vec<usize>),
    WorkerDies,
    WriteHosts,
    Restart,
}

const NAMESPACES: [&str; 3] = ["one", "two", "three"];
const SERVICES: [&str; 3] = ["api", "db", "web"];

fn variant(n: usize) -> ObservedService {
    match n {
        0 => observed(&[80]),
        1 => observed(&[80, 8080]),
        2 => headless(&["p-0"]),
        3 => headless(&["p-1", "p-2"]),
        _ => ObservedService {
            unsupported: Some("why".into()),
            ..observed(&[53])
        },
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (n, s) = (0..NAMESPACES.len(), 0..SERVICES.len());
    prop_oneof![
        3 => n.clone().prop_map(Step::Add),
        2 => n.clone().prop_map(Step::Remove),
        2 => (n.clone(), s.clone()).prop_map(|(n, s)| Step::AddService(n, s)),
        2 => (n.clone(), s.clone()).prop_map(|(n, s)| Step::RemoveService(n, s)),
        8 => (n.clone(), s.clone(), 0..5usize).prop_map(|(n, s, v)| Step::Found(n, s, v)),
        2 => (n.clone(), s.clone()).prop_map(|(n, s)| Step::Gone(n, s)),
        1 => (n, proptest::collection::vec(s, 0..3)).prop_map(|(n, s)| Step::Listed(n, s)),
        1 => Just(Step::WorkerDies),
        3 => Just(Step::WriteHosts),
        1 => Just(Step::Restart),
    ]
}

fn perform(world: &mut World, step: &Step) {
    let now = SystemTime::UNIX_EPOCH;
    match step {
        // Refusals are part of the game: what is there cannot be added, what is not cannot be removed.
        Step::Add(n) => drop(world.add_namespace(NAMESPACES[*n])),
        Step::Remove(n) => {
            let which = RemoveNamespaces::Named(NAMESPACES[*n].to_owned());
            drop(world.state.remove_namespaces(UID, &which, now));
        }
        Step::AddService(n, s) => drop(world.add_service(NAMESPACES[*n], SERVICES[*s], &[])),
        Step::RemoveService(n, s) => {
            let which = RemoveServices::Named(format!("{}.{}", SERVICES[*s], NAMESPACES[*n]));
            drop(world.state.remove_services(UID, &which));
        }
        Step::Found(n, s, v) => world.found(NAMESPACES[*n], SERVICES[*s], variant(*v)),
        Step::Gone(n, s) => {
            let gone = [name(SERVICES[*s])];
            world
                .state
                .services_reported(&key(NAMESPACES[*n]), Vec::new(), &gone)
                .unwrap();
        }
        Step::Listed(n, exist) => {
            let exist = exist.iter().map(|s| name(SERVICES[*s])).collect();
            world.state.services_listed(&key(NAMESPACES[*n]), &exist);
        }
        Step::WorkerDies if world.running => {
            world.held.clear();
            world.state.worker_gone(UID, "killed".into(), true);
            world.settle();
            world.state.worker_ready(UID);
        }
        Step::WorkerDies => {}
        Step::WriteHosts => world.write_hosts(),
        Step::Restart => {
            world.rest();
            *world = World::new(world.state.save());
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_events_ends_in_the_same_state(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(Saved::default());
        for step in &steps {
            perform(&mut world, step);
            world.settle();
            // A name never points at nothing.
            for address in world.hosts.keys() {
                prop_assert!(world.open.values().any(|(open, _)| open == address), "{address} after {step:?}");
            }
        }
        world.rest();
        prop_assert_eq!(&world.hosts, &world.state.hosts_entries());
        let held: BTreeSet<_> = world.open.keys().copied().collect();
        prop_assert_eq!(&world.held, &held, "the worker holds exactly what is open");

        // The same wishes and the same cluster, from scratch.
        let mut scratch = World::new(world.state.save());
        scratch.rest();
        prop_assert_eq!(&scratch.hosts, &world.hosts);
        let places = |world: &World| world.open.values().copied().collect::<BTreeSet<_>>();
        prop_assert_eq!(places(&scratch), places(&world));
        let shown = |world: &World| -> Vec<_> {
            let services = world.state.view().services.values();
            services.map(|s| (s.key.clone(), s.state, s.address, s.hostnames.clone())).collect()
        };
        prop_assert_eq!(shown(&scratch), shown(&world));

        // And nothing is left when nothing is wanted.
        drop(world.state.remove_namespaces(UID, &RemoveNamespaces::All, SystemTime::UNIX_EPOCH));
        world.rest();
        prop_assert!(world.open.is_empty() && world.hosts.is_empty() && world.state.listeners.is_empty());
    }
}
