//! Tables (what `kubectl get` prints) and metadata-only forms.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::list::{Page, write_list_metadata};
use crate::json;
use crate::kinds::Kind;
use crate::store::Object;

/// Which part of the object a row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

/// Name, priority and description of a column.
struct Column(&'static str, u8, &'static str);

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

const POD: &[Column] = &[
    Column("Name", 0, NAME),
    Column(
        "Ready",
        0,
        "The aggregate readiness state of this pod for accepting traffic.",
    ),
    Column(
        "Status",
        0,
        "The aggregate status of the containers in this pod.",
    ),
    Column(
        "Restarts",
        0,
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    Column("Age", 0, AGE),
    Column(
        "IP",
        1,
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
    ),
    Column(
        "Node",
        1,
        "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
    ),
    Column(
        "Nominated Node",
        1,
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as preemption victims receive their graceful termination periods. This field does not guarantee that the pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if other nodes become available sooner. Scheduler may also decide to give the resources on this node to a higher priority pod that is created after preemption. As a result, this field may be different than PodSpec.nodeName when the pod is scheduled.",
    ),
    Column(
        "Readiness Gates",
        1,
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
    ),
];

const SERVICE: &[Column] = &[
    Column("Name", 0, NAME),
    Column("Type", 0, "type determines how the Service is exposed."),
    Column(
        "Cluster-IP",
        0,
        "clusterIP is the IP address of the service.",
    ),
    Column("External-IP", 0, "Addresses outside the cluster."),
    Column("Port(s)", 0, "The ports that are exposed by this service."),
    Column("Age", 0, AGE),
    Column(
        "Selector",
        1,
        "Route service traffic to pods with label keys and values matching this selector.",
    ),
];

const NAMESPACE: &[Column] = &[
    Column("Name", 0, NAME),
    Column("Status", 0, "The status of the namespace"),
    Column("Age", 0, AGE),
];

const NODE: &[Column] = &[
    Column("Name", 0, NAME),
    Column("Status", 0, "The status of the node"),
    Column("Roles", 0, "The roles of the node"),
    Column("Age", 0, AGE),
    Column("Version", 0, "Kubelet Version reported by the node."),
];

const ENDPOINTS: &[Column] = &[
    Column("Name", 0, NAME),
    Column("Endpoints", 0, "The addresses and ports of the subsets."),
    Column("Age", 0, AGE),
];

const ENDPOINT_SLICE: &[Column] = &[
    Column("Name", 0, NAME),
    Column(
        "AddressType",
        0,
        "The type of address carried by this slice.",
    ),
    Column("Ports", 0, "The ports of the endpoints."),
    Column("Endpoints", 0, "The addresses of the endpoints."),
    Column("Age", 0, AGE),
];

const EVENT: &[Column] = &[
    Column(
        "Last Seen",
        0,
        "The time at which the most recent occurrence was recorded.",
    ),
    Column("Type", 0, "Type of this event (Normal, Warning)"),
    Column(
        "Reason",
        0,
        "Why the transition into the object's current status happened.",
    ),
    Column("Object", 0, "The object that this event is about."),
    Column("Message", 0, "A human-readable description of this event."),
];

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Pod => POD,
        Kind::Service => SERVICE,
        Kind::Namespace => NAMESPACE,
        Kind::Node => NODE,
        Kind::Endpoints => ENDPOINTS,
        Kind::EndpointSlice => ENDPOINT_SLICE,
        Kind::Event => EVENT,
    }
}

/// Appends a Table of the objects.
pub(crate) fn write(
    kind: Kind,
    version: &str,
    page: Option<&Page>,
    objects: &[Arc<Object>],
    include: Include,
    describe: bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",");
    write_list_metadata(version, page, out);
    write_columns(kind, describe, out);
    out.extend_from_slice(b",\"rows\":[");
    for (n, object) in objects.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_row(kind, object, include, out);
    }
    out.extend_from_slice(b"]}");
}

/// Appends a Table of one object, as watches have it.
pub(crate) fn write_one(
    kind: Kind,
    object: &Object,
    include: Include,
    describe: bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",");
    write_list_metadata(&object.version.to_string(), None, out);
    write_columns(kind, describe, out);
    out.extend_from_slice(b",\"rows\":[");
    write_row(kind, object, include, out);
    out.extend_from_slice(b"]}");
}

/// A bookmark in a watch of Tables: a row without cells that carries the kind's own bookmark.
pub(crate) fn bookmark(version: u64, annotation: &str, object: &str) -> String {
    format!(
        "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{{\"resourceVersion\":\"{version}\"{annotation}}},\"columnDefinitions\":null,\"rows\":[{{\"cells\":[],\"object\":{object}}}]}}"
    )
}

fn write_columns(kind: Kind, describe: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"columnDefinitions\":");
    if !describe {
        out.extend_from_slice(b"null");
        return;
    }
    let columns: Vec<Value> = columns(kind)
        .iter()
        .map(|Column(name, priority, description)| {
            json!({
                "name": name,
                "type": "string",
                "format": if *name == "Name" { "name" } else { "" },
                "description": description,
                "priority": priority,
            })
        })
        .collect();
    out.extend_from_slice(&json::compact(&columns));
}

fn write_row(kind: Kind, object: &Object, include: Include, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"cells\":");
    let cells = cells(kind, &object.value());
    out.extend_from_slice(&json::compact(&cells));
    match include {
        Include::Nothing => {}
        Include::Metadata => {
            out.extend_from_slice(b",\"object\":");
            write_metadata(object, out);
        }
        Include::Object => {
            out.extend_from_slice(b",\"object\":");
            object.write_full(kind, out);
        }
    }
    out.push(b'}');
}

/// Appends a PartialObjectMetadata.
pub(crate) fn write_metadata(object: &Object, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":",
    );
    out.extend_from_slice(&json::compact(&object.value()["metadata"]));
    out.push(b'}');
}

/// Appends a PartialObjectMetadataList.
pub(crate) fn write_metadata_list(
    version: &str,
    page: Option<&Page>,
    objects: &[Arc<Object>],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(
        b"{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",",
    );
    write_list_metadata(version, page, out);
    out.extend_from_slice(b",\"items\":[");
    for (n, object) in objects.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_metadata(object, out);
    }
    out.extend_from_slice(b"]}");
}

fn cells(kind: Kind, object: &Value) -> Vec<String> {
    let name = text(&object["metadata"]["name"]);
    let age = age(&object["metadata"]["creationTimestamp"]);
    match kind {
        Kind::Pod => pod_cells(object, name, age),
        Kind::Service => service_cells(object, name, age),
        Kind::Namespace => vec![name, text(&object["status"]["phase"]), age],
        Kind::Node => vec![
            name,
            "Ready".into(),
            "<none>".into(),
            age,
            text(&object["status"]["nodeInfo"]["kubeletVersion"]),
        ],
        Kind::Endpoints => vec![name, joined(endpoint_pairs(object)), age],
        Kind::EndpointSlice => {
            let ports = array(&object["ports"]).iter().map(|p| number(&p["port"]));
            let addresses = array(&object["endpoints"])
                .iter()
                .flat_map(|endpoint| array(&endpoint["addresses"]))
                .map(text);
            let (ports, addresses) = (ports.collect(), addresses.collect());
            vec![
                name,
                text(&object["addressType"]),
                unset(joined(ports)),
                unset(joined(addresses)),
                age,
            ]
        }
        Kind::Event => vec![
            self::age(&object["lastTimestamp"]),
            text(&object["type"]),
            text(&object["reason"]),
            format!("pod/{}", text(&object["involvedObject"]["name"])),
            text(&object["message"]),
        ],
    }
}

fn pod_cells(object: &Value, name: String, age: String) -> Vec<String> {
    let statuses = array(&object["status"]["containerStatuses"]);
    let ready = statuses.iter().filter(|s| s["ready"] == true).count();
    let total = array(&object["spec"]["containers"]).len();
    let restarts: u64 = statuses
        .iter()
        .filter_map(|s| s["restartCount"].as_u64())
        .sum();
    let state = statuses.iter().find_map(|status| {
        let state = &status["state"];
        let reason = state["waiting"]["reason"].as_str();
        reason.or_else(|| state["terminated"]["reason"].as_str())
    });
    let status = if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating".to_owned()
    } else {
        state.map_or_else(|| text(&object["status"]["phase"]), str::to_owned)
    };
    vec![
        name,
        format!("{ready}/{total}"),
        status,
        restarts.to_string(),
        age,
        none(text(&object["status"]["podIP"])),
        none(text(&object["spec"]["nodeName"])),
        "<none>".into(),
        "<none>".into(),
    ]
}

fn service_cells(object: &Value, name: String, age: String) -> Vec<String> {
    let spec = &object["spec"];
    let ports = array(&spec["ports"])
        .iter()
        .map(|p| format!("{}/{}", number(&p["port"]), text(&p["protocol"])));
    let selector = spec["selector"].as_object().into_iter().flatten();
    let selector = selector.map(|(key, value)| format!("{key}={}", text(value)));
    vec![
        name,
        text(&spec["type"]),
        none(text(&spec["clusterIP"])),
        none(text(&spec["externalName"])),
        none(joined(ports.collect())),
        age,
        none(joined(selector.collect())),
    ]
}

fn endpoint_pairs(object: &Value) -> Vec<String> {
    let mut pairs = Vec::new();
    for subset in array(&object["subsets"]) {
        for address in array(&subset["addresses"]) {
            for port in array(&subset["ports"]) {
                pairs.push(format!(
                    "{}:{}",
                    text(&address["ip"]),
                    number(&port["port"])
                ));
            }
        }
    }
    if pairs.is_empty() {
        pairs.push("<none>".into());
    }
    pairs
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> String {
    value.as_u64().map(|n| n.to_string()).unwrap_or_default()
}

fn joined(parts: Vec<String>) -> String {
    parts.join(",")
}

fn none(text: String) -> String {
    if text.is_empty() {
        "<none>".into()
    } else {
        text
    }
}

fn unset(text: String) -> String {
    if text.is_empty() {
        "<unset>".into()
    } else {
        text
    }
}

fn age(since: &Value) -> String {
    let Some(since) = since.as_str().and_then(|s| s.parse::<Timestamp>().ok()) else {
        return "<unknown>".into();
    };
    human(Timestamp::now().duration_since(since).as_secs())
}

/// A duration as `kubectl` writes ages.
fn human(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 {
            format!("{large}{unit}")
        } else {
            format!("{large}{unit}{small}{small_unit}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        _ => two(days / 365, 'y', days % 365, 'd'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (527, "8m47s"),
            (1140, "19m"),
            (11_000, "3h3m"),
            (40_000, "11h"),
            (200_000, "2d7h"),
            (900_000, "10d"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }
}
