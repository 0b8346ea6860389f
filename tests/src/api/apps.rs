//! Deployments and StatefulSets as far as tests handle them with `kubectl`: server-side apply of a new one, get, scale.
//!
//! They are not stored objects: no list, no watch. A container's command says what its port does; only what busybox does
//! in the black-box suite's manifests is understood.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::respond::{Answer, json as json_answer, status};
use super::uri::ResourcePath;
use crate::controller;
use crate::harness::manifest;
use crate::json;
use crate::kinds::Kind;
use crate::pods::behaviour::Behaviour;
use crate::spec::{Workload, WorkloadKind};
use crate::state::State;
use crate::status::Status;
use crate::store::Key;

/// The resources and their kinds.
pub(super) const RESOURCES: [(&str, &str); 2] = [
    ("deployments", "Deployment"),
    ("statefulsets", "StatefulSet"),
];

/// Whether a request is about one of them.
pub(super) fn is_about(target: &ResourcePath) -> bool {
    let known = RESOURCES
        .iter()
        .any(|(plural, _)| *plural == target.resource);
    known && target.group == "apps" && target.version == "v1"
}

/// Answers a request with its body.
pub(super) fn answer(
    state: &Arc<State>,
    method: &Method,
    target: &ResourcePath,
    body: &[u8],
) -> Answer {
    let (Some(namespace), Some(name)) = (&target.namespace, &target.name) else {
        return status(&Status::method_not_allowed());
    };
    let key = (namespace.clone(), name.clone());
    let found = || shown(state, &key, &target.resource);
    match (method.as_str(), target.subresource.as_deref()) {
        ("GET", None) => match found() {
            Some(value) => json_answer(StatusCode::OK, json::compact(&value)),
            None => missing(target, name),
        },
        ("PATCH", None) => apply(state, target, &key, body),
        ("PATCH", Some("scale")) => match found() {
            Some(_) => scale(state, &key, body),
            None => missing(target, name),
        },
        _ => status(&Status::method_not_allowed()),
    }
}

fn missing(target: &ResourcePath, name: &str) -> Answer {
    status(&Status::not_found("apps", &target.resource, name))
}

fn kind_of(resource: &str) -> WorkloadKind {
    match resource {
        "statefulsets" => WorkloadKind::StatefulSet,
        _ => WorkloadKind::Deployment,
    }
}

fn shown(state: &State, key: &Key, resource: &str) -> Option<Value> {
    let (_, kind) = RESOURCES.iter().find(|(plural, _)| *plural == resource)?;
    let world = state.world.lock();
    let record = world.workloads.get(key)?;
    if record.spec.kind != kind_of(resource) {
        return None;
    }
    let pods = world.owned(key);
    let ready = pods.iter().filter(|pod| pod.serving()).count();
    Some(json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": key.1, "namespace": key.0, "uid": record.uid, "generation": 1},
        "spec": {"replicas": record.spec.replicas, "selector": {"matchLabels": record.spec.labels}},
        "status": {"observedGeneration": 1, "replicas": pods.len(), "readyReplicas": ready},
    }))
}

fn apply(state: &Arc<State>, target: &ResourcePath, key: &Key, body: &[u8]) -> Answer {
    let namespace = (String::new(), key.0.clone());
    if state.store.get(Kind::Namespace, &namespace).is_none() {
        return status(&Status::not_found("", "namespaces", &key.0));
    }
    if state.world.lock().workloads.contains_key(key) {
        return refused("changes of a workload are not simulated, except its scale");
    }
    // JSON, which kubectl sends, is YAML.
    let Ok(value) = yaml_serde::from_slice::<Value>(body) else {
        return refused("the manifest cannot be read");
    };
    match workload(kind_of(&target.resource), &key.1, &value["spec"]) {
        Ok(workload) => controller::create_workload(state, &key.0, workload),
        Err(why) => return refused(&why),
    }
    match shown(state, key, &target.resource) {
        Some(value) => json_answer(StatusCode::CREATED, json::compact(&value)),
        None => missing(target, &key.1),
    }
}

fn refused(why: &str) -> Answer {
    status(&Status::bad_request(why))
}

fn workload(kind: WorkloadKind, name: &str, spec: &Value) -> Result<Workload, String> {
    let mut workload = match kind {
        WorkloadKind::StatefulSet => Workload::stateful_set(name),
        _ => Workload::deployment(name),
    };
    if let Some(replicas) = replicas(spec) {
        workload = workload.replicas(replicas);
    }
    let template = &spec["template"];
    let labels = template["metadata"]["labels"].as_object();
    for (key, value) in labels.into_iter().flatten() {
        workload = workload.label(key, value.as_str().unwrap_or_default());
    }
    let containers = template["spec"]["containers"].as_array();
    for container in containers.into_iter().flatten() {
        let (port, behaviour) = program(&container["command"])?;
        let declared = container["ports"].as_array().and_then(|ports| {
            let port = ports
                .iter()
                .find(|declared| declared["containerPort"] == port)?;
            port["name"].as_str()
        });
        workload = match declared {
            Some(name) => workload.listen(name, port, behaviour),
            None => workload.listen_undeclared(port, behaviour),
        };
    }
    Ok(workload)
}

fn replicas(spec: &Value) -> Option<usize> {
    usize::try_from(spec["replicas"].as_u64()?).ok()
}

/// What a container runs in the end: the last command that replaces its shell.
fn program(command: &Value) -> Result<(u16, Behaviour), String> {
    let script = command[2].as_str().unwrap_or_default();
    let last = script.rsplit("exec ").next().unwrap_or_default();
    let words: Vec<&str> = last.split_whitespace().collect();
    let served = match &words[..] {
        ["httpd", "-f", "-p", port, "-h", _] => Some((port, Behaviour::Http)),
        ["nc", "-lk" | "-ll", "-p", port, "-e", program @ ..] => {
            let program = program.join(" ");
            let known = [Behaviour::Echo, Behaviour::Source(None), Behaviour::Sink];
            let does = |behaviour: &Behaviour| manifest::program(behaviour) == Some(&program);
            known.into_iter().find(does).map(|does| (port, does))
        }
        _ => None,
    };
    let understood = served.and_then(|(port, behaviour)| Some((port.parse().ok()?, behaviour)));
    understood.ok_or_else(|| {
        format!(
            "the simulated cluster runs `sh -c '… exec httpd -f -p PORT -h DIRECTORY'` and \
             `sh -c '… exec nc -lk -p PORT -e cat'`, and not {command}"
        )
    })
}

fn scale(state: &Arc<State>, key: &Key, body: &[u8]) -> Answer {
    let patch = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let Some(replicas) = replicas(&patch["spec"]) else {
        return refused("spec.replicas is required");
    };
    let (owned, scaled) = (Arc::clone(state), key.clone());
    tokio::spawn(async move { controller::scale(&owned, &scaled, replicas).await });
    let value = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": key.1, "namespace": key.0},
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas},
    });
    json_answer(StatusCode::OK, json::compact(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_suite_gives_a_real_cluster_is_understood() {
        let web = Workload::deployment("web")
            .replicas(2)
            .listen_undeclared(7000, Behaviour::Echo)
            .listen("source", 7001, Behaviour::Source(None))
            .listen("sink", 7002, Behaviour::Sink)
            .listen("http", 8080, Behaviour::Http);
        let manifest = manifest::workload(&web, "demo", "busybox");
        let read = workload(WorkloadKind::Deployment, "web", &manifest["spec"]).unwrap();
        assert_eq!(read.replicas, 2);
        assert_eq!(read.labels, web.labels);
        assert_eq!(read.template.behaviours, web.template.behaviours);
        assert_eq!(read.template.ports, web.template.ports);
    }

    #[test]
    fn other_programs_are_refused() {
        let command = json!(["sh", "-c", "exec nginx"]);
        assert!(program(&command).unwrap_err().contains("exec nginx"));
        assert!(program(&json!(null)).is_err());
        assert!(program(&json!(["sh", "-c", "exec httpd -f -p many -h /"])).is_err());
    }
}
