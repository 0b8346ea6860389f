//! Answers of the API against recorded ones: heads and bodies.

use std::collections::BTreeSet;
use std::time::Duration;

use kubefwd_tests::{Cluster, Rule};
use serde_json::{Value, json};

use super::support::capture;
use super::support::client::{Answer, Client, Head};
use super::support::recorded_cluster;

/// The recordings were made by curl, for which the server indents.
const CURL: &str = "User-Agent: curl/8.5.0\r\n";

/// Status and header names; values where they are not unique to an answer.
fn shape(head: &Head) -> (u16, BTreeSet<(String, String)>) {
    let headers = head.headers.iter().map(|(name, value)| {
        let free = ["audit-id", "date", "content-length"].contains(&name.as_str())
            || name.starts_with("x-kubernetes-pf-");
        let value = if free { "…" } else { value };
        (name.clone(), value.to_owned())
    });
    (head.code(), headers.collect())
}

fn same_head(answer: &Answer, recorded: &Head, name: &str) {
    assert_eq!(shape(&answer.head), shape(recorded), "{name}");
}

/// The answer must be the recorded one, except for headers that are unique to an answer.
async fn same_answer(client: &mut Client, name: &str, path: &str, headers: &str) {
    let (head, body) = capture::answer(name);
    let answer = client.get_with(path, &format!("{CURL}{headers}")).await;
    same_head(&answer, &head, name);
    assert_eq!(answer.text().trim(), body.trim(), "{name}");
    let length = answer.head.headers.get("content-length");
    assert_eq!(length, head.headers.get("content-length"), "{name}");
}

#[tokio::test]
async fn status_answers() {
    let cluster = recorded_cluster().await;
    let pods = "/api/v1/namespaces/demo/pods";
    let mut admin = Client::admin(&cluster).await;
    let bad = "Authorization: Bearer nonsense\r\n";
    let anonymous = &mut Client::anonymous(&cluster).await;
    same_answer(anonymous, "status-401-bad-token.txt", pods, bad).await;
    same_answer(anonymous, "status-403-anonymous.txt", pods, "").await;
    let nobody = &mut Client::of(&cluster, "nobody-user").await;
    same_answer(nobody, "status-403-no-rights-user.txt", pods, "").await;
    let admin = &mut admin;
    same_answer(admin, "status-404-pod.txt", &format!("{pods}/nope"), "").await;
    let service = "/api/v1/namespaces/demo/services/nope";
    same_answer(admin, "status-404-service.txt", service, "").await;
    same_answer(
        admin,
        "status-404-unknown-group.txt",
        "/apis/nope.example.com/v1/things",
        "",
    )
    .await;
    same_answer(admin, "status-404-unknown-path.txt", "/api/v1/nonsense", "").await;
    let image = "Accept: image/png\r\n";
    same_answer(admin, "status-406-not-acceptable.txt", pods, image).await;
}

#[tokio::test]
async fn a_viewer_may_look_but_not_forward() {
    let cluster = recorded_cluster().await;
    let viewer = &mut Client::of(&cluster, "system:serviceaccount:demo:viewer").await;
    assert_eq!(
        viewer.get("/api/v1/namespaces/demo/pods").await.head.code(),
        200
    );
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n";
    let path = "/api/v1/namespaces/demo/pods/db-0/portforward";
    let name = "status-403-viewer-portforward-get-websocket.txt";
    same_answer(viewer, name, path, upgrade).await;
    let name = "status-403-viewer-portforward-post.txt";
    let (head, body) = capture::answer(name);
    let request = format!("POST {path} HTTP/1.1\r\nHost: sim\r\n{CURL}Content-Length: 0\r\n\r\n");
    viewer.send(request.as_bytes()).await;
    let answer = viewer.answer().await;
    same_head(&answer, &head, name);
    assert_eq!(answer.text().trim(), body.trim());
}

/// Replaces the numbers of a text.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

#[tokio::test]
async fn resource_versions_of_the_past_and_the_future() {
    let cluster = recorded_cluster().await;
    let old = cluster.resource_version();
    cluster.create_namespace("later");
    cluster.compact();
    let admin = &mut Client::admin(&cluster).await;
    let pods = "/api/v1/namespaces/demo/pods";
    let exact = format!("{pods}?resourceVersion={old}&resourceVersionMatch=Exact");
    same_answer(admin, "status-410-list-old-exact.txt", &exact, "").await;

    for (name, path) in [
        (
            "status-410-watch-old-resourceversion.txt",
            format!("{pods}?watch=1&resourceVersion=1"),
        ),
        (
            "status-504-list-future-resourceversion.txt",
            format!("{pods}?resourceVersion=999999999&resourceVersionMatch=NotOlderThan"),
        ),
    ] {
        let (head, body) = capture::answer(name);
        let answer = admin.get_with(&path, CURL).await;
        same_head(&answer, &head, name);
        assert_eq!(
            without_numbers(answer.text().trim()),
            without_numbers(body.trim())
        );
    }
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_lists_as_empty() {
    let cluster = recorded_cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    let name = "list-in-missing-namespace-is-200-empty.txt";
    let (head, body) = capture::answer(name);
    let answer = admin.get_with("/api/v1/namespaces/nope/pods", CURL).await;
    same_head(&answer, &head, name);
    assert_eq!(
        without_numbers(&answer.text()).trim(),
        without_numbers(&body).trim()
    );
}

#[tokio::test]
async fn access_reviews() {
    let cluster = recorded_cluster().await;
    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "spec": {"resourceAttributes": {
            "namespace": "demo", "verb": "create", "resource": "pods", "subresource": "portforward",
        }},
    });
    for (name, user) in [
        ("ssar-allowed.txt", "admin"),
        ("ssar-denied.txt", "nobody-user"),
    ] {
        let (head, body) = capture::answer(name);
        let mut recorded: Value = serde_json::from_str(&body).unwrap();
        // Field ownership is not simulated.
        recorded["metadata"] = json!({});
        let client = &mut Client::of(&cluster, user).await;
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = client.post(path, &review.to_string()).await;
        same_head(&answer, &head, name);
        assert_eq!(answer.json(), recorded, "{name}");
    }
}

#[tokio::test]
async fn version_and_discovery() {
    let cluster = recorded_cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    for (path, name) in [
        ("/version", "version"),
        ("/api", "api"),
        ("/apis", "apis"),
        ("/api/v1", "api-v1-resources"),
        ("/api/v1/namespaces", "namespaces"),
        ("/api/v1/namespaces/demo/pods", "demo-pods"),
        ("/api/v1/namespaces/demo/services", "demo-services"),
        ("/api/v1/namespaces/demo/endpoints", "demo-endpoints"),
        (
            "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices",
            "demo-endpointslices",
        ),
    ] {
        let answer = admin.get(path).await;
        let mut recorded = capture::http2_head(&format!("{name}.headers"));
        // HTTP/2 needs no length, and long bodies were compressed by the client's leave.
        recorded
            .headers
            .insert("content-length".into(), String::new());
        same_head(&answer, &recorded, name);
    }
    let api: Value = serde_json::from_str(&capture::read("api.json")).unwrap();
    assert_eq!(admin.get("/api").await.json(), api);

    let recorded: Value = serde_json::from_str(&capture::read("api-v1-resources.json")).unwrap();
    let ours = admin.get("/api/v1").await.json();
    let find = |list: &Value, name: &str| -> Value {
        let resources = list["resources"].as_array().unwrap();
        let found = resources.iter().find(|r| r["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    for name in [
        "pods",
        "services",
        "endpoints",
        "namespaces",
        "events",
        "pods/portforward",
    ] {
        let (ours, real) = (find(&ours, name), find(&recorded, name));
        for field in [
            "singularName",
            "namespaced",
            "kind",
            "shortNames",
            "categories",
        ] {
            assert_eq!(ours[field], real[field], "{field} of {name}");
        }
        let verbs =
            |r: &Value| serde_json::from_value::<BTreeSet<String>>(r["verbs"].clone()).unwrap();
        assert!(verbs(&ours).is_subset(&verbs(&real)), "verbs of {name}");
    }
}

#[tokio::test]
async fn health_is_public_and_discovery_is_not() {
    let cluster = recorded_cluster().await;
    let anonymous = &mut Client::anonymous(&cluster).await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = anonymous.get(path).await;
        assert_eq!((answer.head.code(), answer.text()), (200, "ok".into()));
    }
    assert_eq!(anonymous.get("/version").await.head.code(), 200);
    let refused = anonymous.get("/apis").await;
    assert_eq!(refused.head.code(), 403);
    assert_eq!(
        refused.json()["message"],
        "forbidden: User \"system:anonymous\" cannot get path \"/apis\""
    );
}

async fn code(cluster: &Cluster, token: &str) -> u16 {
    let header = format!("Authorization: Bearer {token}\r\n");
    let mut client = Client::anonymous(cluster).await;
    let answer = client
        .get_with("/api/v1/namespaces/demo/pods", &header)
        .await;
    answer.head.code()
}

#[tokio::test]
async fn tokens_and_certificates_expire_and_are_revoked() {
    let cluster = recorded_cluster().await;
    let token = cluster.token("admin", None).unwrap();
    assert_eq!(code(&cluster, &token).await, 200);
    cluster.revoke_token(&token);
    assert_eq!(code(&cluster, &token).await, 401);
    let expired = cluster.token("admin", Some(Duration::ZERO)).unwrap();
    assert_eq!(code(&cluster, &expired).await, 401);
    let expired = cluster.client_certificate("admin", Duration::ZERO).unwrap();
    let mut client = Client::connect(&cluster, Some(&expired)).await;
    assert_eq!(
        client.get("/api/v1/namespaces/demo/pods").await.head.code(),
        401
    );
}

#[tokio::test]
async fn rules_change_while_the_cluster_runs() {
    let cluster = recorded_cluster().await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices";
    let nobody = &mut Client::of(&cluster, "nobody-user").await;
    let refused = nobody.get(slices).await.json();
    assert_eq!(
        refused["message"],
        "endpointslices.discovery.k8s.io is forbidden: User \"nobody-user\" cannot list resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"demo\""
    );
    let rule = Rule::new(["list"], ["endpointslices"]).in_namespace("demo");
    cluster.set_rules("nobody-user", [rule.clone()]);
    assert_eq!(nobody.get(slices).await.head.code(), 200);
    assert_eq!(
        nobody.get(&format!("{slices}?watch=1")).await.head.code(),
        403
    );
    cluster.deny(rule);
    assert_eq!(nobody.get(slices).await.head.code(), 403);
}
