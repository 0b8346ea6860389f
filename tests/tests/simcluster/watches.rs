//! Watches: events, filters, initial events, bookmarks, their ends.

use kubefwd_tests::{Kind, Service, ServicePort};
use serde_json::{Value, json};

use super::support::capture;
use super::support::client::Watch;
use super::support::recorded_cluster;

const SERVICES: &str = "/api/v1/namespaces/demo/services?watch=1";

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_service_added_changed_and_deleted() {
    let cluster = recorded_cluster().await;
    let path = format!("{SERVICES}&resourceVersion={}", cluster.resource_version());
    let mut watch = Watch::begin(&cluster, &path).await;
    let port = |port| Service::new("tmp-svc").port(ServicePort::tcp(port));
    cluster.put_service("demo", port(80));
    cluster.put_service("elsewhere", port(80));
    cluster.put_service("demo", port(81));
    cluster.delete_service("demo", "tmp-svc");
    let recorded = capture::read("watch-services.jsonl");
    for line in recorded.lines().take(3) {
        let real: Value = serde_json::from_str(line).unwrap();
        let ours = watch.next().await.unwrap();
        assert_eq!(ours["type"], real["type"]);
        for field in ["kind", "apiVersion"] {
            assert_eq!(ours["object"][field], real["object"][field]);
        }
        assert_eq!(ours["object"]["metadata"]["name"], "tmp-svc");
    }
}

#[tokio::test]
async fn a_selector_turns_changes_into_additions_and_deletions() {
    let cluster = recorded_cluster().await;
    let version = cluster.resource_version();
    let path = format!("{SERVICES}&labelSelector=tier%3Dfront&resourceVersion={version}");
    let mut watch = Watch::begin(&cluster, &path).await;
    let service = |name: &str| Service::new(name).port(ServicePort::tcp(80));
    cluster.put_service("demo", service("a"));
    cluster.put_service("demo", service("a").label("tier", "front"));
    cluster.put_service("demo", service("a").label("tier", "front").label("x", "y"));
    cluster.put_service("demo", service("a"));
    cluster.put_service("demo", service("b").label("tier", "front"));
    assert_eq!(watch.named().await, event("ADDED", "a"));
    assert_eq!(watch.named().await, event("MODIFIED", "a"));
    assert_eq!(watch.named().await, event("DELETED", "a"));
    assert_eq!(watch.named().await, event("ADDED", "b"));
}

#[tokio::test]
async fn without_a_version_a_watch_begins_with_what_is_there() {
    let cluster = recorded_cluster().await;
    for version in ["", "&resourceVersion=0"] {
        let mut watch = Watch::begin(&cluster, &format!("{SERVICES}{version}")).await;
        assert_eq!(watch.named().await, event("ADDED", "db"));
        assert_eq!(watch.named().await, event("ADDED", "web"));
    }
}

#[tokio::test]
async fn a_streaming_list_ends_its_initial_events_with_a_bookmark() {
    let cluster = recorded_cluster().await;
    let recorded = capture::read("watch-list-pods-sendInitialEvents.jsonl");
    let mut marks = recorded
        .lines()
        .filter(|line| line.contains("initial-events-end"));
    let mut real: Value = serde_json::from_str(marks.next_back().unwrap()).unwrap();
    let path = "/api/v1/namespaces/demo/pods?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut watch = Watch::begin(&cluster, path).await;
    for _ in 0..4 {
        assert_eq!(watch.named().await.0, "ADDED");
    }
    let ours = watch.next().await.unwrap();
    real["object"]["metadata"]["resourceVersion"] = json!(cluster.resource_version().to_string());
    assert_eq!(ours, real);
    cluster.remove_pod("demo", "db-0");
    assert_eq!(watch.named().await, event("DELETED", "db-0"));
}

#[tokio::test]
async fn quiet_watches_get_bookmarks() {
    let cluster = kubefwd_tests::Cluster::builder()
        .timing(|timing| timing.bookmark_interval = std::time::Duration::from_millis(10))
        .start()
        .await
        .unwrap();
    let version = cluster.resource_version();
    for (path, name) in [
        ("/api/v1/pods", "watch-pods-rollout.jsonl"),
        ("/api/v1/services", "watch-services.jsonl"),
        (
            "/apis/discovery.k8s.io/v1/endpointslices",
            "watch-endpointslices-rollout.jsonl",
        ),
    ] {
        let recorded = capture::read(name);
        let mut real: Value = serde_json::from_str(recorded.lines().last().unwrap()).unwrap();
        real["object"]["metadata"]["resourceVersion"] = json!(version.to_string());
        let path = format!("{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}");
        let mut watch = Watch::begin(&cluster, &path).await;
        assert_eq!(watch.next().await.unwrap(), real, "{name}");
    }
}

#[tokio::test]
async fn a_compacted_history_is_an_error_event() {
    let cluster = recorded_cluster().await;
    let version = cluster.resource_version();
    cluster.put_service("demo", Service::new("a"));
    cluster.compact();
    let mut watch = Watch::begin(&cluster, &format!("{SERVICES}&resourceVersion={version}")).await;
    let error = watch.next().await.unwrap();
    assert_eq!(error["type"], "ERROR");
    assert_eq!(error["object"]["code"], 410);
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn watches_end_by_timeout_by_cut_and_with_the_server() {
    let cluster = recorded_cluster().await;
    let version = cluster.resource_version();
    let path = format!("{SERVICES}&resourceVersion={version}");
    let mut timed = Watch::begin(&cluster, &format!("{path}&timeoutSeconds=0")).await;
    assert_eq!(timed.next().await, None);
    let mut ended = Watch::begin(&cluster, &path).await;
    cluster.end_watches();
    assert_eq!(ended.next().await, None);
    let mut cut = Watch::begin(&cluster, &path).await;
    cluster.cut_watches();
    assert_eq!(cut.next().await, None);
    let mut dropped = Watch::begin(&cluster, &path).await;
    cluster.stop_api_server().await;
    assert_eq!(dropped.next().await, None);
    cluster.start_api_server().await.unwrap();
    // A new watch resumes where the old one was.
    cluster.put_service("demo", Service::new("meanwhile"));
    let mut resumed = Watch::begin(&cluster, &path).await;
    assert_eq!(resumed.named().await, event("ADDED", "meanwhile"));
    assert_eq!(cluster.counts().requests["WATCH services"], 5);
}

#[tokio::test]
async fn tables_are_watched_with_their_columns_once() {
    let cluster = recorded_cluster().await;
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n";
    let mut watch = Watch::begin_with(&cluster, SERVICES, accept).await;
    let first = watch.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert!(first["object"]["columnDefinitions"].is_array());
    assert_eq!(first["object"]["rows"][0]["cells"][0], "db");
    let second = watch.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
}

#[tokio::test]
async fn changes_can_be_awaited() {
    let cluster = recorded_cluster().await;
    let mut changes = cluster.changes(Kind::Service);
    changes.mark_unchanged();
    cluster.put_service("demo", Service::new("a"));
    changes.changed().await.unwrap();
    assert_eq!(
        u64::from(*changes.borrow() <= cluster.resource_version()),
        1
    );
}
