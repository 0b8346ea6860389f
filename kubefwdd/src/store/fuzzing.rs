//! The store in a small world: effects are executed on paper, and what must always hold is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_core::addresses::AddressRange;
use kubefwd_core::hosts_block::HostsEntries;
use kubefwd_core::names::NameRules;
use kubefwd_core::policy::Access;
use kubefwd_core::state::{
    AddNamespace, Command, Effect, ForwardPhase, ForwardReport, ObservedPort, ObservedService,
    Origin, Protocol, Report, Saved, Settings, State, Which,
};
use kubefwd_model as model;
use kubefwd_model::{
    ContextName, Failure, ListenerId, NamespaceKey, NamespaceName, Options, PodName, Reason,
    Selection, ServiceKey, ServiceName, Uid,
};

use super::{Store, store};
use crate::store_handle::{Message, StoreHandle};

/// The most services that a user's worker may report here.
const SERVICES: usize = 20;
/// A port that another program has.
const TAKEN: u16 = 81;

/// Sockets, workers and the hosts file, on paper.
pub(crate) struct World {
    store: Store,
    /// The user whose worker does not do what it is told.
    hostile: Option<Uid>,
    open: BTreeMap<ListenerId, (Ipv4Addr, u16)>,
    granted: BTreeMap<ListenerId, Uid>,
    hosts: HostsEntries,
    /// The entries that the hosts file is to have.
    wanted: HostsEntries,
    /// The version of the hosts file that was asked for and is not written.
    unwritten: Option<u64>,
}

impl World {
    /// Starts with what was saved; the worker of `hostile` is left to the caller.
    pub(crate) fn new(saved: Saved, hostile: Option<Uid>) -> (Self, StoreHandle) {
        let settings = Settings {
            dashed_names: true,
            domains: vec![model::HostName::parse("test").expect("it is one")],
            max_services_per_user: SERVICES,
            range: AddressRange::default(),
            reservations: Vec::new(),
            access: Access::Auto,
            capture: true,
        };
        let state = State::restore(saved, settings, NameRules::default());
        let (store, handle) = store(state);
        let mut world = Self {
            store,
            hostile,
            open: BTreeMap::new(),
            granted: BTreeMap::new(),
            hosts: HostsEntries::new(),
            wanted: HostsEntries::new(),
            unwritten: None,
        };
        world.settle();
        world.apply(Command::FinishStart);
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
                selection: Selection::default(),
                options: Options::default(),
                origin: Origin {
                    kubeconfig: vec!["/home/ann/.kube/config".to_owned()],
                    ..Origin::default()
                },
            };
            world.apply(Command::AddNamespace(wanted));
            world.apply(Command::Report(Report::Services {
                namespace: key,
                found: services(),
                removed: Vec::new(),
                listed: None,
            }));
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
                Some(message) = self.store.messages.recv() => self.take(message),
                output = &mut future => break output,
            }
        };
        while let Ok(message) = self.store.messages.try_recv() {
            self.take(message);
        }
        output
    }

    fn take(&mut self, message: Message) {
        let waiting = self.store.apply(std::iter::once(message));
        // The hosts file is written later: until then nothing that it names may be gone.
        self.settle();
        self.rest();
        for saved in waiting {
            let _ = saved.send(());
        }
    }

    fn apply(&mut self, command: Command) {
        let applied = self.store.state.apply(command, SystemTime::now());
        assert!(applied.is_ok(), "{applied:?}");
    }

    /// The worker of the hostile user has ended.
    pub(crate) fn worker_gone(&mut self, uid: Uid) {
        self.granted.retain(|_, holder| *holder != uid);
        self.apply(Command::Report(Report::WorkerGone {
            uid,
            error: "it broke the protocol".to_owned(),
            restarts: true,
        }));
        self.settle();
        self.rest();
    }

    /// What would be saved now.
    pub(crate) fn saved(&self) -> Saved {
        self.store.state.save()
    }

    /// The names as they are in the hosts file, and where something listens.
    pub(crate) fn shown(&self) -> (HostsEntries, BTreeSet<(Ipv4Addr, u16)>) {
        (self.hosts.clone(), self.open.values().copied().collect())
    }

    /// One user's services, as everybody sees them.
    pub(crate) fn services(&self, uid: Uid) -> Vec<(ServiceKey, Arc<model::Service>)> {
        let services = self.store.state.view().services.iter();
        let own = services.filter(|(key, _)| key.uid == uid);
        own.map(|(key, service)| (key.clone(), service.clone()))
            .collect()
    }

    /// Nobody wants anything: nothing may be left.
    pub(crate) fn end(mut self) {
        for uid in self.saved().spec.users.into_keys() {
            let which = Which::All;
            self.apply(Command::RemoveNamespaces { uid, which });
        }
        self.settle();
        self.rest();
        assert!(self.open.is_empty(), "{:?}", self.open);
        assert!(self.hosts.is_empty(), "{:?}", self.hosts);
        assert!(self.granted.is_empty(), "{:?}", self.granted);
    }

    /// Writes the hosts file until nobody asks for it.
    fn rest(&mut self) {
        while let Some(revision) = self.unwritten.take() {
            self.hosts = self.wanted.clone();
            self.apply(Command::Report(Report::HostsWritten { revision }));
            self.settle();
        }
    }

    fn settle(&mut self) {
        loop {
            let effects = self.store.state.settle(SystemTime::now());
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.execute(effect);
            }
        }
        let view = Arc::new(self.store.state.view().clone());
        self.store.view.send_replace(view);
        self.check();
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Bind {
                listener,
                address,
                port,
                ..
            } => self.bind(listener, address, port),
            Effect::Close { listener } => {
                self.open.remove(&listener);
                assert!(
                    !self.granted.contains_key(&listener),
                    "closed while its worker has it"
                );
            }
            Effect::Grant { uid, listener, .. } => self.grant(uid, listener),
            Effect::Revoke { listener, .. } => drop(self.granted.remove(&listener)),
            Effect::WriteHosts { revision, changes } => {
                self.wanted.extend(changes);
                self.wanted.retain(|_, names| !names.is_empty());
                self.unwritten = Some(revision);
            }
            Effect::StartWorker { uid, .. } if Some(uid) != self.hostile => {
                self.apply(Command::Report(Report::WorkerReady { uid }));
            }
            Effect::StopWorker { uid } => {
                self.granted.retain(|_, holder| *holder != uid);
                self.apply(Command::Report(Report::WorkerGone {
                    uid,
                    error: String::new(),
                    restarts: false,
                }));
            }
            Effect::StartWorker { .. }
            | Effect::ReleaseAddress { .. }
            | Effect::SendDesired { .. }
            | Effect::LimitAccess { .. }
            | Effect::Announce(_)
            | Effect::Warn { .. }
            | Effect::Persist => {}
        }
    }

    fn bind(&mut self, listener: ListenerId, address: Ipv4Addr, port: u16) {
        assert_ne!(port, 0, "any port would be bound at {address}");
        let place = (address, port);
        let is_free = self.open.values().all(|other| *other != place);
        assert!(is_free, "{address}:{port} is bound twice");
        let result = match port {
            TAKEN => Err(Failure::new(Reason::PortUnavailable, "taken").into()),
            _ => {
                self.open.insert(listener, place);
                Ok(())
            }
        };
        self.apply(Command::Report(Report::Bound { listener, result }));
    }

    fn grant(&mut self, uid: Uid, listener: ListenerId) {
        assert!(self.open.contains_key(&listener));
        self.granted.insert(listener, uid);
        if Some(uid) != self.hostile {
            self.apply(Command::Report(Report::Held {
                uid,
                listener,
                error: None,
            }));
            let report = ForwardReport {
                phase: ForwardPhase::Active,
                sequence: 1,
                ..ForwardReport::default()
            };
            self.apply(Command::Report(Report::Forward {
                uid,
                listener,
                report,
            }));
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let addresses: BTreeSet<_> = self.open.values().map(|(address, _)| address).collect();
        for address in self.hosts.keys() {
            assert!(
                addresses.contains(address),
                "a name points at {address}, where nothing listens"
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
