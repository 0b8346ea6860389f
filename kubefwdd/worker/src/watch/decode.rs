//! Decodes objects of the API server, no further than needed, into their compact forms.
//!
//! Fields are those of Service and Pod (core/v1) and EndpointSlice (discovery.k8s.io/v1); what is not named here is
//! skipped by the decoder and never takes memory.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::index::object::{
    Condition, ContainerPort, Label, Name, Pod, PodRef, Protocol, Service, ServicePort, Slice,
    SliceEndpoint, SlicePort, Target,
};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A watched resource.
pub(super) trait Decode: DeserializeOwned + Clone + Send + 'static {
    /// What is kept of an object.
    type Compact: Send + 'static;
    /// The resource's name in paths and in role rules.
    const RESOURCE: &'static str;
    /// The path in front of `namespaces/`.
    const API: &'static str;

    fn metadata(&self) -> &Metadata;
    /// `None` if forwarding has no use for it.
    fn compact(self) -> Option<Self::Compact>;
}

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) metadata: PageMetadata,
    /// `null` where a server has nothing to list.
    pub(super) items: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) continue_token: String,
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
    spec: ServiceSpec,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    r#type: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    external_name: String,
    publish_not_ready_addresses: bool,
    selector: Option<BTreeMap<String, String>>,
    ports: Option<Vec<RawServicePort>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawServicePort {
    #[serde(default)]
    name: String,
    port: u16,
    #[serde(default)]
    protocol: String,
    target_port: Option<IntOrString>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum IntOrString {
    Int(u16),
    String(String),
}

#[derive(Clone, Deserialize)]
pub(super) struct RawSlice {
    metadata: Metadata,
    endpoints: Option<Vec<RawEndpoint>>,
    ports: Option<Vec<RawEndpointPort>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEndpoint {
    #[serde(default)]
    conditions: EndpointConditions,
    target_ref: Option<TargetRef>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct RawEndpointPort {
    name: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawPod {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    containers: Vec<Container>,
    /// Sidecars are init containers that keep running.
    init_containers: Option<Vec<Container>>,
}

#[derive(Clone, Deserialize)]
struct Container {
    name: String,
    ports: Option<Vec<RawContainerPort>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawContainerPort {
    #[serde(default)]
    name: String,
    container_port: u16,
    #[serde(default)]
    protocol: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    conditions: Option<Vec<PodCondition>>,
}

#[derive(Clone, Deserialize)]
struct PodCondition {
    r#type: String,
    status: String,
}

impl Decode for RawService {
    type Compact = Service;
    const RESOURCE: &'static str = "services";
    const API: &'static str = "/api/v1";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn compact(self) -> Option<Service> {
        let spec = self.spec;
        let ports = spec.ports.unwrap_or_default().into_iter();
        Some(Service {
            name: self.metadata.name.into(),
            external_name: (spec.r#type == "ExternalName").then(|| spec.external_name.into()),
            headless: spec.cluster_ip == "None",
            publish_not_ready: spec.publish_not_ready_addresses,
            selector: labels(spec.selector),
            ports: ports
                .map(|port| ServicePort {
                    target: match port.target_port {
                        Some(IntOrString::Int(number)) if number != 0 => Target::Number(number),
                        Some(IntOrString::String(name)) if !name.is_empty() => {
                            Target::Name(name.into())
                        }
                        _ => Target::Number(port.port),
                    },
                    name: port.name.into(),
                    port: port.port,
                    protocol: protocol(&port.protocol),
                })
                .collect(),
        })
    }
}

impl Decode for RawSlice {
    type Compact = Slice;
    const RESOURCE: &'static str = "endpointslices";
    const API: &'static str = "/apis/discovery.k8s.io/v1";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn compact(self) -> Option<Slice> {
        let service = self.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
        let namespace = &self.metadata.namespace;
        let ports = self.ports.into_iter().flatten().filter_map(|port| {
            Some(SlicePort {
                name: port.name.unwrap_or_default().into(),
                port: port.port?,
                protocol: protocol(&port.protocol.unwrap_or_default()),
            })
        });
        let endpoints = self.endpoints.into_iter().flatten();
        let endpoints = endpoints.map(|endpoint| SliceEndpoint {
            condition: endpoint.conditions.condition(),
            pod: endpoint.target_ref.and_then(|target| target.pod(namespace)),
        });
        Some(Slice {
            service: service.as_str().into(),
            ports: ports.collect(),
            endpoints: endpoints.collect(),
            name: self.metadata.name.into(),
        })
    }
}

impl TargetRef {
    /// `None` if it is not a pod of this namespace.
    fn pod(self, namespace: &str) -> Option<PodRef> {
        let is_here = self.namespace.is_empty() || self.namespace == namespace;
        (self.kind == "Pod" && is_here && !self.name.is_empty()).then(|| PodRef {
            name: self.name.into(),
            uid: self.uid.into(),
        })
    }
}

impl EndpointConditions {
    /// Absent means ready; `serving` is absent on old clusters and then the same as `ready`.
    fn condition(&self) -> Condition {
        let ready = self.ready.unwrap_or(true);
        let serving = self.serving.unwrap_or(ready);
        match (ready, serving, self.terminating.unwrap_or(false)) {
            (true, ..) => Condition::Ready,
            (false, true, true) => Condition::Draining,
            (false, ..) => Condition::NotReady,
        }
    }
}

impl Decode for RawPod {
    type Compact = Pod;
    const RESOURCE: &'static str = "pods";
    const API: &'static str = "/api/v1";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn compact(self) -> Option<Pod> {
        let status = self.status;
        let ready =
            |condition: &PodCondition| condition.r#type == "Ready" && condition.status == "True";
        let containers = self.spec.containers.into_iter();
        let sidecars = self.spec.init_containers.into_iter().flatten();
        Some(Pod {
            name: self.metadata.name.into(),
            uid: self.metadata.uid.into(),
            labels: labels(self.metadata.labels),
            ready: status.conditions.iter().flatten().any(ready),
            terminating: self.metadata.deletion_timestamp.is_some(),
            running: !status.pod_ip.is_empty()
                && !matches!(status.phase.as_str(), "Succeeded" | "Failed"),
            ports: containers.chain(sidecars).flat_map(ports_of).collect(),
        })
    }
}

fn ports_of(container: Container) -> impl Iterator<Item = ContainerPort> {
    let name = Name::from(container.name);
    let ports = container.ports.unwrap_or_default().into_iter();
    ports
        .filter(|port| protocol(&port.protocol) == Protocol::Tcp)
        .map(move |port| ContainerPort {
            name: port.name.into(),
            port: port.container_port,
            container: name.clone(),
        })
}

fn labels(labels: Option<BTreeMap<String, String>>) -> Box<[Label]> {
    let labels = labels.into_iter().flatten();
    let labels = labels.map(|(key, value)| Label::from(format!("{key}={value}")));
    let mut labels: Vec<_> = labels.collect();
    labels.sort_unstable();
    labels.into()
}

fn protocol(text: &str) -> Protocol {
    match text {
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

#[cfg(test)]
mod tests;
