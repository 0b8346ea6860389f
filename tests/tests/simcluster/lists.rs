//! Lists, single objects and their other forms against the structure of recorded ones.

use std::collections::BTreeMap;

use kubefwd_tests::{Cluster, Namespace, demo};
use serde_json::Value;

use super::support::capture;
use super::support::client::Client;
use super::support::recorded_cluster;

fn recorded(name: &str) -> Value {
    serde_json::from_str(&capture::read(name)).unwrap()
}

/// The JSON type of a value; `null` fits everything.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// All paths of a value with their types; elements of arrays share `[]`, keys that are data share `*`.
fn paths(value: &Value, at: &str, out: &mut BTreeMap<String, &'static str>) {
    out.insert(at.to_owned(), kind(value));
    match value {
        Value::Array(items) => items.iter().for_each(|v| paths(v, &format!("{at}[]"), out)),
        Value::Object(fields) => {
            let free = [".labels", ".annotations", ".selector"];
            let free = free.iter().any(|end| at.ends_with(end));
            for (name, value) in fields {
                let name = if free { "*" } else { name };
                paths(value, &format!("{at}.{name}"), out);
            }
        }
        _ => {}
    }
}

/// Everything in `ours` must be in a real answer too, with the same type.
fn assert_known(ours: &Value, real: &Value, name: &str) {
    let (mut known, mut seen) = (BTreeMap::new(), BTreeMap::new());
    paths(real, "", &mut known);
    paths(ours, "", &mut seen);
    for (path, kind) in seen {
        let real = known.get(&path);
        let fits = real.is_some_and(|real| *real == kind || *real == "null" || kind == "null");
        assert!(fits, "{name}: {path} is {kind}, in a real answer {real:?}");
    }
}

/// All items of two recorded lists in one.
fn both(first: &str, second: &str) -> Value {
    let mut all = recorded(first);
    let more = recorded(second)["items"].as_array().unwrap().clone();
    all["items"].as_array_mut().unwrap().extend(more);
    all
}

#[tokio::test]
async fn objects_have_only_fields_that_real_ones_have() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let admin = &mut Client::admin(&cluster).await;
    for (path, name) in [
        ("/api/v1/pods", "pods"),
        ("/api/v1/services", "services"),
        ("/api/v1/endpoints", "endpoints"),
        ("/apis/discovery.k8s.io/v1/endpointslices", "endpointslices"),
    ] {
        let real = both(&format!("demo-{name}.json"), &format!("edge-{name}.json"));
        let ours = admin.get(path).await.json();
        assert_eq!(ours["kind"], real["kind"]);
        assert_eq!(ours["apiVersion"], real["apiVersion"]);
        assert_known(&ours, &real, name);
    }
    let ours = admin.get("/api/v1/namespaces").await.json();
    assert_known(&ours, &recorded("namespaces.json"), "namespaces");
    let ours = admin.get("/api/v1/nodes").await.json();
    assert_known(&ours, &recorded("nodes.json"), "nodes");
}

#[tokio::test]
async fn a_single_object_has_kind_and_version_and_items_do_not() {
    let cluster = recorded_cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    let real = recorded("demo-pod-single.json");
    let ours = admin.get("/api/v1/namespaces/demo/pods/db-0").await.json();
    assert_eq!(ours["kind"], real["kind"]);
    assert_eq!(ours["apiVersion"], real["apiVersion"]);
    let list = admin.get("/api/v1/namespaces/demo/pods").await.json();
    assert_eq!(list["items"][0]["kind"], Value::Null);
}

#[tokio::test]
async fn tables_are_those_of_a_real_server() {
    let cluster = recorded_cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n";
    let ours = admin
        .get_with("/api/v1/namespaces/demo/pods", accept)
        .await
        .json();
    let real = recorded("demo-pods-table.json");
    assert_eq!(ours["columnDefinitions"], real["columnDefinitions"]);
    assert_known(&ours, &real, "demo-pods-table.json");
    let row = &ours["rows"][0]["cells"];
    assert_eq!(
        row.as_array().unwrap()[..4],
        real["rows"][0]["cells"].as_array().unwrap()[..4]
    );
    let full = "/api/v1/namespaces/demo/pods?includeObject=Object";
    let ours = admin.get_with(full, accept).await.json();
    assert_eq!(ours["rows"][0]["object"]["kind"], "Pod");
}

#[tokio::test]
async fn metadata_only_forms() {
    let cluster = recorded_cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    let accept = "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1\r\n";
    let ours = admin
        .get_with("/api/v1/namespaces/demo/pods", accept)
        .await
        .json();
    assert_known(&ours, &recorded("demo-pods-metadata-only.json"), "metadata");
    assert_eq!(ours["items"][0]["metadata"]["name"], "db-0");
    assert_eq!(ours["items"][0]["spec"], Value::Null);
}

#[tokio::test]
async fn selectors() {
    let cluster = recorded_cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    for (query, names) in [
        ("labelSelector=app%3Ddb", vec!["db-0", "db-1", "db-2"]),
        ("labelSelector=app%20in%20(web)", vec![super::support::WEB]),
        (
            "labelSelector=app!%3Ddb&fieldSelector=status.phase%3DRunning",
            vec![super::support::WEB],
        ),
        ("fieldSelector=metadata.name%3Ddb-1", vec!["db-1"]),
        (
            "fieldSelector=metadata.name!%3Ddb-1&labelSelector=app%3Ddb",
            vec!["db-0", "db-2"],
        ),
    ] {
        let list = admin
            .get(&format!("/api/v1/namespaces/demo/pods?{query}"))
            .await
            .json();
        let items = list["items"].as_array().unwrap();
        let found: Vec<_> = items
            .iter()
            .map(|i| i["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(found, names, "{query}");
    }
    for query in ["labelSelector=a%20b", "fieldSelector=spec.nonsense%3Dx"] {
        let answer = admin.get(&format!("/api/v1/pods?{query}")).await;
        assert_eq!(answer.head.code(), 400, "{query}");
    }
}

#[tokio::test]
async fn pages_are_one_consistent_list() {
    let cluster = Cluster::builder()
        .namespace(Namespace::new("many").generate_services(25))
        .start()
        .await
        .unwrap();
    let admin = &mut Client::admin(&cluster).await;
    let real = recorded("all-pods-limit3.json");
    let mut names = Vec::new();
    let mut token = String::new();
    let mut version = None;
    loop {
        let path = format!("/api/v1/services?limit=10&continue={token}");
        let page = admin.get(&path).await.json();
        assert_eq!(
            version.get_or_insert(page["metadata"]["resourceVersion"].clone()),
            &page["metadata"]["resourceVersion"]
        );
        for item in page["items"].as_array().unwrap() {
            names.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        if token.is_empty() {
            assert_known(&page["metadata"], &real["metadata"], "page");
            assert_eq!(page["metadata"]["remainingItemCount"], 15);
            // What happens between the pages does not show in them.
            assert!(cluster.delete_service("many", "svc-00020"));
        }
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<_> = (0..25).map(|n| format!("svc-{n:05}")).collect();
    assert_eq!(names, expected);
    cluster.compact();
    let path = format!("/api/v1/services?limit=10&continue={token}");
    let gone = admin.get(&path).await;
    assert_eq!(gone.head.code(), 410);
    let fresh = gone.json()["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/v1/services?limit=10&continue={fresh}");
    assert_eq!(admin.get(&path).await.head.code(), 200);
}

#[tokio::test]
async fn an_exact_version_is_the_list_of_that_time() {
    let cluster = recorded_cluster().await;
    let version = cluster.resource_version();
    assert!(cluster.remove_pod("demo", "db-1"));
    let admin = &mut Client::admin(&cluster).await;
    let count = async |client: &mut Client, rest: &str| {
        let path = format!("/api/v1/namespaces/demo/pods?resourceVersion={version}{rest}");
        client.get(&path).await.json()["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count(admin, "&resourceVersionMatch=Exact").await, 4);
    assert_eq!(count(admin, "&resourceVersionMatch=NotOlderThan").await, 3);
}

#[tokio::test]
async fn ten_thousand_services_are_listed_whole() {
    let cluster = Cluster::builder()
        .namespace(Namespace::new("many").generate_services(10_000))
        .start()
        .await
        .unwrap();
    let admin = &mut Client::admin(&cluster).await;
    let list = admin
        .get("/apis/discovery.k8s.io/v1/namespaces/many/endpointslices")
        .await
        .json();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 10_000);
    assert!(
        items
            .iter()
            .all(|slice| slice["endpoints"][0]["conditions"]["ready"] == true)
    );
}

#[tokio::test]
async fn logs_are_cut_as_asked() {
    let cluster = recorded_cluster().await;
    for line in ["one", "two", "three"] {
        assert!(cluster.log("demo", "db-0", line));
    }
    let admin = &mut Client::admin(&cluster).await;
    let log = "/api/v1/namespaces/demo/pods/db-0/log";
    assert_eq!(admin.get(log).await.text(), "one\ntwo\nthree\n");
    assert_eq!(
        admin.get(&format!("{log}?tailLines=1")).await.text(),
        "three\n"
    );
    assert_eq!(
        admin.get(&format!("{log}?limitBytes=5")).await.text(),
        "one\nt"
    );
    let stamped = admin
        .get(&format!("{log}?timestamps=true&tailLines=1"))
        .await
        .text();
    let (stamp, rest) = stamped.split_once(' ').unwrap();
    assert_eq!(rest, "three\n");
    stamp.parse::<jiff::Timestamp>().unwrap();
    let later = "sinceTime=2099-01-01T00:00:00Z";
    assert_eq!(admin.get(&format!("{log}?{later}")).await.text(), "");
    assert_eq!(
        admin
            .get(&format!("{log}?container=nope"))
            .await
            .head
            .code(),
        400
    );
    assert_eq!(
        admin.get(&format!("{log}?previous=true")).await.head.code(),
        400
    );
    cluster.kill_container("demo", "db-0");
    assert_eq!(
        admin.get(&format!("{log}?previous=true")).await.text(),
        "one\ntwo\nthree\n"
    );
}
