//! What the cluster has, as the caller's own worker sees it with the caller's own rights.

use std::collections::BTreeMap;

use kubefwd_model::Time;
use kubefwd_proto::convert::system_time;
use kubefwd_proto::worker::v1 as wire;
use serde::Serialize;
use utoipa::ToSchema;

use super::non_empty;

/// The contexts of the caller's kubeconfig.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContextList {
    /// Sorted by name.
    pub(crate) contexts: Vec<KubeContext>,
    /// The current context; may be empty.
    #[schema(example = "kind")]
    pub(crate) current_context: String,
}

/// A context.
#[derive(Serialize, ToSchema)]
#[schema(as = Context)]
pub(crate) struct KubeContext {
    /// Its name.
    #[schema(example = "kind")]
    name: String,
    /// Its cluster.
    #[schema(example = "kind")]
    cluster: String,
    /// Its user.
    #[schema(example = "admin")]
    user: String,
    /// Its own namespace.
    #[schema(example = "default")]
    namespace: String,
    /// Whether it is the current one.
    #[schema(example = true)]
    active: bool,
}

/// The namespaces of a cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct KubeNamespaces {
    /// Sorted by name.
    pub(crate) namespaces: Vec<KubeNamespace>,
}

/// A namespace of a cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct KubeNamespace {
    /// Its name.
    #[schema(example = "shop")]
    pub(crate) name: String,
    /// Active or Terminating.
    #[schema(example = "Active")]
    pub(crate) status: String,
    /// Whether the caller forwards it.
    #[schema(example = true)]
    pub(crate) forwarded: bool,
}

/// The services of a namespace in a cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct KubeServices {
    /// Sorted by name.
    pub(crate) services: Vec<KubeService>,
}

/// A service of a cluster.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KubeService {
    /// Its name.
    #[schema(example = "api")]
    name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName.
    #[serde(rename = "type")]
    #[schema(example = "ClusterIP")]
    kind: String,
    /// Its address inside the cluster; `None` for a headless one.
    #[serde(rename = "clusterIP")]
    #[schema(example = "10.96.0.12")]
    cluster_ip: String,
    /// Its ports.
    ports: Vec<KubePort>,
    /// Its pod selector.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"app": "api"}))]
    selector: BTreeMap<String, String>,
    /// Whether the caller forwards it.
    #[schema(example = true)]
    forwarded: bool,
    /// Under this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind")]
    forward_key: Option<String>,
}

/// A port of a service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KubePort {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "http")]
    name: Option<String>,
    /// Its number.
    #[schema(example = 80)]
    port: u32,
    /// The number or name of the pod's port.
    #[schema(example = "8080")]
    target_port: String,
    /// TCP, UDP or SCTP.
    #[schema(example = "TCP")]
    protocol: String,
}

/// An event of a cluster.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KubeEvent {
    /// Normal or Warning.
    #[serde(rename = "type")]
    #[schema(example = "Warning")]
    kind: String,
    /// A machine-readable code.
    #[schema(example = "BackOff")]
    reason: String,
    /// What happened.
    #[schema(example = "Back-off restarting failed container")]
    message: String,
    /// How often.
    #[schema(example = 3)]
    count: u32,
    /// When it first occurred.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_timestamp: Option<Time>,
    /// When it last occurred.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_timestamp: Option<Time>,
    /// The reporting component.
    #[schema(example = "kubelet")]
    source: String,
    /// What it applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Pod")]
    object_kind: Option<String>,
    /// The object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    object_name: Option<String>,
}

/// The endpoints of a service.
#[derive(Serialize, ToSchema)]
pub(crate) struct Endpoints {
    /// The service.
    #[schema(example = "api")]
    name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Addresses grouped by ports.
    subsets: Vec<EndpointSubset>,
}

/// Addresses with the same ports.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSubset {
    /// Ready addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<EndpointAddress>,
    /// Addresses that are not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_ready_addresses: Vec<EndpointAddress>,
    /// Their ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<EndpointPort>,
}

/// An endpoint.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointAddress {
    /// Its address inside the cluster.
    #[schema(example = "10.244.0.7")]
    ip: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "db-0")]
    hostname: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "worker-1")]
    node_name: Option<String>,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pod_name: Option<String>,
}

/// A port of endpoints.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndpointPort {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "http")]
    name: Option<String>,
    /// Its number.
    #[schema(example = 8080)]
    port: u32,
    /// TCP, UDP or SCTP.
    #[schema(example = "TCP")]
    protocol: String,
}

impl From<wire::ListContextsAnswer> for ContextList {
    fn from(answer: wire::ListContextsAnswer) -> Self {
        let current = answer.current_context;
        let mut contexts: Vec<KubeContext> = answer
            .contexts
            .into_iter()
            .map(|context| KubeContext {
                active: context.name == current,
                name: context.name,
                cluster: context.cluster,
                user: context.user,
                namespace: context.namespace,
            })
            .collect();
        contexts.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            contexts,
            current_context: current,
        }
    }
}

// === impl KubeService ===

impl KubeService {
    /// The service, and the key under which the caller forwards it.
    pub(crate) fn new(service: wire::KubeService, forward_key: Option<String>) -> Self {
        let port = |port: wire::KubeServicePort| KubePort {
            name: non_empty(&port.name),
            port: port.port,
            target_port: port.target_port,
            protocol: port.protocol,
        };
        Self {
            name: service.name,
            namespace: service.namespace,
            kind: service.r#type,
            cluster_ip: service.cluster_ip,
            ports: service.ports.into_iter().map(port).collect(),
            selector: service.selector.into_iter().collect(),
            forwarded: forward_key.is_some(),
            forward_key,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl From<wire::KubeEvent> for KubeEvent {
    fn from(event: wire::KubeEvent) -> Self {
        Self {
            kind: event.r#type,
            reason: event.reason,
            message: event.message,
            count: event.count,
            first_timestamp: event
                .first_time
                .as_ref()
                .map(|time| system_time(time).into()),
            last_timestamp: event
                .last_time
                .as_ref()
                .map(|time| system_time(time).into()),
            source: event.source,
            object_kind: non_empty(&event.object_kind),
            object_name: non_empty(&event.object_name),
        }
    }
}

impl From<wire::EndpointsAnswer> for Endpoints {
    fn from(answer: wire::EndpointsAnswer) -> Self {
        let address = |address: wire::EndpointAddress| EndpointAddress {
            ip: address.ip,
            hostname: non_empty(&address.hostname),
            node_name: non_empty(&address.node),
            pod_name: non_empty(&address.pod),
        };
        let port = |port: wire::EndpointPort| EndpointPort {
            name: non_empty(&port.name),
            port: port.port,
            protocol: port.protocol,
        };
        let subset = |subset: wire::EndpointSubset| EndpointSubset {
            addresses: subset.addresses.into_iter().map(address).collect(),
            not_ready_addresses: subset
                .not_ready_addresses
                .into_iter()
                .map(address)
                .collect(),
            ports: subset.ports.into_iter().map(port).collect(),
        };
        Self {
            name: answer.name,
            namespace: answer.namespace,
            subsets: answer.subsets.into_iter().map(subset).collect(),
        }
    }
}
