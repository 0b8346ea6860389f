//! Describing and starting a cluster.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use crate::auth::User;
use crate::cluster::Cluster;
use crate::controller;
use crate::kinds::Kind;
use crate::objects;
use crate::pki::{Authority, PkiError};
use crate::pods::behaviour::Behaviour;
use crate::server::ApiServer;
use crate::spec::{Service, ServicePort, Workload};
use crate::state::{Flavour, FlavourCell, State, Timing};
use crate::store::Store;
use crate::world::World;

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Certificates or TLS.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The listener.
    #[error(
        "the simulated API server cannot listen on {address}: {source}; choose another address or port 0"
    )]
    Listen {
        /// Where it should have listened.
        address: SocketAddr,
        /// Why it cannot.
        source: io::Error,
    },
}

/// A namespace and what is in it.
#[derive(Debug, Clone)]
pub struct Namespace {
    pub(crate) name: String,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) services: Vec<Service>,
}

impl Namespace {
    /// An empty namespace.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            workloads: Vec::new(),
            services: Vec::new(),
        }
    }

    /// Adds a workload.
    #[must_use]
    pub fn workload(mut self, workload: Workload) -> Self {
        self.workloads.push(workload);
        self
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Adds `count` services `svc-00000`, `svc-00001`… with one pod each, port 80 leading to an HTTP application. They
    /// cost no task and a few kilobytes each while nobody uses them.
    #[must_use]
    pub fn generate_services(mut self, count: usize) -> Self {
        for n in 0..count {
            let name = format!("svc-{n:05}");
            self.workloads
                .push(Workload::deployment(&name).listen("http", 8080, Behaviour::Http));
            self.services
                .push(Service::new(&name).port(ServicePort::tcp(80).name("http").target("http")));
        }
        self
    }
}

/// A cluster being described; from [`Cluster::builder`].
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    address: SocketAddr,
    flavour: Flavour,
    timing: Timing,
    history: Option<usize>,
    users: Vec<User>,
    namespaces: Vec<Namespace>,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            flavour: Flavour::default(),
            timing: Timing::default(),
            history: None,
            users: vec![User::admin(), User::viewer(), User::nobody()],
            namespaces: Vec::new(),
        }
    }
}

impl ClusterBuilder {
    /// Where the API server listens; a free port of 127.0.0.1 by default.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Which Kubernetes it behaves like; 1.36 with containerd 2.1 by default.
    #[must_use]
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Changes durations of the server contract.
    #[must_use]
    pub fn timing(mut self, change: impl FnOnce(&mut Timing)) -> Self {
        change(&mut self.timing);
        self
    }

    /// How many changes of each kind watches can be resumed over; 20,000 by default.
    #[must_use]
    pub fn history(mut self, changes: usize) -> Self {
        self.history = Some(changes);
        self
    }

    /// Adds a user, beside `admin`, `system:serviceaccount:demo:viewer` and `nobody-user`, or replaces one of that name.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.users
            .retain(|known| known.identity.user != user.identity.user);
        self.users.push(user);
        self
    }

    /// Adds a namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespaces.push(namespace);
        self
    }

    /// Starts the cluster.
    ///
    /// # Errors
    /// When the API server cannot listen, or certificates cannot be made.
    pub async fn start(self) -> Result<Cluster, StartError> {
        let state = Arc::new(State {
            store: Store::new(),
            world: World::default(),
            access: crate::auth::Access::default(),
            authority: Authority::new()?,
            network: crate::faults::NetworkFaults::new(),
            requests: crate::faults::RequestFaults::default(),
            signals: tokio::sync::watch::Sender::default(),
            counters: crate::counters::Counters::default(),
            flavour: FlavourCell::new(self.flavour),
            timing: self.timing,
        });
        if let Some(history) = self.history {
            state.store.set_history(history);
        }
        for user in &self.users {
            state
                .access
                .set_rules(&user.identity.user, user.rules.clone());
        }
        let node = objects::node(Timestamp::now(), self.flavour.minor);
        state.store.put(Kind::Node, node);
        for name in ["default", "kube-system"] {
            controller::create_namespace(&state, name);
        }
        for namespace in self.namespaces {
            populate(&state, namespace);
        }
        // A cluster that is just being watched for the first time has no history either, and this one saves memory.
        state.store.compact();
        let tls = state.authority.server_config(self.address.ip())?;
        let listen = |source| StartError::Listen {
            address: self.address,
            source,
        };
        let server = ApiServer::start(Arc::clone(&state), tls, self.address)
            .await
            .map_err(listen)?;
        Ok(Cluster::new(state, server, self.users))
    }
}

/// Pods first: endpoints are then computed once per service.
fn populate(state: &State, namespace: Namespace) {
    controller::create_namespace(state, &namespace.name);
    for workload in namespace.workloads {
        controller::create_workload(state, &namespace.name, workload);
    }
    for service in namespace.services {
        controller::put_service(state, &namespace.name, service);
    }
}
