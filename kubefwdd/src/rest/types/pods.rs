//! Pods and their logs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use kubefwd_model as model;
use kubefwd_model::Time;
use kubefwd_proto::convert::system_time;
use kubefwd_proto::worker::v1 as wire;
use serde::Serialize;
use utoipa::ToSchema;

use super::non_empty;

use kubefwd_model::duration as time;

/// A pod.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pod {
    /// Its name.
    #[schema(example = "api-6f")]
    name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Pending, Running, Succeeded, Failed or Unknown.
    #[schema(example = "Running")]
    phase: String,
    /// As kubectl shows it.
    #[schema(example = "Running")]
    status: String,
    /// Containers that are ready, of all.
    #[schema(example = "1/1")]
    ready: String,
    /// Container restarts.
    #[schema(example = 0)]
    restarts: u32,
    /// Age.
    #[schema(example = "2h15m30s")]
    age: String,
    /// Its address inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10.244.0.7")]
    ip: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "worker-1")]
    node: Option<String>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"app": "api"}))]
    labels: BTreeMap<String, String>,
    /// The names of its containers.
    #[schema(example = json!(["api"]))]
    containers: Vec<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Time>,
    /// The forwarded service that it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api")]
    service_name: Option<String>,
    /// Whether the caller forwards to it.
    #[schema(example = true)]
    is_forwarded: bool,
    /// On this local port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "80")]
    forwarded_port: Option<String>,
}

/// A pod in full.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodDetail {
    /// Its name.
    #[schema(example = "api-6f")]
    name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Its context; empty for the current one.
    #[schema(example = "kind")]
    context: String,
    /// Pending, Running, Succeeded, Failed or Unknown.
    #[schema(example = "Running")]
    phase: String,
    /// As kubectl shows it.
    #[schema(example = "Running")]
    status: String,
    /// Containers that are ready, of all.
    #[schema(example = "1/1")]
    ready: String,
    /// Container restarts.
    #[schema(example = 0)]
    restarts: u32,
    /// Age.
    #[schema(example = "2h15m30s")]
    age: String,
    /// Why it is in its phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "The node was low on resource: memory")]
    message: Option<String>,
    /// The same as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Evicted")]
    reason: Option<String>,
    /// Its address inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10.244.0.7")]
    ip: Option<String>,
    /// The address of its node.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    #[schema(example = "172.18.0.2")]
    host_ip: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "worker-1")]
    node: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Time>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"app": "api"}))]
    labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"team": "web"}))]
    annotations: BTreeMap<String, String>,
    /// Its containers.
    containers: Vec<Container>,
    /// Its conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
    /// The names of its volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["data"]))]
    volumes: Vec<String>,
    /// Its QoS class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Burstable")]
    qos_class: Option<String>,
    /// Whether the caller forwards to it.
    #[schema(example = true)]
    is_forwarded: bool,
    /// Under this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    forward_key: Option<String>,
}

/// A container.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    /// Its name.
    #[schema(example = "api")]
    name: String,
    /// Its image.
    #[schema(example = "example/api:1.2")]
    image: String,
    /// Whether it is ready.
    #[schema(example = true)]
    ready: bool,
    /// Whether it has started.
    #[schema(example = true)]
    started: bool,
    /// Restarts.
    #[schema(example = 0)]
    restart_count: u32,
    /// waiting, running or terminated.
    #[schema(example = "running")]
    state: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "CrashLoopBackOff")]
    state_reason: Option<String>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "back-off 5m0s restarting failed container")]
    state_message: Option<String>,
    /// How it terminated last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "terminated")]
    last_state: Option<String>,
    /// Its ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<ContainerPort>,
    /// Resource requests and limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
}

/// A port of a container.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerPort {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "http")]
    name: Option<String>,
    /// Its number.
    #[schema(example = 8080)]
    container_port: u32,
    /// TCP, UDP or SCTP.
    #[schema(example = "TCP")]
    protocol: String,
}

/// A container's resource requests and limits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resources {
    /// CPU request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "100m")]
    cpu_request: Option<String>,
    /// CPU limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1")]
    cpu_limit: Option<String>,
    /// Memory request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "128Mi")]
    memory_request: Option<String>,
    /// Memory limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "256Mi")]
    memory_limit: Option<String>,
}

/// A condition of a pod.
#[derive(Serialize, ToSchema)]
pub(crate) struct Condition {
    /// Which.
    #[serde(rename = "type")]
    #[schema(example = "Ready")]
    kind: String,
    /// True, False or Unknown.
    #[schema(example = "True")]
    status: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ContainersNotReady")]
    reason: Option<String>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "containers with unready status: [api]")]
    message: Option<String>,
}

/// The log of a container.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodLogs {
    /// The pod.
    #[schema(example = "api-6f")]
    pub(crate) pod_name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    pub(crate) namespace: String,
    /// Its context; empty for the current one.
    #[schema(example = "kind")]
    pub(crate) context: String,
    /// The container.
    #[schema(example = "api")]
    pub(crate) container_name: String,
    /// Oldest first.
    #[schema(example = json!(["listening on :8080"]))]
    pub(crate) logs: Vec<String>,
    /// How many.
    #[schema(example = 1)]
    pub(crate) line_count: usize,
    /// Whether lines were left out, because the log is longer than one response may be.
    #[schema(example = false)]
    pub(crate) truncated: bool,
}

/// A line of a followed log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodLogLine<'a> {
    /// The container.
    #[schema(example = "api")]
    pub(crate) container_name: &'a str,
    /// The line.
    #[schema(example = "listening on :8080")]
    pub(crate) line: &'a str,
}

/// The forward that leads to a pod, with its service.
pub(crate) type LeadsTo<'a> = Option<(&'a model::Service, &'a model::Forward)>;

// === impl Pod ===

impl Pod {
    pub(crate) fn new(pod: wire::KubePod, forward: LeadsTo<'_>) -> Self {
        Self {
            age: age(&pod),
            name: pod.name,
            namespace: pod.namespace,
            phase: pod.phase,
            status: pod.status,
            ready: pod.ready,
            restarts: pod.restarts,
            ip: non_empty(&pod.ip),
            node: non_empty(&pod.node),
            labels: pod.labels.into_iter().collect(),
            containers: pod
                .containers
                .into_iter()
                .map(|container| container.name)
                .collect(),
            start_time: pod.started_at.as_ref().map(|time| system_time(time).into()),
            service_name: forward.map(|(service, _)| service.key.service.to_string()),
            is_forwarded: forward.is_some(),
            forwarded_port: forward.map(|(_, forward)| forward.local_port.to_string()),
        }
    }
}

// === impl PodDetail ===

impl PodDetail {
    pub(crate) fn new(pod: wire::KubePod, context: String, forward: LeadsTo<'_>) -> Self {
        let condition = |condition: wire::KubeCondition| Condition {
            kind: condition.r#type,
            status: condition.status,
            reason: non_empty(&condition.reason),
            message: non_empty(&condition.message),
        };
        Self {
            age: age(&pod),
            name: pod.name,
            namespace: pod.namespace,
            context,
            phase: pod.phase,
            status: pod.status,
            ready: pod.ready,
            restarts: pod.restarts,
            message: non_empty(&pod.message),
            reason: non_empty(&pod.reason),
            ip: non_empty(&pod.ip),
            host_ip: non_empty(&pod.host_ip),
            node: non_empty(&pod.node),
            start_time: pod.started_at.as_ref().map(|time| system_time(time).into()),
            labels: pod.labels.into_iter().collect(),
            annotations: pod.annotations.into_iter().collect(),
            containers: pod.containers.into_iter().map(Container::from).collect(),
            conditions: pod.conditions.into_iter().map(condition).collect(),
            volumes: pod.volumes,
            qos_class: non_empty(&pod.qos_class),
            is_forwarded: forward.is_some(),
            forward_key: forward.map(|(_, forward)| forward.key.clone()),
        }
    }
}

impl From<wire::KubeContainer> for Container {
    fn from(container: wire::KubeContainer) -> Self {
        let resources = Resources {
            cpu_request: non_empty(&container.cpu_request),
            cpu_limit: non_empty(&container.cpu_limit),
            memory_request: non_empty(&container.memory_request),
            memory_limit: non_empty(&container.memory_limit),
        };
        let any = [
            &resources.cpu_request,
            &resources.cpu_limit,
            &resources.memory_request,
            &resources.memory_limit,
        ];
        let any = any.into_iter().any(Option::is_some);
        let port = |port: wire::KubeContainerPort| ContainerPort {
            name: non_empty(&port.name),
            container_port: port.container_port,
            protocol: port.protocol,
        };
        Self {
            state_reason: non_empty(&container.state_reason),
            state_message: non_empty(&container.state_message),
            last_state: non_empty(&container.last_state),
            name: container.name,
            image: container.image,
            ready: container.ready,
            started: container.started,
            restart_count: container.restart_count,
            state: container.state,
            ports: container.ports.into_iter().map(port).collect(),
            resources: any.then_some(resources),
        }
    }
}

fn age(pod: &wire::KubePod) -> String {
    let created = pod.created_at.as_ref().or(pod.started_at.as_ref());
    created.map(system_time).map_or_else(
        || time::long(std::time::Duration::ZERO),
        |created: SystemTime| time::since(created),
    )
}
