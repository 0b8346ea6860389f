//! The owner of the state in a small world: effects are carried out on paper, and what must always hold is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_model as model;
use kubefwd_model::{
    ContextName, Failure, ListenerId, NamespaceKey, NamespaceName, Options, PodName, Reason,
    Selection, ServiceKey, ServiceName, Uid,
};

use super::{Command, Owner, OwnerHandle, owner};
use kubefwd_core::addresses::AddressRange;
use kubefwd_core::hosts_block::HostsEntries;
use kubefwd_core::names::NameRules;
use kubefwd_core::policy::Access;
use kubefwd_core::state::{
    AddNamespace, Effect, ForwardPhase, ForwardReport, ObservedPort, ObservedService, Protocol,
    RemoveNamespaces, Saved, Settings, State,
};

/// The most services that a user's worker may report here.
const SERVICES: usize = 20;
/// A port that another program has.
const TAKEN: u16 = 81;

/// Sockets, workers and the hosts file, on paper.
pub(crate) struct World {
    owner: Owner,
    /// The user whose worker does not do what it is told.
    hostile: Option<Uid>,
    open: BTreeMap<ListenerId, (Ipv4Addr, u16)>,
    granted: BTreeMap<ListenerId, Uid>,
    hosts: HostsEntries,
    /// The version of the hosts file that was asked for and is not written.
    unwritten: Option<u64>,
}

impl World {
    /// Starts with what was saved; the worker of `hostile` is left to the caller.
    pub(crate) fn new(saved: Saved, hostile: Option<Uid>) -> (Self, OwnerHandle) {
        let settings = Settings {
            dashed_names: true,
            max_services_per_user: SERVICES,
            range: AddressRange::default(),
            reservations: Vec::new(),
            access: Access::Auto,
            capture: true,
        };
        let state = State::restore(saved, settings, NameRules::default());
        let (owner, handle) = owner(state);
        let mut world = Self {
            owner,
            hostile,
            open: BTreeMap::new(),
            granted: BTreeMap::new(),
            hosts: HostsEntries::new(),
            unwritten: None,
        };
        world.settle();
        world.owner.state.started();
        world.rest();
        (world, handle)
    }

    /// With the same services for each of these users, which came in this order.
    pub(crate) fn of(users: &[Uid]) -> Self {
        let (mut world, _) = Self::new(Saved::default(), None);
        for uid in users {
            let key = NamespaceKey {
                uid: *uid,
                context: ContextName::parse("kind").expect("it is one"),
                namespace: NamespaceName::parse("shop").expect("it is one"),
            };
            let wanted = AddNamespace {
                key: key.clone(),
                kubeconfig: vec!["/home/ann/.kube/config".to_owned()],
                selection: Selection::default(),
                options: Options::default(),
                lease: None,
                environment: None,
            };
            let state = &mut world.owner.state;
            let added = state.add_namespace(wanted, SystemTime::now());
            let reported = state.services_reported(&key, services(), &[]);
            assert!(added.is_ok() && reported.is_ok());
            world.settle();
            world.rest();
        }
        world
    }

    /// Takes the calls that a future makes until it is done, and those that are left then.
    pub(crate) async fn serve<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let output = loop {
            tokio::select! {
                biased;
                Some(command) = self.owner.commands.recv() => self.take(command),
                output = &mut future => break output,
            }
        };
        while let Ok(command) = self.owner.commands.try_recv() {
            self.take(command);
        }
        output
    }

    fn take(&mut self, command: Command) {
        let now = SystemTime::now();
        let done = match command {
            Command::Report(call) => {
                call(&mut self.owner.state, now);
                None
            }
            Command::Request(call, done) => {
                call(&mut self.owner.state, now);
                Some(done)
            }
        };
        // The hosts file is written later: meanwhile nothing that it names may be gone.
        self.settle();
        self.rest();
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// The worker of the hostile user has ended.
    pub(crate) fn worker_gone(&mut self, uid: Uid) {
        self.granted.retain(|_, holder| *holder != uid);
        let state = &mut self.owner.state;
        state.worker_gone(uid, "it broke the protocol".to_owned(), true);
        self.settle();
        self.rest();
    }

    /// What would be saved now.
    pub(crate) fn saved(&self) -> Saved {
        self.owner.state.save()
    }

    /// The names as they are in the hosts file, and where something listens.
    pub(crate) fn shown(&self) -> (HostsEntries, BTreeSet<(Ipv4Addr, u16)>) {
        (self.hosts.clone(), self.open.values().copied().collect())
    }

    /// One user's services, as everybody sees them.
    pub(crate) fn services(&self, uid: Uid) -> Vec<(ServiceKey, Arc<model::Service>)> {
        let services = self.owner.state.view().services.iter();
        let own = services.filter(|(key, _)| key.uid == uid);
        own.map(|(key, service)| (key.clone(), service.clone()))
            .collect()
    }

    /// Nobody wants anything any more: nothing may be left.
    pub(crate) fn end(mut self) {
        let now = SystemTime::now();
        let users: Vec<Uid> = self.owner.state.wishes().users.keys().copied().collect();
        for uid in users {
            let all = RemoveNamespaces::All;
            let removed = self.owner.state.remove_namespaces(uid, &all, now);
            assert!(removed.is_ok(), "{removed:?}");
        }
        self.settle();
        self.rest();
        assert!(self.open.is_empty(), "{:?}", self.open);
        assert!(self.hosts.is_empty(), "{:?}", self.hosts);
        assert!(self.granted.is_empty(), "{:?}", self.granted);
    }

    /// Writes the hosts file until nobody asks for it any more.
    fn rest(&mut self) {
        while let Some(revision) = self.unwritten.take() {
            self.hosts = self.owner.state.hosts_entries();
            self.owner.state.hosts_settled(revision);
            self.settle();
        }
    }

    fn settle(&mut self) {
        loop {
            let effects = self.owner.state.settle(SystemTime::now());
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
        let view = Arc::new(self.owner.state.view().clone());
        self.owner.view.send_replace(view);
        self.check();
    }

    fn carry_out(&mut self, effect: Effect) {
        let state = &mut self.owner.state;
        let now = SystemTime::now();
        match effect {
            Effect::Bind {
                listener,
                address,
                port,
            } => {
                assert_ne!(port, 0, "any port would be bound at {address}");
                let place = (address, port);
                let is_free = self.open.values().all(|other| *other != place);
                assert!(is_free, "{address}:{port} is bound twice");
                let result = match port {
                    TAKEN => Err(Failure::new(Reason::PortUnavailable, "taken")),
                    _ => {
                        self.open.insert(listener, place);
                        Ok(())
                    }
                };
                state.bound(listener, result, now);
            }
            Effect::Close { listener } => {
                self.open.remove(&listener);
                assert!(
                    !self.granted.contains_key(&listener),
                    "closed while its worker has it"
                );
            }
            Effect::Grant { uid, listener, .. } => {
                assert!(self.open.contains_key(&listener));
                self.granted.insert(listener, uid);
                if Some(uid) != self.hostile {
                    state.held(uid, listener, None);
                    let report = ForwardReport {
                        phase: ForwardPhase::Active,
                        sequence: 1,
                        ..ForwardReport::default()
                    };
                    state.forward_reported(uid, listener, report);
                }
            }
            Effect::Revoke { listener, .. } => drop(self.granted.remove(&listener)),
            Effect::WriteHosts { revision } => self.unwritten = Some(revision),
            Effect::StartWorker { uid } if Some(uid) != self.hostile => state.worker_ready(uid),
            Effect::StopWorker { uid } => {
                self.granted.retain(|_, holder| *holder != uid);
                state.worker_gone(uid, String::new(), false);
            }
            Effect::StartWorker { .. }
            | Effect::ReleaseAddress { .. }
            | Effect::Tell { .. }
            | Effect::LimitAccess { .. }
            | Effect::Announce(_)
            | Effect::Persist => {}
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let addresses: BTreeSet<_> = self.open.values().map(|(address, _)| address).collect();
        for address in self.hosts.keys() {
            assert!(
                addresses.contains(address),
                "a name leads to {address}, where nothing listens"
            );
        }
        let names: Vec<_> = self.hosts.values().flatten().collect();
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), different.len(), "a name stands twice");
        if let Some(uid) = self.hostile {
            assert!(self.services(uid).len() <= SERVICES);
        }
    }
}

/// One with two ports, and one with an address for each of its pods.
fn services() -> Vec<(ServiceName, ObservedService)> {
    let service = |name, ports: &[u16], pods: &[&str]| {
        let port = |port: &u16| ObservedPort {
            port: *port,
            name: String::new(),
            protocol: Protocol::Tcp,
            target: port.to_string(),
        };
        let pods = pods.iter().map(|pod| PodName::parse(pod));
        let observed = ObservedService {
            headless: pods.len() > 0,
            ports: ports.iter().map(port).collect(),
            pods: pods.map(|pod| pod.expect("it is one")).collect(),
            ready_pods: 2,
            total_pods: 2,
            selected: true,
            unsupported: None,
        };
        (ServiceName::parse(name).expect("it is one"), observed)
    };
    vec![
        service("api", &[80, 443], &[]),
        service("db", &[5432], &["db-0", "db-1"]),
    ]
}
