//! What a cluster consists of: workloads, services and their ports, as tests describe them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::pods::behaviour::Behaviour;

/// How the pods of a workload are when they have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PodHealth {
    /// Running and ready.
    #[default]
    Ready,
    /// Running, but its readiness probe fails.
    NotReady,
    /// Its container exits at once; nothing listens.
    CrashLoop,
    /// Not scheduled to any node: no address, no port-forward.
    Pending,
}

/// How pods are named and replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkloadKind {
    Deployment,
    StatefulSet,
    Pod,
}

/// A port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerPort {
    pub(crate) name: Option<String>,
    pub(crate) port: u16,
    pub(crate) protocol: &'static str,
}

/// What every pod of a workload is made from.
#[derive(Debug, Clone)]
pub(crate) struct PodTemplate {
    pub(crate) container: String,
    pub(crate) image: String,
    pub(crate) ports: Vec<ContainerPort>,
    pub(crate) behaviours: Arc<BTreeMap<u16, Behaviour>>,
    pub(crate) health: PodHealth,
    pub(crate) log_lines: Vec<String>,
    /// The headless service that gives the pods host names.
    pub(crate) subdomain: Option<String>,
}

/// A Deployment, a StatefulSet or a single pod, with what its pods listen on.
///
/// ```
/// use kubefwd_tests::{Behaviour, Workload};
///
/// let api = Workload::deployment("api")
///     .replicas(3)
///     .listen("http", 8080, Behaviour::Http)
///     .listen("metrics", 9091, Behaviour::Http);
/// ```
#[derive(Debug, Clone)]
pub struct Workload {
    pub(crate) name: String,
    pub(crate) kind: WorkloadKind,
    pub(crate) replicas: usize,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) template: PodTemplate,
}

impl Workload {
    fn new(name: impl Into<String>, kind: WorkloadKind) -> Self {
        let name = name.into();
        Self {
            kind,
            replicas: 1,
            labels: BTreeMap::from([("app".to_owned(), name.clone())]),
            template: PodTemplate {
                container: name.clone(),
                image: "localhost/app:1".to_owned(),
                ports: Vec::new(),
                behaviours: Arc::default(),
                health: PodHealth::Ready,
                log_lines: Vec::new(),
                subdomain: (kind == WorkloadKind::StatefulSet).then(|| name.clone()),
            },
            name,
        }
    }

    /// A Deployment: pods `NAME-HASH-XXXXX`, labelled `app=NAME`.
    pub fn deployment(name: impl Into<String>) -> Self {
        Self::new(name, WorkloadKind::Deployment)
    }

    /// A StatefulSet: pods `NAME-0`, `NAME-1`…, labelled `app=NAME`, with host names under the service `NAME`.
    pub fn stateful_set(name: impl Into<String>) -> Self {
        Self::new(name, WorkloadKind::StatefulSet)
    }

    /// One pod without an owner, labelled `app=NAME`.
    pub fn pod(name: impl Into<String>) -> Self {
        Self::new(name, WorkloadKind::Pod)
    }

    /// How many pods; 1 by default.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Adds or replaces a label of the pods.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Declares a named TCP port and what listens on it.
    #[must_use]
    pub fn listen(self, name: impl Into<String>, port: u16, behaviour: Behaviour) -> Self {
        self.declare(Some(name.into()), port, "TCP")
            .listen_undeclared(port, behaviour)
    }

    /// Lets something listen on a port that the pod does not declare.
    #[must_use]
    pub fn listen_undeclared(mut self, port: u16, behaviour: Behaviour) -> Self {
        Arc::make_mut(&mut self.template.behaviours).insert(port, behaviour);
        self
    }

    /// Declares a named TCP port on which nothing listens: connections are refused.
    #[must_use]
    pub fn closed(self, name: impl Into<String>, port: u16) -> Self {
        self.declare(Some(name.into()), port, "TCP")
    }

    /// Declares a named UDP port.
    #[must_use]
    pub fn udp(self, name: impl Into<String>, port: u16) -> Self {
        self.declare(Some(name.into()), port, "UDP")
    }

    fn declare(mut self, name: Option<String>, port: u16, protocol: &'static str) -> Self {
        self.template.ports.push(ContainerPort {
            name,
            port,
            protocol,
        });
        self
    }

    /// The state its pods come into.
    #[must_use]
    pub fn health(mut self, health: PodHealth) -> Self {
        self.template.health = health;
        self
    }

    /// Adds a line to the log that every pod begins with.
    #[must_use]
    pub fn log_line(mut self, line: impl Into<String>) -> Self {
        self.template.log_lines.push(line.into());
        self
    }

    /// The name of the container; the workload's name by default.
    #[must_use]
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.template.container = name.into();
        self
    }
}

/// What a service port leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// A port number of the pods.
    Number(u16),
    /// The name of a port that the pods declare.
    Name(String),
}

impl From<u16> for TargetPort {
    fn from(port: u16) -> Self {
        Self::Number(port)
    }
}

impl From<&str> for TargetPort {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    pub(crate) name: Option<String>,
    pub(crate) port: u16,
    pub(crate) target: TargetPort,
    pub(crate) protocol: &'static str,
}

impl ServicePort {
    /// An unnamed TCP port that leads to the same number.
    #[must_use]
    pub fn tcp(port: u16) -> Self {
        Self {
            name: None,
            port,
            target: TargetPort::Number(port),
            protocol: "TCP",
        }
    }

    /// An unnamed UDP port that leads to the same number.
    #[must_use]
    pub fn udp(port: u16) -> Self {
        Self {
            protocol: "UDP",
            ..Self::tcp(port)
        }
    }

    /// Names the port.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The port of the pods, by number or name.
    #[must_use]
    pub fn target(mut self, target: impl Into<TargetPort>) -> Self {
        self.target = target.into();
        self
    }
}

/// What kind of service it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServiceKind {
    ClusterIp,
    Headless,
    ExternalName(String),
}

/// A service.
///
/// ```
/// use kubefwd_tests::{Service, ServicePort};
///
/// let api = Service::new("api").port(ServicePort::tcp(80).name("http").target("http"));
/// let db = Service::new("db").headless().port(ServicePort::tcp(5432));
/// ```
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) name: String,
    pub(crate) kind: ServiceKind,
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) endpoints: Vec<Ipv4Addr>,
    pub(crate) publish_not_ready: bool,
}

impl Service {
    /// A service without ports that selects the pods labelled `app=NAME`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            kind: ServiceKind::ClusterIp,
            ports: Vec::new(),
            selector: BTreeMap::from([("app".to_owned(), name.clone())]),
            labels: BTreeMap::new(),
            endpoints: Vec::new(),
            publish_not_ready: false,
            name,
        }
    }

    /// Adds a port.
    #[must_use]
    pub fn port(mut self, port: ServicePort) -> Self {
        self.ports.push(port);
        self
    }

    /// Replaces the selector by one label.
    #[must_use]
    pub fn selects(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.selector = BTreeMap::from([(key.into(), value.into())]);
        self
    }

    /// No selector; its endpoints are these addresses (which no pod has).
    #[must_use]
    pub fn without_selector(mut self, endpoints: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        self.selector.clear();
        self.endpoints = endpoints.into_iter().collect();
        self
    }

    /// `clusterIP: None`.
    #[must_use]
    pub fn headless(mut self) -> Self {
        self.kind = ServiceKind::Headless;
        self
    }

    /// `type: ExternalName`, without selector and ports.
    #[must_use]
    pub fn external_name(mut self, name: impl Into<String>) -> Self {
        self.kind = ServiceKind::ExternalName(name.into());
        self.selector.clear();
        self
    }

    /// Adds a label of the service itself.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// `publishNotReadyAddresses: true`.
    #[must_use]
    pub fn publish_not_ready(mut self) -> Self {
        self.publish_not_ready = true;
        self
    }
}
