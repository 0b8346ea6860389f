//! `/api/v1/namespaces`: what is forwarded as a whole.

use kubefwd_tests::harness::net::{pod, resolve};
use kubefwd_tests::harness::{eventually, sandbox::run};
use serde_json::json;

use crate::support::{World, each, has_fields, is_time, list, refusal, text};

#[test]
fn a_namespace_is_added_shown_and_removed() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        assert_eq!(world.get("/api/v1/namespaces"), json!({"namespaces": []}));
        let added = world.add();
        has_fields(&added, &["key", "namespace", "context", "services"], &[]);
        assert_eq!(added["key"], "demo.sim");
        assert_eq!(list(&added["services"]).len(), 5);
        // With `wait` everything works when the answer is there.
        assert!(pod("web", 80).starts_with("web-"));
        let all = world.get("/api/v1/namespaces");
        let shown = world.get("/api/v1/namespaces/demo.sim");
        assert_eq!(all["namespaces"], json!([shown]));
        has_fields(
            &shown,
            &[
                "key",
                "namespace",
                "context",
                "owner",
                "serviceCount",
                "activeCount",
                "errorCount",
                "running",
                "startedAt",
            ],
            &["status", "attached", "notes"],
        );
        assert_eq!(
            (&shown["serviceCount"], &shown["activeCount"]),
            (&json!(5), &json!(4))
        );
        assert_eq!(
            (&shown["running"], &shown["owner"]),
            (&json!(true), &json!(0))
        );
        is_time(&shown["startedAt"]);
        let again = world.call(
            "POST",
            "/api/v1/namespaces",
            Some(&json!({"namespace": "demo"})),
        );
        refusal(&again, 409, "ALREADY_EXISTS");

        let removed = world.delete("/api/v1/namespaces/demo.sim");
        assert_eq!(
            (&removed["removed"], &removed["key"]),
            (&json!(true), &json!("demo.sim"))
        );
        eventually("its names go", || resolve("web").is_empty().then_some(()));
        assert_eq!(world.get("/api/v1/services")["services"], json!([]));
        let gone = world.call("DELETE", "/api/v1/namespaces/demo.sim", None);
        refusal(&gone, 404, "NOT_FOUND");
        refusal(
            &world.call("GET", "/api/v1/namespaces/demo", None),
            400,
            "BAD_REQUEST",
        );
    });
}

#[test]
fn selectors_are_read_in_every_spelling() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        for (body, expected) in [
            (
                json!({"field_selector": "metadata.name=web"}),
                vec!["web.demo.sim"],
            ),
            (
                json!({"fieldSelector": "metadata.name=web"}),
                vec!["web.demo.sim"],
            ),
            (
                json!({"include": ["e*"], "exclude": []}),
                vec!["echo.demo.sim"],
            ),
            (json!({"exclude": ["*e*", "dns"]}), vec!["multi.demo.sim"]),
            (json!({"selector": "no=such"}), vec![]),
            (json!({"label_selector": "no=such"}), vec![]),
            (
                json!({"labelSelector": "no!=such", "include": ["web"]}),
                vec!["web.demo.sim"],
            ),
        ] {
            let mut body = body;
            body["namespace"] = json!("demo");
            body["wait"] = json!("60s");
            let added = world.post("/api/v1/namespaces", &body);
            assert_eq!(added["services"], json!(expected), "{body}");
            let shown = world.get("/api/v1/namespaces/demo.sim");
            for name in ["labelSelector", "fieldSelector"] {
                let asked = body.as_object().unwrap().keys().any(|key| {
                    let key = key.replace('_', "").to_lowercase();
                    key == name.to_lowercase() || (key == "selector" && name == "labelSelector")
                });
                assert_eq!(
                    shown[name].is_string(),
                    asked,
                    "{name} after {body}: {shown}"
                );
            }
            world.delete("/api/v1/namespaces/demo.sim");
        }
    });
}

#[test]
fn what_cannot_be_forwarded_is_refused_with_the_reason() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let add = |body| world.call("POST", "/api/v1/namespaces", Some(&body));
        let error = refusal(&add(json!({"namespace": "nowhere"})), 404, "NOT_FOUND");
        assert!(text(&error["message"]).contains("nowhere"), "{error}");
        let error = refusal(
            &add(json!({"namespace": "demo", "context": "far"})),
            404,
            "NOT_FOUND",
        );
        assert!(text(&error["message"]).contains("far"), "{error}");
        assert!(error["hint"].is_string(), "{error}");
        for body in [
            json!({}),
            json!({"namespace": ""}),
            json!({"namespace": "Not A Name"}),
            json!({"namespace": 7}),
            json!({"namespace": "demo", "include": "web"}),
            json!({"namespace": "demo", "selector": "=="}),
            json!({"namespace": "demo", "wait": -1}),
        ] {
            refusal(&add(body), 400, "BAD_REQUEST");
        }
        world.cluster.stop_api_server().await;
        let error = refusal(&add(json!({"namespace": "demo"})), 503, "UNAVAILABLE");
        assert!(error["hint"].is_string(), "{error}");
        assert_eq!(world.get("/api/v1/namespaces"), json!({"namespaces": []}));
    });
}

#[test]
fn waiting_names_what_does_not_become_active_and_why() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        for name in world.cluster.pods("demo", "echo") {
            world.cluster.set_ready("demo", &name, false);
        }
        let body = json!({"namespace": "demo", "wait": "1s"});
        let reply = world.call("POST", "/api/v1/namespaces", Some(&body));
        let error = refusal(&reply, 503, "UNAVAILABLE");
        assert_eq!(each(&error["notReady"], "key"), ["echo.demo.sim"]);
        assert!(
            text(&error["notReady"][0]["reason"]).contains("ready"),
            "{error}"
        );
        // It stays added, as the answer says, and heals.
        for name in world.cluster.pods("demo", "echo") {
            world.cluster.set_ready("demo", &name, true);
        }
        world.until("echo is active", "/api/v1/services/echo.demo.sim", |s| {
            s["status"] == "active"
        });
    });
}
