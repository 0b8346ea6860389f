//! `/api/v1/kubernetes`: what the cluster has, through the caller's own worker.

use kubefwd_tests::harness::http::Request;
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::{Cluster, Namespace, RequestEffect, RequestMatch, Rule};
use serde_json::json;

use crate::support::{World, each, has_fields, is_time, list, number, refusal, tcp, text};

#[test]
fn contexts_are_those_of_the_callers_kubeconfig() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let found = world.get("/api/v1/kubernetes/contexts");
        assert_eq!(found["currentContext"], "sim");
        let expected = json!([{"name": "sim", "cluster": "sim", "user": "sim", "namespace": "", "active": true}]);
        assert_eq!(found["contexts"], expected);
    });
}

#[test]
fn namespaces_and_services_say_what_is_forwarded() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let found = world.get("/api/v1/kubernetes/namespaces?context=sim");
        let forwarded: Vec<_> = list(&found["namespaces"])
            .iter()
            .filter(|n| n["forwarded"] == true)
            .collect();
        assert_eq!(
            forwarded,
            [&json!({"name": "demo", "status": "Active", "forwarded": true})]
        );
        assert!(each(&found["namespaces"], "name").contains(&"other"));

        let services = world.get("/api/v1/kubernetes/services?namespace=demo");
        assert_eq!(
            each(&services["services"], "name"),
            ["dns", "echo", "multi", "peers", "web"]
        );
        let multi = world.get("/api/v1/kubernetes/services/demo/multi?context=sim");
        assert_eq!(multi, services["services"][2]);
        has_fields(
            &multi,
            &[
                "name",
                "namespace",
                "type",
                "clusterIP",
                "ports",
                "selector",
                "forwarded",
                "forwardKey",
            ],
            &[],
        );
        assert_eq!(
            (&multi["forwarded"], &multi["forwardKey"]),
            (&json!(true), &json!("multi.demo.sim"))
        );
        let metrics =
            json!({"name": "metrics", "port": 9090, "targetPort": "metrics", "protocol": "TCP"});
        assert_eq!(multi["ports"][1], metrics);
        assert_eq!(multi["selector"], json!({"app": "web"}));
        let peers = world.get("/api/v1/kubernetes/services/demo/peers");
        assert_eq!(peers["clusterIP"], "None");
        let elsewhere = world.get("/api/v1/kubernetes/services?namespace=other");
        assert!(
            list(&elsewhere["services"])
                .iter()
                .all(|s| s["forwarded"] == false)
        );
        let none = world.call("GET", "/api/v1/kubernetes/services/demo/nothing", None);
        refusal(&none, 404, "NOT_FOUND");
    });
}

/// Three pages of the API server, and several frames of the worker.
#[test]
fn long_lists_are_complete() {
    const MANY: usize = 1_201;
    run(async |sandbox| {
        let mut cluster =
            Cluster::builder().namespace(Namespace::new("many").generate_services(MANY));
        for n in 1..MANY {
            cluster = cluster.namespace(Namespace::new(format!("ns-{n:05}")));
        }
        let cluster = cluster.start().await.unwrap();
        let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
        let system = World::daemon(&sandbox, &kubeconfig, "");
        let world = World { cluster, system };

        let found = world.get("/api/v1/kubernetes/namespaces");
        let names = each(&found["namespaces"], "name");
        let own = names.iter().filter(|name| name.starts_with("ns-"));
        assert_eq!(own.count() + 1, MANY);
        let found = world.get("/api/v1/kubernetes/services?namespace=many");
        let names = each(&found["services"], "name");
        assert_eq!(names.len(), MANY);
        assert!(names.is_sorted());
        let found = world.get("/api/v1/kubernetes/pods/many");
        assert_eq!(list(&found).len(), MANY);
    });
}

#[test]
fn pods_are_listed_and_shown_in_detail() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let mut expected = world.cluster.pods("demo", "web");
        expected.sort();
        for query in [
            "labelSelector=app%3Dweb",
            "label_selector=app%3Dweb",
            "serviceName=web",
            "service_name=multi&context=sim",
        ] {
            let pods = world.get(&format!("/api/v1/kubernetes/pods/demo?{query}"));
            assert_eq!(each(&pods, "name"), expected, "{query}");
        }
        let running =
            world.get("/api/v1/kubernetes/pods/demo?fieldSelector=status.phase%3DRunning");
        assert_eq!(list(&running).len(), 5);
        let pods = world.get("/api/v1/kubernetes/pods/demo");
        let peer = list(&pods)
            .iter()
            .find(|pod| pod["name"] == "peers-0")
            .unwrap();
        has_fields(
            peer,
            &[
                "name",
                "namespace",
                "phase",
                "status",
                "ready",
                "restarts",
                "age",
                "containers",
                "isForwarded",
            ],
            &[
                "ip",
                "node",
                "labels",
                "startTime",
                "serviceName",
                "forwardedPort",
            ],
        );
        assert_eq!(
            (&peer["ready"], &peer["phase"]),
            (&json!("1/1"), &json!("Running"))
        );
        assert_eq!(
            (&peer["isForwarded"], &peer["serviceName"]),
            (&json!(true), &json!("peers"))
        );
        assert_eq!(peer["forwardedPort"], "8080");

        let detail = world.get("/api/v1/kubernetes/pods/demo/peers-0?context=sim");
        assert_eq!(
            (&detail["name"], &detail["context"]),
            (&json!("peers-0"), &json!("sim"))
        );
        let container = &detail["containers"][0];
        assert_eq!(
            (&container["name"], &container["ready"]),
            (&json!("peers"), &json!(true))
        );
        assert_eq!(container["ports"][0]["containerPort"], 8080);
        assert!(
            list(&detail["conditions"])
                .iter()
                .any(|c| c["type"] == "Ready"),
            "{detail}"
        );
        let key = text(&detail["forwardKey"]);
        assert_eq!(
            world.get(&format!("/api/v1/forwards/{key}"))["podName"],
            "peers-0"
        );
        let none = world.call("GET", "/api/v1/kubernetes/pods/demo/nothing", None);
        refusal(&none, 404, "NOT_FOUND");
    });
}

#[test]
fn logs_of_a_pod_are_read_and_followed() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let pod = world.cluster.pods("demo", "web").remove(0);
        for n in 1..=5 {
            assert!(world.cluster.log("demo", &pod, &format!("line {n}")));
        }
        let path = format!("/api/v1/kubernetes/pods/demo/{pod}/logs");
        let all = world.get(&path);
        has_fields(
            &all,
            &[
                "podName",
                "namespace",
                "context",
                "containerName",
                "logs",
                "lineCount",
                "truncated",
            ],
            &[],
        );
        assert_eq!(
            (&all["podName"], &all["containerName"]),
            (&json!(pod), &json!("web"))
        );
        assert_eq!(all["logs"][0], "web says hello");
        assert_eq!(number(&all["lineCount"]), list(&all["logs"]).len() as u64);
        for query in ["tailLines=2", "tail_lines=2&container=web"] {
            let tail = world.get(&format!("{path}?{query}"));
            assert_eq!(tail["logs"], json!(["line 4", "line 5"]));
        }
        let stamped = world.get(&format!("{path}?tailLines=1&timestamps=true"));
        let (time, line) = text(&stamped["logs"][0]).split_once(' ').unwrap();
        assert_eq!(line, "line 5");
        is_time(&json!(time));
        let future = world.get(&format!("{path}?since_time=2100-01-01T00:00:00Z"));
        assert_eq!(future["logs"], json!([]));

        let mut stream =
            Request::new("GET", &format!("{path}?follow=true&tailLines=1")).open(&tcp());
        assert_eq!(
            stream.head.header("content-type"),
            Some("text/event-stream")
        );
        let mut next = |expected: &str| {
            let line = stream
                .by_ref()
                .find(|line| line.starts_with("data: "))
                .unwrap();
            assert!(line.contains(expected), "{line}");
        };
        next("line 5");
        assert!(world.cluster.log("demo", &pod, "line 6"));
        next("line 6");
        let none = world.call("GET", "/api/v1/kubernetes/pods/demo/nothing/logs", None);
        refusal(&none, 404, "NOT_FOUND");
        let wrong = world.call("GET", &format!("{path}?container=no"), None);
        refusal(&wrong, 400, "BAD_REQUEST");
    });
}

#[test]
fn events_and_endpoints_are_those_of_the_cluster() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        assert!(world.cluster.rollout("demo", "web").await);
        let events = world.get("/api/v1/kubernetes/events/demo?limit=3");
        assert!(
            !list(&events).is_empty() && list(&events).len() <= 3,
            "{events}"
        );
        for event in list(&events) {
            has_fields(
                event,
                &["type", "reason", "message", "count", "source"],
                &[
                    "firstTimestamp",
                    "lastTimestamp",
                    "objectKind",
                    "objectName",
                ],
            );
        }
        let (kind, name) = (
            text(&events[0]["objectKind"]),
            text(&events[0]["objectName"]),
        );
        for query in [
            format!("resourceKind={kind}&resourceName={name}"),
            format!("resource_kind={kind}&resource_name={name}"),
        ] {
            let of_one = world.get(&format!("/api/v1/kubernetes/events/demo?{query}"));
            assert!(!list(&of_one).is_empty(), "{query}");
            assert!(
                each(&of_one, "objectName")
                    .iter()
                    .all(|found| *found == name),
                "{of_one}"
            );
        }
        let none = world.get("/api/v1/kubernetes/events/demo?resourceName=none");
        assert_eq!(none, json!([]));
        let pod = world.cluster.pods("demo", "web").remove(0);
        world.cluster.set_ready("demo", &pod, false);
        let endpoints = world.get("/api/v1/kubernetes/endpoints/demo/web?context=sim");
        has_fields(&endpoints, &["name", "namespace", "subsets"], &[]);
        let subset = &endpoints["subsets"][0];
        assert_eq!(list(&subset["addresses"]).len(), 1, "{endpoints}");
        assert_eq!(
            each(&subset["notReadyAddresses"], "podName"),
            [pod.as_str()]
        );
        let port = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
        assert_eq!(subset["ports"], port);
        let none = world.call("GET", "/api/v1/kubernetes/endpoints/demo/nothing", None);
        refusal(&none, 404, "NOT_FOUND");
    });
}

#[test]
fn what_the_cluster_refuses_or_cannot_answer_is_told_apart() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.cluster.deny(Rule::new(["list"], ["pods"]));
        let error = refusal(
            &world.call("GET", "/api/v1/kubernetes/pods/demo", None),
            403,
            "FORBIDDEN",
        );
        assert!(text(&error["message"]).contains("pods"), "{error}");
        world.cluster.clear_denials();
        let lists = RequestMatch::any().verb("list").resource("pods");
        world
            .cluster
            .fail_requests(lists, RequestEffect::Answer(401), None);
        let error = refusal(
            &world.call("GET", "/api/v1/kubernetes/pods/demo", None),
            503,
            "UNAVAILABLE",
        );
        assert!(error["hint"].is_string(), "{error}");
        world.cluster.clear_request_faults();
        let error = refusal(
            &world.call("GET", "/api/v1/kubernetes/namespaces?context=nowhere", None),
            404,
            "NOT_FOUND",
        );
        assert!(text(&error["message"]).contains("nowhere"), "{error}");
        world.cluster.stop_api_server().await;
        let error = refusal(
            &world.call("GET", "/api/v1/kubernetes/namespaces", None),
            503,
            "UNAVAILABLE",
        );
        assert!(error["hint"].is_string(), "{error}");
    });
}

#[test]
fn without_a_kubeconfig_the_answer_says_where_it_was_looked_for() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        std::fs::remove_file(sandbox.path("home/.kube/config")).unwrap();
        let reply = world.call("GET", "/api/v1/kubernetes/contexts", None);
        let error = refusal(&reply, 503, "UNAVAILABLE");
        assert!(text(&error["message"]).contains(".kube/config"), "{error}");
    });
}
