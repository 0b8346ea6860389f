//! `/api/v1/metrics` and `/metrics`: counters equal what was sent, and last longer than pods.

use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::run;
use serde_json::Value;

use crate::support::{World, each, has_fields, is_time, list, number, refusal, text};

#[test]
fn the_sums_are_what_was_sent() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        echo(&mut connect("echo", 7000), &[1; 100_000]);
        let sums = world.until("all is counted", "/api/v1/metrics", |sums| {
            number(&sums["totalBytesIn"]) == 100_000 && number(&sums["totalBytesOut"]) == 100_000
        });
        has_fields(
            &sums,
            &[
                "totalServices",
                "activeServices",
                "totalForwards",
                "activeForwards",
                "errorCount",
                "totalBytesIn",
                "totalBytesOut",
                "totalRateIn",
                "totalRateOut",
                "uptime",
                "lastUpdated",
            ],
            &[],
        );
        assert_eq!(
            (
                number(&sums["totalServices"]),
                number(&sums["activeForwards"])
            ),
            (5, 7)
        );
        is_time(&sums["lastUpdated"]);
        // The rate is that of the second in which it came; the average that of ten.
        let service = world.get("/api/v1/metrics/services/echo.demo.sim");
        let port = &service["portForwards"][0];
        assert_eq!(port["avgRateIn"].as_f64().unwrap(), 10_000.0, "{service}");
        world.until("the rate falls to nothing", "/api/v1/metrics", |sums| {
            sums["totalRateIn"].as_f64() == Some(0.0) && number(&sums["totalBytesIn"]) == 100_000
        });
    });
}

#[test]
fn services_have_metrics_of_their_own() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        echo(&mut connect("echo", 7000), &[1; 1_234]);
        let all = world.until("it is counted", "/api/v1/metrics/services", |all| {
            list(all)
                .iter()
                .any(|service| number(&service["totalBytesIn"]) == 1_234)
        });
        assert_eq!(each(&all, "key"), crate::support::KEYS);
        let one = world.get("/api/v1/metrics/services/echo.demo.sim");
        let fields = [
            "key",
            "serviceName",
            "namespace",
            "context",
            "totalBytesIn",
            "totalBytesOut",
            "rateIn",
            "rateOut",
            "portForwards",
        ];
        has_fields(&one, &fields, &["history"]);
        has_fields(
            &one["portForwards"][0],
            &[
                "podName",
                "localIP",
                "localPort",
                "podPort",
                "bytesIn",
                "bytesOut",
                "rateIn",
                "rateOut",
                "avgRateIn",
                "avgRateOut",
            ],
            &[
                "connectedAt",
                "lastActivityAt",
                "lastActive",
                "connections",
                "totalConnections",
                "failedConnections",
                "firstByteMicros",
            ],
        );
        let unused = world.get("/api/v1/metrics/services/web.demo.sim");
        assert_eq!(number(&unused["totalBytesIn"]), 0);
        let none = world.call("GET", "/api/v1/metrics/services/no.demo.sim", None);
        refusal(&none, 404, "NOT_FOUND");
    });
}

#[test]
fn history_has_every_step_and_all_bytes() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        echo(&mut connect("echo", 7000), &[1; 4_000]);
        let path = "/api/v1/metrics/services/echo.demo.sim/history";
        let total = |history: &Value, field: &str| -> u64 {
            list(&history["history"])
                .iter()
                .map(|bucket| number(&bucket[field]))
                .sum()
        };
        let hour = world.until("it is counted", path, |hour| {
            total(hour, "bytesIn") == 4_000
        });
        assert_eq!(hour["key"], "echo.demo.sim");
        assert_eq!(list(&hour["history"]).len(), 60, "an hour by the minute");
        assert_eq!(total(&hour, "bytesOut"), 4_000);
        for (query, steps) in [
            ("duration=1m&interval=1s", 60),
            ("duration=30m&interval=5m", 6),
            ("duration=24h&interval=1h", 24),
            ("points=10", 10),
        ] {
            let found = world.get(&format!("{path}?{query}"));
            assert_eq!(list(&found["history"]).len(), steps, "{query}");
            assert_eq!(total(&found, "bytesIn"), 4_000, "{query}: {found}");
            let times = each(&found["history"], "timestamp");
            assert!(times.is_sorted(), "{times:?}");
            is_time(&found["history"][0]["timestamp"]);
        }
        let second = world.get(&format!("{path}?duration=1m&interval=1s"));
        let busy = list(&second["history"])
            .iter()
            .find(|bucket| number(&bucket["bytesIn"]) > 0);
        let busy = busy.unwrap();
        assert_eq!(
            busy["rateIn"].as_f64(),
            Some(number(&busy["bytesIn"]) as f64)
        );
    });
}

#[test]
fn totals_outlive_the_pods_they_were_counted_on() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let path = "/api/v1/metrics/services/echo.demo.sim";
        echo(&mut connect("echo", 7000), &[1; 700]);
        world.until("the first pod counted", path, |s| {
            number(&s["totalBytesIn"]) == 700
        });
        let old = world.cluster.pods("demo", "echo");
        assert!(world.cluster.rollout("demo", "echo").await);
        world.until("another pod serves", path, |s| {
            let pod = text(&s["portForwards"][0]["podName"]);
            !pod.is_empty() && !old.iter().any(|name| name == pod)
        });
        echo(&mut connect("echo", 7000), &[1; 300]);
        let both = world.until("both are counted", path, |s| {
            number(&s["totalBytesIn"]) == 1_000
        });
        assert_eq!(number(&both["totalBytesOut"]), 1_000);
        let history = world.get(&format!("{path}/history?duration=5m&interval=1m"));
        let moved: u64 = list(&history["history"])
            .iter()
            .map(|b| number(&b["bytesIn"]))
            .sum();
        assert_eq!(moved, 1_000);

        // The pods of a headless service are places of their own, which go with them.
        echo_http(&world);
        let peers = "/api/v1/metrics/services/peers.demo.sim";
        let before = world.until("a peer is counted", peers, |s| {
            number(&s["totalBytesIn"]) > 0
        });
        assert!(world.cluster.scale("demo", "peers", 1).await);
        // The one that is left, and the service's own.
        world.until("one is left", peers, |s| {
            list(&s["portForwards"]).len() == 2
        });
        assert_eq!(world.get(peers)["totalBytesIn"], before["totalBytesIn"]);
    });
}

/// Something through a pod that will be gone.
fn echo_http(world: &World) {
    let body = kubefwd_tests::harness::net::get("peers-1.peers", 8080);
    assert!(body.contains("pod: peers-1"), "{body}");
    let _known = world.get("/api/v1/services/peers-1.peers.demo.sim");
}
