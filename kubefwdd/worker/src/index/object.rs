//! Kubernetes objects, reduced to what forwarding needs: the rest is dropped as soon as it is decoded.

use std::sync::Arc;

/// The name or uid of an object, shared by everything that refers to it.
pub(crate) type Name = Arc<str>;

/// One label, `key=value`.
pub(crate) type Label = Arc<str>;

/// A Service (core/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub name: Name,
    /// Where an ExternalName service points; `None` for every other type.
    pub external_name: Option<Box<str>>,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Pods count as ready even when they are not.
    pub publish_not_ready: bool,
    /// Labels that its pods carry, sorted; empty: it selects no pods.
    pub selector: Box<[Label]>,
    /// In the order of the service.
    pub ports: Box<[ServicePort]>,
}

/// A port of a [`Service`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePort {
    /// Empty where a service has one port without a name.
    pub name: Box<str>,
    /// The service's own port.
    pub port: u16,
    /// What it carries; Kubernetes' port-forward carries TCP only.
    pub protocol: Protocol,
    /// The port of the pods.
    pub target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// The port of a pod, as a service says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Number(u16),
    /// The name of a container port: may be another number in every pod.
    Name(Box<str>),
}

/// An EndpointSlice (discovery.k8s.io/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub name: Name,
    /// The service that it belongs to.
    pub service: Name,
    /// TCP ports of every endpoint in it.
    pub ports: Box<[SlicePort]>,
    pub endpoints: Box<[SliceEndpoint]>,
}

/// A port of a [`Slice`], already resolved to a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlicePort {
    /// The name of the service's port.
    pub name: Box<str>,
    /// The port of the pods.
    pub port: u16,
}

/// An endpoint of a [`Slice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceEndpoint {
    /// The pod behind it; `None` for an address that is not a pod of this namespace.
    pub pod: Option<PodRef>,
    /// Whether it takes connections.
    pub condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodRef {
    pub name: Name,
    /// `metadata.uid`: a pod of a StatefulSet comes back under the same name with another uid.
    pub uid: Name,
}

/// Whether a pod takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    NotReady,
    /// Terminating but still serving: used only while nothing is [`Condition::Ready`], as kube-proxy does.
    Draining,
    Ready,
}

/// A Pod (core/v1), read where EndpointSlices are forbidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub name: Name,
    pub uid: Name,
    /// All of them, sorted.
    pub labels: Box<[Label]>,
    /// The `Ready` condition.
    pub ready: bool,
    pub terminating: bool,
    /// It has an address and has neither succeeded nor failed.
    pub running: bool,
    /// TCP ports of its containers.
    pub ports: Box<[ContainerPort]>,
}

/// A port that a container of a [`Pod`] declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerPort {
    /// May be empty.
    pub name: Box<str>,
    pub port: u16,
    /// The container that declares it.
    pub container: Name,
}

impl Protocol {
    /// As Kubernetes writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl Service {
    /// Its ports that can be forwarded.
    pub(crate) fn tcp_ports(&self) -> impl Iterator<Item = &ServicePort> {
        self.ports
            .iter()
            .filter(|port| port.protocol == Protocol::Tcp)
    }
}
