//! Rollouts: the order in which pods and endpoints change, against a recorded rollout.

use std::time::Duration;

use kubefwd_tests::{Behaviour, Cluster, Namespace, Service, ServicePort, Workload};
use serde_json::Value;

use super::support::capture;
use super::support::client::{Client, Watch};

async fn cluster() -> Cluster {
    Cluster::builder()
        .timing(|timing| timing.pod_step = Duration::from_millis(5))
        .namespace(
            Namespace::new("demo")
                .workload(Workload::deployment("web").replicas(2).listen(
                    "http",
                    8080,
                    Behaviour::Http,
                ))
                .workload(Workload::stateful_set("db").replicas(3).listen(
                    "echo",
                    5432,
                    Behaviour::Echo,
                ))
                .service(Service::new("web").port(ServicePort::tcp(80).target("http")))
                .service(Service::new("db").headless().port(ServicePort::tcp(5432))),
        )
        .start()
        .await
        .unwrap()
}

/// The steps of one pod: event type, phase, readiness, deletion; repetitions left out.
type Steps = Vec<(String, String, Option<bool>, bool)>;

fn push(steps: &mut Steps, kind: &str, phase: &str, ready: Option<bool>, deleted: bool) {
    let step = (kind.to_owned(), phase.to_owned(), ready, deleted);
    if steps.last() != Some(&step) {
        steps.push(step);
    }
}

fn recorded(name: &str) -> Steps {
    let mut steps = Steps::new();
    for line in capture::read("watch-pods-rollout.summary.jsonl").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["name"] == name {
            let ready = event["ready"].as_str().map(|ready| ready == "True");
            let text = |field: &str| event[field].as_str().unwrap();
            push(
                &mut steps,
                text("type"),
                text("phase"),
                ready,
                event["del"].is_string(),
            );
        }
    }
    steps
}

/// Whether `short` is `long` with some elements left out.
fn is_part(short: &Steps, long: &Steps) -> bool {
    let mut long = long.iter();
    short.iter().all(|step| long.any(|other| other == step))
}

#[tokio::test]
async fn pods_go_through_the_recorded_states() {
    let cluster = cluster().await;
    let old = cluster.pods("demo", "web");
    let path = format!(
        "/api/v1/namespaces/demo/pods?watch=1&resourceVersion={}",
        cluster.resource_version()
    );
    let mut watch = Watch::begin(&cluster, &path).await;
    assert!(cluster.rollout("demo", "web").await);
    let new = cluster.pods("demo", "web");
    assert_eq!(new.len(), 2);
    assert!(old.iter().all(|pod| !new.contains(pod)));

    let (mut leaving, mut coming) = (Steps::new(), Steps::new());
    while leaving.last().is_none_or(|step| step.0 != "DELETED")
        || coming.last().is_none_or(|s| s.2 != Some(true))
    {
        let event = watch.next().await.unwrap();
        let object = &event["object"];
        let name = object["metadata"]["name"].as_str().unwrap();
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let ready = conditions
            .iter()
            .find(|c| c["type"] == "Ready")
            .map(|c| c["status"] == "True");
        let steps = if name == old[0] {
            &mut leaving
        } else if name == new[0] {
            &mut coming
        } else {
            continue;
        };
        let deleted = object["metadata"]["deletionTimestamp"].is_string();
        push(
            steps,
            event["type"].as_str().unwrap(),
            object["status"]["phase"].as_str().unwrap(),
            ready,
            deleted,
        );
    }
    let real = recorded("web-b45fb86c4-srf67");
    assert!(
        is_part(&leaving, &real),
        "{leaving:?} is no part of {real:?}"
    );
    let real = recorded("web-f8c6b9c98-m25sc");
    assert!(is_part(&coming, &real), "{coming:?} is no part of {real:?}");
}

/// The ready, serving and terminating conditions that a pod's endpoint went through.
fn conditions(events: &[Value], pod: &str) -> Vec<[bool; 3]> {
    let mut seen: Vec<[bool; 3]> = Vec::new();
    for event in events {
        let endpoints = event["object"]["endpoints"]
            .as_array()
            .into_iter()
            .flatten();
        for endpoint in endpoints.filter(|e| e["targetRef"]["name"] == pod) {
            let value = |name: &str| endpoint["conditions"][name] == true;
            let now = [value("ready"), value("serving"), value("terminating")];
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
    }
    seen
}

#[tokio::test]
async fn endpoints_are_terminating_before_they_are_gone() {
    let cluster = cluster().await;
    let old = cluster.pods("demo", "web");
    let version = cluster.resource_version();
    assert!(cluster.rollout("demo", "web").await);
    let new = cluster.pods("demo", "web");
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices?watch=1&resourceVersion={version}&timeoutSeconds=0"
    );
    let mut watch = Watch::begin(&cluster, &path).await;
    let mut ours = Vec::new();
    while let Some(event) = watch.next().await {
        ours.push(event);
    }
    let recorded = capture::read("watch-endpointslices-rollout.jsonl");
    let real: Vec<Value> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let leaving = conditions(&real, "web-b45fb86c4-srf67");
    let coming = conditions(&real, "web-f8c6b9c98-7mgw8");
    for pod in &old {
        let seen = conditions(&ours, pod);
        assert!(
            seen.iter().all(|step| leaving.contains(step)),
            "{seen:?}, really {leaving:?}"
        );
        assert_eq!(seen.last(), Some(&[false, true, true]));
    }
    for pod in &new {
        let seen = conditions(&ours, pod);
        assert!(
            seen.iter().all(|step| coming.contains(step)),
            "{seen:?}, really {coming:?}"
        );
        assert_eq!(seen.last(), Some(&[true, true, false]));
    }
    // At no time is there no ready endpoint.
    for event in ours
        .iter()
        .filter(|e| e["object"]["metadata"]["labels"]["kubernetes.io/service-name"] == "web")
    {
        let endpoints = event["object"]["endpoints"].as_array().unwrap();
        assert!(endpoints.iter().any(|e| e["conditions"]["ready"] == true));
    }
}

#[tokio::test]
async fn a_stateful_set_keeps_its_names_and_changes_its_uids() {
    let cluster = cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    let uid = async |client: &mut Client| {
        let pod = client.get("/api/v1/namespaces/demo/pods/db-1").await.json();
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let before = uid(admin).await;
    assert!(cluster.delete_pod("demo", "db-1").await);
    assert_ne!(uid(admin).await, before);
    assert!(cluster.rollout("demo", "db").await);
    assert_eq!(cluster.pods("demo", "db"), ["db-0", "db-1", "db-2"]);
    assert!(cluster.scale("demo", "db", 1).await);
    assert_eq!(cluster.pods("demo", "db"), ["db-0"]);
}

#[tokio::test]
async fn readiness_moves_endpoints_and_namespaces_take_everything_with_them() {
    let cluster = cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    cluster.set_ready("demo", "db-0", false);
    let endpoints = admin
        .get("/api/v1/namespaces/demo/endpoints/db")
        .await
        .json();
    assert_eq!(
        endpoints["subsets"][0]["notReadyAddresses"][0]["targetRef"]["name"],
        "db-0"
    );
    cluster.delete_namespace("demo");
    for kind in ["pods", "services", "endpoints"] {
        let list = admin
            .get(&format!("/api/v1/namespaces/demo/{kind}"))
            .await
            .json();
        assert_eq!(list["items"], serde_json::json!([]), "{kind}");
    }
    assert_eq!(admin.get("/api/v1/namespaces/demo").await.head.code(), 404);
}
