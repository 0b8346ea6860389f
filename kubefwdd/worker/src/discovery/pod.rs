//! A pod as the protocol carries it. What a user can make arbitrarily long is cut, so that one pod always fits a frame.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStatus, Pod, PodStatus, ResourceRequirements,
};
use kubefwd_proto::worker::v1::{KubeCondition, KubeContainer, KubeContainerPort, KubePod};

use super::lists::number;
use super::pod_status::Columns;

/// The longest text of one annotation or message, bytes: `last-applied-configuration` can be 256 KiB.
const MAX_TEXT: usize = 4096;
const MAX_ANNOTATIONS: usize = 64;

pub(super) fn pod(pod: Pod) -> KubePod {
    let columns = Columns::of(&pod);
    let metadata = pod.metadata;
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let statuses = statuses(&status);
    let containers = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    KubePod {
        status: columns.status,
        ready: format!("{}/{}", columns.ready, columns.containers),
        restarts: columns.restarts,
        containers: containers
            .map(|spec| container(spec, statuses.get(spec.name.as_str()).copied()))
            .collect(),
        conditions: status
            .conditions
            .iter()
            .flatten()
            .map(|condition| KubeCondition {
                r#type: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone().unwrap_or_default(),
                message: cut(condition.message.clone()),
            })
            .collect(),
        volumes: spec
            .volumes
            .into_iter()
            .flatten()
            .map(|volume| volume.name)
            .collect(),
        name: metadata.name.unwrap_or_default(),
        namespace: metadata.namespace.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default().into_iter().collect(),
        annotations: metadata
            .annotations
            .unwrap_or_default()
            .into_iter()
            .take(MAX_ANNOTATIONS)
            .map(|(key, value)| (key, cut(Some(value))))
            .collect(),
        created_at: metadata.creation_timestamp.map(|time| stamp(time.0)),
        started_at: status.start_time.as_ref().map(|time| stamp(time.0)),
        phase: status.phase.unwrap_or_default(),
        ip: status.pod_ip.unwrap_or_default(),
        host_ip: status.host_ip.unwrap_or_default(),
        node: spec.node_name.unwrap_or_default(),
        message: cut(status.message),
        reason: status.reason.unwrap_or_default(),
        qos_class: status.qos_class.unwrap_or_default(),
    }
}

fn statuses(status: &PodStatus) -> BTreeMap<&str, &ContainerStatus> {
    let all = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses);
    all.flatten()
        .map(|status| (status.name.as_str(), status))
        .collect()
}

fn container(spec: &Container, status: Option<&ContainerStatus>) -> KubeContainer {
    let state = status.and_then(|status| status.state.as_ref());
    let last = status.and_then(|status| status.last_state.as_ref());
    let (state, state_reason, state_message) = describe(state);
    let (last_state, last_reason, _) = describe(last);
    let resource = |of: fn(&ResourceRequirements) -> &Option<BTreeMap<String, _>>, name: &str| {
        let resources = spec
            .resources
            .as_ref()
            .and_then(|resources| of(resources).as_ref());
        let quantity: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> =
            resources.and_then(|resources| resources.get(name));
        quantity
            .map(|quantity| quantity.0.clone())
            .unwrap_or_default()
    };
    KubeContainer {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        ready: status.is_some_and(|status| status.ready),
        started: status.is_some_and(|status| status.started == Some(true)),
        restart_count: status.map_or(0, |status| number(status.restart_count)),
        state,
        state_reason,
        state_message,
        last_state: if last_reason.is_empty() {
            last_state
        } else {
            format!("{last_state}: {last_reason}")
        },
        ports: spec
            .ports
            .iter()
            .flatten()
            .map(|port| KubeContainerPort {
                name: port.name.clone().unwrap_or_default(),
                container_port: number(port.container_port),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            })
            .collect(),
        cpu_request: resource(|of| &of.requests, "cpu"),
        cpu_limit: resource(|of| &of.limits, "cpu"),
        memory_request: resource(|of| &of.requests, "memory"),
        memory_limit: resource(|of| &of.limits, "memory"),
    }
}

/// State, reason and message; all empty where there is no state.
fn describe(state: Option<&ContainerState>) -> (String, String, String) {
    let Some(state) = state else {
        return Default::default();
    };
    if state.running.is_some() {
        return ("Running".to_owned(), String::new(), String::new());
    }
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        return ("Waiting".to_owned(), reason, cut(waiting.message.clone()));
    }
    let Some(end) = &state.terminated else {
        return Default::default();
    };
    let reason = end.reason.clone().filter(|reason| !reason.is_empty());
    let reason = reason.unwrap_or_else(|| format!("exit code {}", end.exit_code));
    ("Terminated".to_owned(), reason, cut(end.message.clone()))
}

pub(super) fn cut(text: Option<String>) -> String {
    let mut text = text.unwrap_or_default();
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

/// A time of a cluster as the protocol carries it.
pub(super) fn stamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
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
        let pod = pod(serde_json::from_value(spec).unwrap());
        assert_eq!(
            (pod.status.as_str(), pod.ready.as_str(), pod.restarts),
            ("CrashLoopBackOff", "0/1", 3)
        );
        assert_eq!(pod.created_at.unwrap().seconds, 1_795_420_800);
        assert_eq!(pod.volumes, ["data"]);
        let container = &pod.containers[0];
        assert_eq!(container.last_state, "Terminated: exit code 1");
        assert_eq!(
            (
                container.cpu_request.as_str(),
                container.memory_limit.as_str()
            ),
            ("100m", "1Gi")
        );
        assert_eq!(container.ports[0].protocol, "TCP");
    }

    #[test]
    fn a_pod_of_a_hostile_cluster_fits_a_frame() {
        let annotations: BTreeMap<String, String> = (0..1000)
            .map(|n| (format!("a{n}"), "ä".repeat(100_000)))
            .collect();
        let large = Pod {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                annotations: Some(annotations),
                ..Default::default()
            },
            ..Pod::default()
        };
        assert!(pod(large).encoded_len() < 400 * 1024);
    }
}
