//! The status of a pod in one word, and its ready containers, as `kubectl get pods` prints them.
//!
//! Rules: `printPod` in `pkg/printers/internalversion/printers.go` of Kubernetes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};

use super::lists::number;

/// What the columns STATUS, READY and RESTARTS say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) status: String,
    pub(super) ready: u32,
    pub(super) containers: u32,
    pub(super) restarts: u32,
}

impl Columns {
    pub(super) fn of(pod: &Pod) -> Self {
        let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
        let spec = pod.spec.as_ref().unwrap_or(&no_spec);
        let status = pod.status.as_ref().unwrap_or(&no_status);
        let phase = status.phase.as_deref().unwrap_or_default();
        let reason = status.reason.as_deref().filter(|reason| !reason.is_empty());
        let sidecars = sidecars(spec);

        let mut columns = Self {
            status: reason.unwrap_or(phase).to_owned(),
            ready: 0,
            containers: count(spec.containers.len() + sidecars.len()),
            restarts: 0,
        };
        let scheduled = condition(status, "PodScheduled");
        if scheduled.is_some_and(|c| c.reason.as_deref() == Some("SchedulingGated")) {
            columns.status = "SchedulingGated".to_owned();
        }
        let initializing = columns.init_containers(spec, status, &sidecars);
        let initialized = condition(status, "Initialized").is_some_and(|c| c.status == "True");
        if !initializing || initialized {
            let init = status.init_container_statuses.iter().flatten();
            let running = init.filter(|container| sidecars.contains(container.name.as_str()));
            columns.restarts = running
                .map(|container| number(container.restart_count))
                .sum();
            columns.main_containers(status);
        }
        if pod.metadata.deletion_timestamp.is_some() {
            if status.reason.as_deref() == Some("NodeLost") {
                columns.status = "Unknown".to_owned();
            } else if phase != "Succeeded" && phase != "Failed" {
                columns.status = "Terminating".to_owned();
            }
        }
        columns
    }

    /// Looks at the init containers up to the first that is not done; true if there is one.
    fn init_containers(
        &mut self,
        spec: &PodSpec,
        status: &PodStatus,
        sidecars: &BTreeSet<&str>,
    ) -> bool {
        let total = spec.init_containers.as_ref().map_or(0, Vec::len);
        for (index, container) in status.init_container_statuses.iter().flatten().enumerate() {
            self.restarts += number(container.restart_count);
            let state = container.state.as_ref();
            let terminated = state.and_then(|state| state.terminated.as_ref());
            if terminated.is_some_and(|end| end.exit_code == 0) {
                continue;
            }
            if sidecars.contains(container.name.as_str()) && container.started == Some(true) {
                self.ready += u32::from(container.ready);
                continue;
            }
            let waiting = state.and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
            self.status = match (terminated, reason) {
                (Some(_), _) => format!("Init:{}", ended(container).unwrap_or_default()),
                (None, Some(reason)) if !reason.is_empty() && reason != "PodInitializing" => {
                    format!("Init:{reason}")
                }
                _ => format!("Init:{index}/{total}"),
            };
            return true;
        }
        false
    }

    fn main_containers(&mut self, status: &PodStatus) {
        let mut running = false;
        // From the last to the first, so that the first with a reason wins.
        for container in status.container_statuses.iter().flatten().rev() {
            self.restarts += number(container.restart_count);
            let state = container.state.as_ref();
            let waiting = state.and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
            if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
                self.status = reason.to_owned();
            } else if let Some(end) = ended(container) {
                self.status = end;
            } else if container.ready && state.is_some_and(|state| state.running.is_some()) {
                running = true;
                self.ready += 1;
            }
        }
        if self.status == "Completed" && running {
            let ready = condition(status, "Ready").is_some_and(|c| c.status == "True");
            self.status = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

/// How a container ended: its reason, else the signal, else the code.
fn ended(container: &ContainerStatus) -> Option<String> {
    let end = container.state.as_ref()?.terminated.as_ref()?;
    Some(match (end.reason.as_deref(), end.signal) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", end.exit_code),
    })
}

/// Init containers that keep running.
fn sidecars(spec: &PodSpec) -> BTreeSet<&str> {
    let init = spec.init_containers.iter().flatten();
    let lasting = init.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    lasting.map(|container| container.name.as_str()).collect()
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind)
}

pub(super) fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn columns(pod: Value) -> (String, String, u32) {
        let columns = Columns::of(&serde_json::from_value(pod).unwrap());
        let ready = format!("{}/{}", columns.ready, columns.containers);
        (columns.status, ready, columns.restarts)
    }

    fn pod(phase: &str, init: Value, containers: Value) -> Value {
        let names = |list: &Value| -> Vec<Value> {
            let of = |status: &Value| json!({"name": status["name"], "restartPolicy": status["restartPolicy"]});
            list.as_array().unwrap().iter().map(of).collect()
        };
        json!({
            "metadata": {"name": "p"},
            "spec": {"initContainers": names(&init), "containers": names(&containers)},
            "status": {"phase": phase, "initContainerStatuses": init, "containerStatuses": containers},
        })
    }

    fn container(name: &str, ready: bool, state: Value) -> Value {
        json!({"name": name, "ready": ready, "restartCount": 2, "image": "", "imageID": "", "state": state})
    }

    /// A cluster's own answers: its pods, and the table that it made of them for kubectl.
    #[test]
    fn the_columns_are_those_of_a_real_cluster() {
        let pods = include_str!("../../../../tests/fixtures/captures/demo-pods.json");
        let table = include_str!("../../../../tests/fixtures/captures/demo-pods-table.json");
        let pods: Value = serde_json::from_str(pods).unwrap();
        let table: Value = serde_json::from_str(table).unwrap();
        let (pods, rows) = (
            pods["items"].as_array().unwrap(),
            table["rows"].as_array().unwrap(),
        );
        assert!(pods.len() == rows.len() && !rows.is_empty());
        for (pod, row) in pods.iter().zip(rows) {
            let cell = |index: usize| row["cells"][index].as_str().unwrap();
            assert_eq!(pod["metadata"]["name"], cell(0));
            let (status, ready, restarts) = columns(pod.clone());
            assert_eq!(
                (ready.as_str(), status.as_str()),
                (cell(1), cell(2)),
                "{}",
                cell(0)
            );
            // "1 (8m12s ago)"
            assert_eq!(restarts.to_string(), cell(3).split(' ').next().unwrap());
        }
    }

    #[test]
    fn the_columns_are_those_of_kubectl() {
        let running = || container("a", true, json!({"running": {}}));
        let waiting = |reason: &str| container("b", false, json!({"waiting": {"reason": reason}}));
        let ended = |code: i32, reason: &str| {
            container(
                "c",
                false,
                json!({"terminated": {"exitCode": code, "reason": reason}}),
            )
        };
        let said = |pod: Value| {
            let (status, ready, restarts) = columns(pod);
            format!("{status} {ready} {restarts}")
        };
        assert_eq!(
            said(pod("Running", json!([]), json!([running()]))),
            "Running 1/1 2"
        );
        assert_eq!(
            said(pod(
                "Running",
                json!([]),
                json!([waiting("CrashLoopBackOff"), running()])
            )),
            "CrashLoopBackOff 1/2 4"
        );
        assert_eq!(
            said(pod("Succeeded", json!([]), json!([ended(0, "Completed")]))),
            "Completed 0/1 2"
        );
        assert_eq!(
            said(pod("Failed", json!([]), json!([ended(137, "")]))),
            "ExitCode:137 0/1 2"
        );
        assert_eq!(
            said(pod(
                "Pending",
                json!([ended(0, "Completed"), waiting("PodInitializing")]),
                json!([waiting("PodInitializing")])
            )),
            "Init:1/2 0/1 4"
        );
        assert_eq!(
            said(pod(
                "Pending",
                json!([ended(1, "Error")]),
                json!([waiting("PodInitializing")])
            )),
            "Init:Error 0/1 2"
        );
        assert_eq!(
            said(pod(
                "Pending",
                json!([waiting("ImagePullBackOff")]),
                json!([])
            )),
            "Init:ImagePullBackOff 0/0 2"
        );
        assert_eq!(
            said(json!({"metadata": {}, "status": {"phase": "Failed", "reason": "Evicted"}})),
            "Evicted 0/0 0"
        );
        assert_eq!(said(json!({})), " 0/0 0");
    }

    #[test]
    fn a_sidecar_counts_and_a_finished_container_beside_a_running_one_is_not_the_end() {
        let mut sidecar = container("s", true, json!({"running": {}}));
        sidecar["restartPolicy"] = json!("Always");
        sidecar["started"] = json!(true);
        let done = container(
            "d",
            false,
            json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
        );
        let running = container("r", true, json!({"running": {}}));
        let mut pod = pod("Running", json!([sidecar]), json!([done, running]));
        assert_eq!(
            columns(pod.clone()),
            ("NotReady".to_owned(), "2/3".to_owned(), 6)
        );
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(columns(pod).0, "Running");
    }

    #[test]
    fn deletion_is_seen_unless_the_pod_has_ended() {
        let mut pod = pod(
            "Running",
            json!([]),
            json!([container("a", true, json!({"running": {}}))]),
        );
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-23T08:00:00Z");
        assert_eq!(columns(pod.clone()).0, "Terminating");
        pod["status"]["reason"] = json!("NodeLost");
        assert_eq!(columns(pod.clone()).0, "Unknown");
        pod["status"] = json!({"phase": "Succeeded"});
        assert_eq!(columns(pod).0, "Succeeded");
    }
}
