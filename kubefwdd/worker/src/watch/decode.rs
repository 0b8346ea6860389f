//! Decodes objects of the API server into their compact forms.
//!
//! Of the metadata only what is named here is decoded: managed fields and annotations, the larger part of many objects,
//! never take memory.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::index::object::{
    Condition, ContainerPort, Label, Name, Pod, PodRef, Protocol, Service, ServicePort, Slice,
    SliceEndpoint, SlicePort, Target,
};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A watched resource.
pub(super) trait Decode: DeserializeOwned + Clone + Send + 'static {
    /// The resource of the API.
    type Kind: kube::Resource<DynamicType = ()> + k8s_openapi::Resource;
    /// What is kept of an object.
    type Compact: Send + 'static;

    fn metadata(&self) -> &Metadata;
    /// `None` if forwarding has no use for it.
    fn compact(self) -> Option<Self::Compact>;
}

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) metadata: ListMeta,
    /// `null` where a server has nothing to list.
    pub(super) items: Option<Vec<T>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    labels: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawService {
    metadata: Metadata,
    #[serde(default)]
    spec: core::ServiceSpec,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawSlice {
    metadata: Metadata,
    endpoints: Option<Vec<discovery::Endpoint>>,
    ports: Option<Vec<discovery::EndpointPort>>,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawPod {
    metadata: Metadata,
    #[serde(default)]
    spec: core::PodSpec,
    #[serde(default)]
    status: core::PodStatus,
}

impl Decode for RawService {
    type Kind = core::Service;
    type Compact = Service;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn compact(self) -> Option<Service> {
        let spec = self.spec;
        let is_external = spec.type_.as_deref() == Some("ExternalName");
        let ports = spec.ports.into_iter().flatten();
        Some(Service {
            name: self.metadata.name.into(),
            external_name: is_external.then(|| spec.external_name.unwrap_or_default().into()),
            headless: spec.cluster_ip.as_deref() == Some("None"),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
            selector: labels(spec.selector),
            ports: ports.filter_map(service_port).collect(),
        })
    }
}

fn service_port(port: core::ServicePort) -> Option<ServicePort> {
    let number = u16::try_from(port.port).ok()?;
    Some(ServicePort {
        name: port.name.unwrap_or_default().into(),
        port: number,
        protocol: protocol(port.protocol.as_deref()),
        target: match port.target_port {
            Some(IntOrString::Int(target)) if target != 0 => {
                Target::Number(u16::try_from(target).ok()?)
            }
            Some(IntOrString::String(name)) if !name.is_empty() => Target::Name(name.into()),
            _ => Target::Number(number),
        },
    })
}

impl Decode for RawSlice {
    type Kind = discovery::EndpointSlice;
    type Compact = Slice;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn compact(self) -> Option<Slice> {
        let service = self.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
        let namespace = &self.metadata.namespace;
        let ports = self.ports.into_iter().flatten().filter_map(|port| {
            let is_tcp = protocol(port.protocol.as_deref()) == Protocol::Tcp;
            let number = port.port.filter(|_| is_tcp)?;
            Some(SlicePort {
                name: port.name.unwrap_or_default().into(),
                port: u16::try_from(number).ok()?,
            })
        });
        let endpoints = self.endpoints.into_iter().flatten();
        let endpoints = endpoints.map(|endpoint| SliceEndpoint {
            condition: condition(endpoint.conditions.unwrap_or_default()),
            pod: endpoint
                .target_ref
                .and_then(|target| pod(target, namespace)),
        });
        Some(Slice {
            service: service.as_str().into(),
            ports: ports.collect(),
            endpoints: endpoints.collect(),
            name: self.metadata.name.into(),
        })
    }
}

/// `None` if it is not a pod of this namespace.
fn pod(target: core::ObjectReference, namespace: &str) -> Option<PodRef> {
    let of = target.namespace.unwrap_or_default();
    let is_here = of.is_empty() || of == namespace;
    let name = target.name.filter(|name| !name.is_empty())?;
    (is_here && target.kind.as_deref() == Some("Pod")).then(|| PodRef {
        name: name.into(),
        uid: target.uid.unwrap_or_default().into(),
    })
}

/// Absent means ready; `serving` is absent on old clusters and then the same as `ready`.
fn condition(conditions: discovery::EndpointConditions) -> Condition {
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    match (ready, serving, conditions.terminating.unwrap_or(false)) {
        (true, ..) => Condition::Ready,
        (false, true, true) => Condition::Draining,
        (false, ..) => Condition::NotReady,
    }
}

impl Decode for RawPod {
    type Kind = core::Pod;
    type Compact = Pod;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn compact(self) -> Option<Pod> {
        let status = self.status;
        let ready = |condition: &core::PodCondition| {
            condition.type_ == "Ready" && condition.status == "True"
        };
        let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let has_address = status.pod_ip.is_some_and(|address| !address.is_empty());
        let containers = self.spec.containers.into_iter();
        // Sidecars are init containers that keep running.
        let sidecars = self.spec.init_containers.into_iter().flatten();
        Some(Pod {
            name: self.metadata.name.into(),
            uid: self.metadata.uid.into(),
            labels: labels(self.metadata.labels),
            ready: status.conditions.iter().flatten().any(ready),
            terminating: self.metadata.deletion_timestamp.is_some(),
            running: has_address && !has_ended,
            ports: containers.chain(sidecars).flat_map(ports_of).collect(),
        })
    }
}

fn ports_of(container: core::Container) -> impl Iterator<Item = ContainerPort> {
    let name = Name::from(container.name);
    let ports = container.ports.into_iter().flatten();
    let tcp = ports.filter(|port| protocol(port.protocol.as_deref()) == Protocol::Tcp);
    tcp.filter_map(move |port| {
        Some(ContainerPort {
            name: port.name.unwrap_or_default().into(),
            port: u16::try_from(port.container_port).ok()?,
            container: name.clone(),
        })
    })
}

fn labels(labels: Option<BTreeMap<String, String>>) -> Box<[Label]> {
    let labels = labels.into_iter().flatten();
    let labels = labels.map(|(key, value)| Label::from(format!("{key}={value}")));
    let mut labels: Vec<_> = labels.collect();
    labels.sort_unstable();
    labels.into()
}

fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

#[cfg(test)]
mod tests;
