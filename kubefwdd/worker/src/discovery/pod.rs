//! A pod as lists show it, and in full. What a user can make arbitrarily long is cut, so that one pod fits a frame.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus,
    ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubefwd_model::Time;
use kubefwd_model::discovery::{self, Condition, ContainerPort, PodDetail, Resources};
use kubefwd_model::text::Text;

use super::lists::{number, protocol, texts};
use super::pod_status::Columns;

/// `last-applied-configuration` alone can be 256 KiB, of which a [`Text`] keeps the beginning.
const MAX_ANNOTATIONS: usize = 64;

/// A pod as lists show it.
pub(super) fn pod(mut pod: Pod) -> discovery::Pod<Text> {
    let columns = Columns::of(&pod);
    let spec = pod.spec.take().unwrap_or_default();
    let names = specs(&spec).map(|container| container.name.as_str().into());
    let containers = names.collect();
    let status = pod.status.unwrap_or_default();
    summary(pod.metadata, spec.node_name, status, columns, containers)
}

/// A pod with all its details.
pub(super) fn pod_in_full(mut pod: Pod) -> PodDetail {
    let columns = Columns::of(&pod);
    let spec = pod.spec.take().unwrap_or_default();
    let mut status = pod.status.take().unwrap_or_default();
    let statuses = statuses(&status);
    let containers = specs(&spec)
        .map(|spec| container(spec, statuses.get(spec.name.as_str()).copied()))
        .collect();
    let annotations = pod.metadata.annotations.take().unwrap_or_default();
    let volumes = spec.volumes.into_iter().flatten();
    let conditions = status.conditions.take().into_iter().flatten();
    PodDetail {
        message: Text::non_empty(status.message.take()),
        reason: Text::non_empty(status.reason.take()),
        host_ip: Text::non_empty(status.host_ip.take()),
        annotations: texts(annotations.into_iter().take(MAX_ANNOTATIONS).collect()),
        conditions: conditions.map(condition).collect(),
        volumes: volumes.map(|volume| volume.name.into()).collect(),
        qos_class: Text::non_empty(status.qos_class.take()),
        pod: summary(pod.metadata, spec.node_name, status, columns, containers),
    }
}

fn summary<C>(
    metadata: ObjectMeta,
    node: Option<String>,
    status: PodStatus,
    columns: Columns,
    containers: Vec<C>,
) -> discovery::Pod<C> {
    discovery::Pod {
        name: metadata.name.into(),
        namespace: metadata.namespace.into(),
        phase: status.phase.into(),
        status: columns.status.into(),
        ready: format!("{}/{}", columns.ready, columns.containers).into(),
        restarts: columns.restarts,
        created_at: metadata.creation_timestamp.map(|at| time(at.0)),
        ip: Text::non_empty(status.pod_ip),
        node: Text::non_empty(node),
        start_time: status.start_time.map(|at| time(at.0)),
        labels: texts(metadata.labels.unwrap_or_default()),
        containers,
    }
}

fn condition(condition: PodCondition) -> Condition {
    Condition {
        kind: condition.type_.into(),
        status: condition.status.into(),
        reason: Text::non_empty(condition.reason),
        message: Text::non_empty(condition.message),
    }
}

/// Init containers first, as kubectl lists them.
fn specs(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let init = spec.init_containers.iter().flatten();
    init.chain(&spec.containers)
}

fn statuses(status: &PodStatus) -> BTreeMap<&str, &ContainerStatus> {
    let init = status.init_container_statuses.iter().flatten();
    let all = init.chain(status.container_statuses.iter().flatten());
    all.map(|status| (status.name.as_str(), status)).collect()
}

fn container(spec: &Container, status: Option<&ContainerStatus>) -> discovery::Container {
    let (state, reason, message) = describe(status.and_then(|status| status.state.as_ref()));
    let (last, last_reason, _) = describe(status.and_then(|status| status.last_state.as_ref()));
    let ports = spec.ports.iter().flatten().map(|port| ContainerPort {
        name: Text::non_empty(port.name.clone()),
        container_port: number(port.container_port),
        protocol: protocol(port.protocol.clone()),
    });
    discovery::Container {
        name: spec.name.as_str().into(),
        image: spec.image.clone().into(),
        ready: status.is_some_and(|status| status.ready),
        started: status.is_some_and(|status| status.started == Some(true)),
        restart_count: status.map_or(0, |status| number(status.restart_count)),
        state: state.into(),
        state_reason: Text::non_empty(reason),
        state_message: Text::non_empty(message),
        last_state: Text::non_empty(match last_reason.as_str() {
            "" => last.to_owned(),
            reason => format!("{last}: {reason}"),
        }),
        ports: ports.collect(),
        resources: spec.resources.as_ref().and_then(resources),
    }
}

/// `None` where nothing of interest is requested or limited.
fn resources(spec: &ResourceRequirements) -> Option<Resources> {
    let quantity = |of: &Option<BTreeMap<String, Quantity>>, name: &str| {
        let quantity = of.as_ref().and_then(|of| of.get(name));
        Text::non_empty(quantity.map(|quantity| quantity.0.as_str()))
    };
    let resources = Resources {
        cpu_request: quantity(&spec.requests, "cpu"),
        cpu_limit: quantity(&spec.limits, "cpu"),
        memory_request: quantity(&spec.requests, "memory"),
        memory_limit: quantity(&spec.limits, "memory"),
    };
    (resources != Resources::default()).then_some(resources)
}

/// The state of a container in words, its reason and its message; all empty where it has none.
fn describe(state: Option<&ContainerState>) -> (&'static str, String, Option<String>) {
    let Some(state) = state else {
        return Default::default();
    };
    match (&state.running, &state.waiting, &state.terminated) {
        (Some(_), ..) => ("Running", String::new(), None),
        (None, Some(waiting), _) => {
            let reason = waiting.reason.clone().unwrap_or_default();
            ("Waiting", reason, waiting.message.clone())
        }
        (None, None, Some(end)) => {
            let reason = end.reason.clone().filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or_else(|| format!("exit code {}", end.exit_code));
            ("Terminated", reason, end.message.clone())
        }
        (None, None, None) => Default::default(),
    }
}

pub(super) fn time(time: Timestamp) -> Time {
    Time::from(SystemTime::from(time))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_carried() {
        let spec = json!({
            "metadata": {"name": "db-0", "namespace": "demo", "creationTimestamp": "2026-11-23T08:00:00Z"},
            "spec": {
                "nodeName": "n1",
                "volumes": [{"name": "data"}],
                "containers": [{
                    "name": "db", "image": "postgres",
                    "ports": [{"containerPort": 5432, "name": "sql"}],
                    "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
                }],
            },
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "qosClass": "Burstable",
                "containerStatuses": [{
                    "name": "db", "ready": false, "restartCount": 3, "image": "", "imageID": "",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"exitCode": 1}},
                }],
            },
        });
        let spec: Pod = serde_json::from_value(spec).unwrap();
        assert_eq!(pod(spec.clone()).containers, ["db"]);
        let PodDetail { pod, volumes, .. } = pod_in_full(spec);
        assert_eq!(
            (&*pod.status, &*pod.ready, pod.restarts),
            ("CrashLoopBackOff", "0/1", 3)
        );
        let created = SystemTime::from(pod.created_at.unwrap());
        let since_epoch = created.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since_epoch.as_secs(), 1_795_420_800);
        assert_eq!(volumes, ["data"]);
        let container = &pod.containers[0];
        assert_eq!(
            container.last_state.as_deref(),
            Some("Terminated: exit code 1")
        );
        let resources = container.resources.clone().unwrap();
        assert_eq!(resources.cpu_request.as_deref(), Some("100m"));
        assert_eq!(resources.memory_limit.as_deref(), Some("1Gi"));
        assert_eq!(container.ports[0].protocol, "TCP");
    }

    #[test]
    fn a_pod_of_a_hostile_cluster_fits_a_frame() {
        for text in ["ä", "\\", "\u{1b}"] {
            let annotations: BTreeMap<String, String> = (0..1000)
                .map(|n| (format!("a{n}"), text.repeat(100_000)))
                .collect();
            let large = Pod {
                metadata: ObjectMeta {
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                },
                ..Pod::default()
            };
            let json = serde_json::to_vec(&pod_in_full(large)).unwrap();
            assert!(json.len() < 600 * 1024, "{}", json.len());
        }
    }
}
