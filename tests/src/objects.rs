//! The stored objects' JSON, without `kind`, `apiVersion` and `resourceVersion`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use crate::ids;
use crate::spec::{PodHealth, ServiceKind, ServicePort, TargetPort, WorkloadKind};
use crate::store::Key;
use crate::world::{PodPhase, PodRecord, ServiceRecord};

/// The one node of the cluster.
pub(crate) const NODE: &str = "sim-node";

/// Where the node is.
const NODE_IP: &str = "10.88.0.1";

/// A time as the API writes it: RFC 3339 with whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    let whole = at.round(Unit::Second).unwrap_or(at);
    whole.to_string()
}

/// A namespace.
pub(crate) fn namespace(name: &str, created: Timestamp, terminating: bool) -> Value {
    let mut value = json!({
        "metadata": {
            "name": name,
            "uid": ids::uuid_from(&format!("namespace/{name}")),
            "creationTimestamp": time(created),
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": if terminating { "Terminating" } else { "Active" }},
    });
    if terminating {
        value["metadata"]["deletionTimestamp"] = time(Timestamp::now()).into();
    }
    value
}

/// The node.
pub(crate) fn node(created: Timestamp, minor: u32) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": reason,
            "lastHeartbeatTime": time(created), "lastTransitionTime": time(created),
        })
    };
    json!({
        "metadata": {
            "name": NODE,
            "uid": ids::uuid_from(NODE),
            "creationTimestamp": time(created),
            "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"},
        },
        "spec": {},
        "status": {
            "conditions": [condition("Ready", "True", "KubeletReady")],
            "addresses": [
                {"type": "InternalIP", "address": NODE_IP},
                {"type": "Hostname", "address": NODE},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": ids::hex64(NODE)[..32],
                "systemUUID": ids::uuid_from("system"),
                "bootID": ids::uuid_from("boot"),
                "kernelVersion": "6.0.0",
                "osImage": "Simulated",
                "containerRuntimeVersion": "containerd://2.1.9",
                "kubeletVersion": format!("v1.{minor}.0"),
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    })
}

fn metadata(key: &Key, uid: &str, created: Timestamp, labels: &BTreeMap<String, String>) -> Value {
    let mut metadata = json!({
        "name": key.1,
        "namespace": key.0,
        "uid": uid,
        "creationTimestamp": time(created),
    });
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    metadata
}

fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!([{
        "apiVersion": api_version, "kind": kind, "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Kind, name and uid of what owns a pod.
pub(crate) struct PodOwner<'a> {
    pub(crate) kind: WorkloadKind,
    pub(crate) name: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) uid: &'a str,
}

/// A pod as it is now.
pub(crate) fn pod(pod: &PodRecord, owned_by: Option<PodOwner<'_>>) -> Value {
    let mut metadata = metadata(&pod.key, &pod.uid, pod.created, &pod.labels);
    metadata["generation"] = 1.into();
    if let Some(generate) = &pod.generate_name {
        metadata["generateName"] = json!(generate);
    }
    if let Some(by) = owned_by {
        metadata["ownerReferences"] = match by.kind {
            WorkloadKind::StatefulSet => owner("apps/v1", "StatefulSet", by.name, by.uid),
            _ => owner(
                "apps/v1",
                "ReplicaSet",
                &format!("{}-{}", by.name, by.hash),
                &ids::uuid_from(&format!("{}/{}", by.uid, by.hash)),
            ),
        };
    }
    if let Some(deleted) = pod.deleted {
        metadata["deletionTimestamp"] = time(deleted).into();
        metadata["deletionGracePeriodSeconds"] = 2.into();
    }
    json!({"metadata": metadata, "spec": pod_spec(pod), "status": pod_status(pod)})
}

fn pod_spec(pod: &PodRecord) -> Value {
    let ports: Vec<Value> = pod
        .template
        .ports
        .iter()
        .map(|port| {
            let mut value = json!({"containerPort": port.port, "protocol": port.protocol});
            if let Some(name) = &port.name {
                value["name"] = json!(name);
            }
            value
        })
        .collect();
    let mut container = json!({
        "name": pod.template.container,
        "image": pod.template.image,
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Never",
    });
    if !ports.is_empty() {
        container["ports"] = json!(ports);
    }
    let mut spec = json!({
        "containers": [container],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 2,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "automountServiceAccountToken": false,
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "priority": 0,
        "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority",
    });
    if pod.scheduled() {
        spec["nodeName"] = NODE.into();
    }
    if let Some(subdomain) = &pod.template.subdomain {
        spec["hostname"] = json!(pod.key.1);
        spec["subdomain"] = json!(subdomain);
    }
    spec
}

fn pod_status(pod: &PodRecord) -> Value {
    let started = time(pod.created);
    let condition = |kind: &str, holds: bool| {
        json!({
            "type": kind, "observedGeneration": 1, "status": if holds { "True" } else { "False" },
            "lastProbeTime": null, "lastTransitionTime": started,
        })
    };
    if !pod.scheduled() {
        let mut unscheduled = condition("PodScheduled", false);
        unscheduled["reason"] = "Unschedulable".into();
        unscheduled["message"] = "0/1 nodes are available: 1 Insufficient memory.".into();
        return json!({
            "observedGeneration": 1, "phase": "Pending", "conditions": [unscheduled],
            "qosClass": "BestEffort",
        });
    }
    if pod.phase == PodPhase::Pending {
        return json!({
            "observedGeneration": 1, "phase": "Pending", "conditions": [condition("PodScheduled", true)],
            "hostIP": NODE_IP, "hostIPs": [{"ip": NODE_IP}], "startTime": started, "qosClass": "BestEffort",
        });
    }
    let ready = pod.serving();
    let ended = pod.phase == PodPhase::Ended;
    let ip = pod.ip.to_string();
    json!({
        "observedGeneration": 1,
        "phase": if ended { "Succeeded" } else { "Running" },
        "conditions": [
            condition("PodReadyToStartContainers", !ended),
            condition("Initialized", true),
            condition("Ready", ready),
            condition("ContainersReady", ready),
            condition("PodScheduled", true),
        ],
        "hostIP": NODE_IP,
        "hostIPs": [{"ip": NODE_IP}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": started,
        "containerStatuses": [container_status(pod, &started, ready, ended)],
        "qosClass": "BestEffort",
    })
}

fn container_status(pod: &PodRecord, started: &str, ready: bool, ended: bool) -> Value {
    let crashing = pod.template.health == PodHealth::CrashLoop;
    let id = format!(
        "containerd://{}",
        ids::hex64(&format!("{}/{}", pod.uid, pod.restarts))
    );
    let exited = |code: u32, reason: &str| {
        json!({"terminated": {
            "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": started, "containerID": id,
        }})
    };
    let state = if ended {
        exited(0, "Completed")
    } else if crashing {
        json!({"waiting": {
            "reason": "CrashLoopBackOff",
            "message": format!(
                "back-off 5m0s restarting failed container={} pod={}_{}({})",
                pod.template.container, pod.key.1, pod.key.0, pod.uid
            ),
        }})
    } else {
        json!({"running": {"startedAt": started}})
    };
    let last = if crashing || pod.restarts > 0 {
        exited(1, "Error")
    } else {
        Value::Object(Map::new())
    };
    json!({
        "name": pod.template.container,
        "state": state,
        "lastState": last,
        "ready": ready,
        "restartCount": pod.restarts,
        "image": pod.template.image,
        "imageID": format!("sha256:{}", ids::hex64(&pod.template.image)),
        "containerID": id,
        "started": !ended && !crashing,
        "resources": {},
    })
}

/// A service.
pub(crate) fn service(key: &Key, record: &ServiceRecord) -> Value {
    let spec = &record.spec;
    let mut body = Map::new();
    if !spec.ports.is_empty() {
        let ports: Vec<Value> = spec.ports.iter().map(service_port).collect();
        body.insert("ports".into(), json!(ports));
    }
    if !spec.selector.is_empty() {
        body.insert("selector".into(), json!(spec.selector));
    }
    body.insert("sessionAffinity".into(), json!("None"));
    if spec.publish_not_ready {
        body.insert("publishNotReadyAddresses".into(), json!(true));
    }
    let address = match &spec.kind {
        ServiceKind::ExternalName(name) => {
            body.insert("type".into(), json!("ExternalName"));
            body.insert("externalName".into(), json!(name));
            None
        }
        ServiceKind::Headless => Some("None".to_owned()),
        ServiceKind::ClusterIp => Some(record.cluster_ip.to_string()),
    };
    if let Some(address) = address {
        body.insert("type".into(), json!("ClusterIP"));
        body.insert("clusterIP".into(), json!(address));
        body.insert("clusterIPs".into(), json!([address]));
        body.insert("ipFamilies".into(), json!(["IPv4"]));
        body.insert("ipFamilyPolicy".into(), json!("SingleStack"));
        body.insert("internalTrafficPolicy".into(), json!("Cluster"));
    }
    json!({
        "metadata": metadata(key, &record.uid, record.created, &spec.labels),
        "spec": body,
        "status": {"loadBalancer": {}},
    })
}

fn service_port(port: &ServicePort) -> Value {
    let mut value = json!({
        "protocol": port.protocol,
        "port": port.port,
        "targetPort": match &port.target {
            TargetPort::Number(number) => json!(number),
            TargetPort::Name(name) => json!(name),
        },
    });
    if let Some(name) = &port.name {
        value["name"] = json!(name);
    }
    value
}

/// A port as endpoints have it: name, number, protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResolvedPort {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) protocol: &'static str,
}

/// An EndpointSlice of a service.
pub(crate) fn endpoint_slice(
    name: &str,
    service: &Key,
    record: &ServiceRecord,
    endpoints: Option<&[Value]>,
    ports: Option<&[ResolvedPort]>,
) -> Value {
    let mut labels = record.spec.labels.clone();
    let controller = if record.spec.selector.is_empty() {
        "endpointslicemirroring-controller.k8s.io"
    } else {
        "endpointslice-controller.k8s.io"
    };
    labels.insert(
        "endpointslice.kubernetes.io/managed-by".into(),
        controller.into(),
    );
    labels.insert("kubernetes.io/service-name".into(), service.1.clone());
    if record.spec.kind == ServiceKind::Headless {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    let key = (service.0.clone(), name.to_owned());
    let uid = ids::uuid_from(&format!("slice/{}/{name}", service.0));
    let mut metadata = metadata(&key, &uid, record.created, &labels);
    metadata["generateName"] = format!("{}-", service.1).into();
    metadata["ownerReferences"] = owner("v1", "Service", &service.1, &record.uid);
    let ports = ports.map(|ports| {
        let port =
            |p: &ResolvedPort| json!({"name": p.name, "protocol": p.protocol, "port": p.port});
        ports.iter().map(port).collect::<Vec<_>>()
    });
    json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports})
}

/// One endpoint of a slice.
pub(crate) fn slice_endpoint(pod: &PodRecord, service: &Key, publish_not_ready: bool) -> Value {
    let terminating = pod.deleted.is_some();
    let serving = pod.serving();
    let mut endpoint = json!({
        "addresses": [pod.ip.to_string()],
        "conditions": {
            "ready": publish_not_ready || serving && !terminating,
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": pod_reference(pod),
        "nodeName": NODE,
    });
    if pod.template.subdomain.as_deref() == Some(&service.1) {
        endpoint["hostname"] = json!(pod.key.1);
    }
    endpoint
}

/// An endpoint that is no pod.
pub(crate) fn bare_endpoint(address: Ipv4Addr) -> Value {
    json!({"addresses": [address.to_string()], "conditions": {"ready": true}})
}

/// A reference to a pod.
pub(crate) fn pod_reference(pod: &PodRecord) -> Value {
    json!({"kind": "Pod", "namespace": pod.key.0, "name": pod.key.1, "uid": pod.uid})
}

/// An address of an Endpoints object.
pub(crate) fn endpoints_address(pod: &PodRecord, service: &Key) -> Value {
    let mut address = json!({
        "ip": pod.ip.to_string(), "nodeName": NODE, "targetRef": pod_reference(pod),
    });
    if pod.template.subdomain.as_deref() == Some(&service.1) {
        address["hostname"] = json!(pod.key.1);
    }
    address
}

/// An Endpoints object; without subsets the field is absent.
pub(crate) fn endpoints(key: &Key, record: &ServiceRecord, subsets: Vec<Value>) -> Value {
    let mut labels = record.spec.labels.clone();
    labels.insert(
        "endpoints.kubernetes.io/managed-by".into(),
        "endpoint-controller".into(),
    );
    let uid = ids::uuid_from(&format!("endpoints/{}/{}", key.0, key.1));
    let mut value = json!({"metadata": metadata(key, &uid, record.created, &labels)});
    if !subsets.is_empty() {
        value["subsets"] = json!(subsets);
    }
    value
}

/// An Event about a pod.
pub(crate) fn event(pod: &PodRecord, reason: &str, message: &str) -> Value {
    let now = Timestamp::now();
    let name = format!("{}.{:016x}", pod.key.1, rand::random::<u64>());
    json!({
        "metadata": {
            "name": name, "namespace": pod.key.0, "uid": ids::uuid(), "creationTimestamp": time(now),
        },
        "involvedObject": {
            "kind": "Pod", "namespace": pod.key.0, "name": pod.key.1, "uid": pod.uid, "apiVersion": "v1",
        },
        "reason": reason,
        "message": message,
        "source": {"component": "kubelet", "host": NODE},
        "firstTimestamp": time(now),
        "lastTimestamp": time(now),
        "count": 1,
        "type": "Normal",
        "eventTime": null,
        "reportingComponent": "kubelet",
        "reportingInstance": NODE,
    })
}
