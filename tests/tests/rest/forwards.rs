//! `/api/v1/forwards`: single listening ports, by every form of their keys.

use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::run;
use serde_json::{Value, json};

use crate::support::{World, data, each, has_fields, list, number, refusal, text};

const FIELDS: [&str; 21] = [
    "key",
    "serviceKey",
    "serviceName",
    "namespace",
    "context",
    "headless",
    "podName",
    "localIP",
    "localPort",
    "podPort",
    "hostnames",
    "status",
    "startedAt",
    "bytesIn",
    "bytesOut",
    "rateIn",
    "rateOut",
    "avgRateIn",
    "avgRateOut",
    "connections",
    "totalConnections",
];

#[test]
fn the_list_has_every_port_in_order() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let all = world.get("/api/v1/forwards");
        let keys: Vec<String> = list(&all["forwards"]).iter().map(canonical).collect();
        assert_eq!(each(&all["forwards"], "key"), keys);
        for forward in list(&all["forwards"]) {
            has_fields(
                forward,
                &FIELDS,
                &[
                    "protocol",
                    "containerName",
                    "error",
                    "reason",
                    "hint",
                    "lastActive",
                    "servicePort",
                    "portName",
                    "podAddress",
                    "failedConnections",
                    "firstByteMicros",
                    "transport",
                ],
            );
        }
        let places: Vec<(&str, &str)> = list(&all["forwards"])
            .iter()
            .map(|forward| (text(&forward["serviceName"]), text(&forward["localPort"])))
            .collect();
        assert_eq!(
            places,
            [
                ("echo", "7000"),
                ("multi", "80"),
                ("multi", "9090"),
                ("peers", "8080"),
                ("peers", "8080"),
                ("peers", "8080"),
                ("web", "80")
            ]
        );
        assert_eq!(all["summary"]["totalForwards"], 7);
    });
}

/// `service.namespace.context.pod.localPort`
fn canonical(forward: &Value) -> String {
    let parts = [
        "serviceName",
        "namespace",
        "context",
        "podName",
        "localPort",
    ];
    let key = parts.map(|part| text(&forward[part])).join(".");
    // A pod of a headless service has a forward of its own, too.
    let (pod, service) = (text(&forward["podName"]), text(&forward["serviceName"]));
    let own = format!("{pod}.{service}");
    match list(&forward["hostnames"]).iter().any(|name| *name == own) {
        true => format!("{pod}.{key}"),
        false => key,
    }
}

#[test]
fn filters_and_pages_choose_from_the_list() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let count = |query: &str| {
            let reply = world.call("GET", &format!("/api/v1/forwards?{query}"), None);
            let found = data(&reply, 200);
            let count = list(&found["forwards"]).len();
            assert_eq!(reply.json()["meta"]["count"], count);
            (count, number(&found["summary"]["totalForwards"]))
        };
        assert_eq!(count("service=multi"), (2, 2));
        assert_eq!(count("service=multi&limit=1"), (1, 2));
        assert_eq!(count("namespace=demo&status=active"), (7, 7));
        assert_eq!(count("status=error"), (0, 0));
        assert_eq!(count("context=elsewhere"), (0, 0));
        assert_eq!(count("search=peers-1"), (1, 1));
        assert_eq!(count("offset=4"), (3, 7));
        for wrong in ["status=odd", "limit=0", "offset=x"] {
            let reply = world.call("GET", &format!("/api/v1/forwards?{wrong}"), None);
            refusal(&reply, 400, "BAD_REQUEST");
        }
    });
}

#[test]
fn every_form_of_a_key_leads_to_a_forward() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let multi = world.get("/api/v1/services/multi.demo.sim");
        let pod = text(&multi["forwards"][0]["podName"]).to_owned();
        let port = |key: &str| {
            let found = world.get(&format!("/api/v1/forwards/{key}"));
            (
                text(&found["serviceName"]).to_owned(),
                text(&found["localPort"]).to_owned(),
            )
        };
        let is = |service: &str, port: &str| (service.to_owned(), port.to_owned());
        assert_eq!(
            port(&format!("multi.demo.sim.{pod}.9090")),
            is("multi", "9090")
        );
        assert_eq!(port("multi.demo.sim"), is("multi", "80"));
        assert_eq!(port(&format!("{pod}.multi.demo.sim")), is("multi", "80"));
        assert_eq!(port(&format!("{pod}.demo.sim")), is("multi", "80"));
        assert_eq!(port("peers-1.peers.demo.sim"), is("peers", "8080"));
        let peer = world.get("/api/v1/forwards/peers-1.demo.sim");
        assert_eq!(peer["podName"], "peers-1");
        for (key, status, code) in [
            ("none.demo.sim", 404, "NOT_FOUND"),
            ("multi.demo.sim.other.80", 404, "NOT_FOUND"),
            ("multi", 400, "BAD_REQUEST"),
        ] {
            let reply = world.call("GET", &format!("/api/v1/forwards/{key}"), None);
            refusal(&reply, status, code);
        }
    });
}

#[test]
fn counters_are_those_of_the_port_that_was_used() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let mut open = connect("echo", 7000);
        echo(&mut open, &[1; 5_000]);
        echo(&mut connect("echo", 7000), &[2; 5_000]);
        let used = world.until("both are counted", "/api/v1/forwards/echo.demo.sim", |f| {
            number(&f["bytesIn"]) == 10_000 && number(&f["connections"]) == 1
        });
        assert_eq!(number(&used["bytesOut"]), 10_000);
        assert_eq!(number(&used["totalConnections"]), 2);
        drop(open);
        world.until("it is closed", "/api/v1/forwards/echo.demo.sim", |f| {
            f["connections"] == 0
        });
        let other = world.get("/api/v1/forwards/web.demo.sim");
        assert_eq!(
            (&other["bytesIn"], &other["totalConnections"]),
            (&json!(0), &json!(0))
        );
    });
}
