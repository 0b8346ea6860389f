//! `/api/v1/history` and `/api/v1/logs`: what happened, with its own time, recorded once.

use kubefwd_tests::harness::net::get;
use kubefwd_tests::harness::{eventually, sandbox::run};
use serde_json::{Value, json};

use crate::support::{
    World, data, each, has_fields, is_time, list, number, numbers, refusal, text,
};

#[test]
fn events_are_those_that_happened_newest_first() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        assert_eq!(world.get("/api/v1/history/events"), json!([]));
        world.add();
        let old = world.cluster.pods("demo", "echo").remove(0);
        assert!(world.cluster.delete_pod("demo", &old).await);
        let new = world.cluster.pods("demo", "echo").remove(0);
        world.until(
            "the pods have changed",
            "/api/v1/history/events?type=pod.added",
            |all| list(all).iter().any(|event| event["podName"] == json!(new)),
        );
        world.delete("/api/v1/services/web.demo.sim");
        world.delete("/api/v1/namespaces/demo.sim");
        let all = world.get("/api/v1/history/events?count=1000");
        let ids = numbers(&all, "id");
        assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
        assert!(each(&all, "timestamp").is_sorted_by(|a, b| a >= b));
        for event in list(&all) {
            let maybe = ["serviceKey", "forwardKey", "podName", "data"];
            has_fields(event, &["id", "type", "timestamp", "message"], &maybe);
            assert_eq!(
                event["data"],
                json!({"namespace": "demo", "context": "sim"})
            );
        }
        // Each thing that happened is there, and once.
        let count = |kind: &str, field: &str, value: &str| {
            let of_kind = world.get(&format!("/api/v1/history/events?type={kind}&count=1000"));
            list(&of_kind)
                .iter()
                .filter(|event| field.is_empty() || event[field] == value)
                .count()
        };
        assert_eq!(count("namespace.added", "", ""), 1);
        assert_eq!(count("namespace.removed", "", ""), 1);
        assert_eq!(count("service.added", "serviceKey", "web.demo.sim"), 1);
        assert_eq!(count("service.removed", "serviceKey", "web.demo.sim"), 1);
        assert_eq!(count("service.removed", "serviceKey", "echo.demo.sim"), 1);
        assert_eq!(count("pod.removed", "podName", &old), 1);
        assert_eq!(count("pod.added", "podName", &new), 1);
        assert!(count("forward.connected", "serviceKey", "echo.demo.sim") >= 1);
        assert_eq!(list(&world.get("/api/v1/history/events?count=3")).len(), 3);
    });
}

#[test]
fn an_error_has_its_own_time_and_is_resolved() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        world.post("/api/v1/namespaces", &json!({"namespace": "demo"}));
        let open = world.until("the error is there", "/api/v1/history/errors", |all| {
            !list(all).is_empty()
        });
        let error = &open[0];
        has_fields(
            error,
            &[
                "id",
                "timestamp",
                "serviceKey",
                "errorType",
                "message",
                "resolved",
            ],
            &[
                "forwardKey",
                "podName",
                "resolvedAt",
                "component",
                "hint",
                "recoverable",
            ],
        );
        assert_eq!(
            (&error["serviceKey"], &error["resolved"]),
            (&json!("echo.demo.sim"), &json!(false))
        );
        assert!(text(&error["message"]).contains("7000"), "{error}");
        let current = world.get("/api/v1/diagnostics/errors");
        assert_eq!(each(&current, "timestamp"), [text(&error["timestamp"])]);
        drop(taken);
        world.act("/api/v1/services/echo.demo.sim/reconnect");
        let over = world.until("it is over", "/api/v1/history/errors", |all| {
            all[0]["resolved"] == true
        });
        assert_eq!(
            (&over[0]["id"], &over[0]["timestamp"]),
            (&error["id"], &error["timestamp"])
        );
        assert!(
            text(&over[0]["resolvedAt"]) > text(&over[0]["timestamp"]),
            "{over}"
        );
        assert_eq!(list(&over).len(), 1);
        assert_eq!(world.get("/api/v1/diagnostics/errors"), json!([]));
    });
}

#[test]
fn reconnections_say_why_how_often_and_how_long() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let _page = get("web", 80);
        world.act("/api/v1/services/web.demo.sim/reconnect");
        let path = "/api/v1/services/web.demo.sim/history/reconnections";
        let manual = |all: &Value| {
            list(all)
                .iter()
                .filter(|one| one["trigger"] == "manual")
                .count()
        };
        let all = world.until("it was done by hand", path, |all| manual(all) == 1);
        has_fields(
            &all[0],
            &[
                "id",
                "timestamp",
                "serviceKey",
                "trigger",
                "attemptCount",
                "success",
                "duration",
            ],
            &["error"],
        );
        assert_eq!(
            (&all[0]["success"], number(&all[0]["attemptCount"])),
            (&json!(true), 1)
        );
        is_time(&all[0]["timestamp"]);
        assert!(text(&all[0]["duration"]).ends_with('s'), "{all}");

        world.act("/api/v1/services/web.demo.sim/sync?force=true");
        world.until("it was done by a sync", path, |all| {
            list(all).iter().any(|one| one["trigger"] == "sync")
        });

        // Lost without anybody asking: the next use finds out and opens it anew.
        world.cluster.restart_kubelet();
        let all = eventually("it was done by itself", || {
            let _page = kubefwd_tests::harness::net::try_get("web", 80, "/");
            let all = world.get(path);
            list(&all)
                .iter()
                .any(|one| one["trigger"] == "auto")
                .then_some(all)
        });
        let auto = list(&all)
            .iter()
            .find(|one| one["trigger"] == "auto")
            .unwrap();
        assert_eq!(auto["success"], true, "{auto}");
        assert!(number(&auto["attemptCount"]) >= 1, "{auto}");
        let everybody = world.get("/api/v1/history/reconnections?count=1000");
        assert!(numbers(&everybody, "id").contains(&number(&auto["id"])));
        let none = world.get("/api/v1/services/echo.demo.sim/history/reconnections");
        assert_eq!(none, json!([]));
        assert_eq!(list(&world.get(&format!("{path}?count=1"))).len(), 1);
    });
}

#[test]
fn the_numbers_are_those_of_the_lists() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let stats = world.get("/api/v1/history/stats");
        has_fields(
            &stats,
            &[
                "totalEvents",
                "totalErrors",
                "totalReconnects",
                "maxEvents",
                "maxErrors",
                "maxReconnects",
            ],
            &[],
        );
        let events = world.get("/api/v1/history/events?count=1000");
        assert_eq!(number(&stats["totalEvents"]), list(&events).len() as u64);
        assert_eq!(number(&stats["totalErrors"]), 0);
        for name in ["maxEvents", "maxErrors", "maxReconnects"] {
            assert!(number(&stats[name]) > 0, "{stats}");
        }
    });
}

#[test]
fn logs_have_levels_and_services_and_no_line_twice() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        world.post("/api/v1/namespaces", &json!({"namespace": "demo"}));
        world.until("the port is missed", "/api/v1/logs?service=echo", |found| {
            !list(&found["logs"]).is_empty()
        });
        drop(taken);
        let all = world.get("/api/v1/logs?count=1000");
        for line in list(&all["logs"]) {
            has_fields(
                line,
                &["timestamp", "level", "message"],
                &["service", "fields"],
            );
            is_time(&line["timestamp"]);
        }
        assert!(each(&all["logs"], "timestamp").is_sorted_by(|a, b| a >= b));
        let ready = list(&all["logs"])
            .iter()
            .filter(|line| text(&line["message"]).contains("is ready"));
        assert_eq!(ready.count(), 1, "{all}");
        let warnings = world.get("/api/v1/logs?level=warn");
        assert!(!list(&warnings["logs"]).is_empty());
        for line in list(&warnings["logs"]) {
            assert!(["warn", "error"].contains(&text(&line["level"])), "{line}");
        }
        for name in ["echo.demo.sim", "echo"] {
            let of_echo = world.get(&format!("/api/v1/logs?service={name}"));
            assert!(!list(&of_echo["logs"]).is_empty(), "{name}: {all}");
            assert!(
                each(&of_echo["logs"], "service")
                    .iter()
                    .all(|s| *s == "echo.demo.sim")
            );
        }
        assert_eq!(list(&world.get("/api/v1/logs?count=2")["logs"]).len(), 2);
        assert_eq!(world.get("/api/v1/logs?service=ech")["logs"], json!([]));
    });
}

#[test]
fn system_logs_are_cleared_for_who_asks() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let before = world.get("/api/v1/logs/system");
        assert_eq!(
            number(&before["totalCount"]),
            list(&before["logs"]).len() as u64
        );
        assert!(number(&before["totalCount"]) > 0);
        let cleared = world.delete("/api/v1/logs/system");
        has_fields(&cleared, &["cleared", "message"], &[]);
        assert_eq!(cleared["cleared"], true);
        let after = data(&world.call("GET", "/api/v1/logs/system", None), 200);
        let known = each(&before["logs"], "message");
        assert!(
            list(&after["logs"])
                .iter()
                .all(|line| !known.contains(&text(&line["message"]))),
            "{after}"
        );
        refusal(
            &world.call("POST", "/api/v1/logs/system", None),
            405,
            "BAD_REQUEST",
        );
    });
}
