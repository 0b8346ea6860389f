//! `/api/v1/services`: what is listed, added, removed, opened anew and looked at afresh.

use kubefwd_tests::harness::net::{connect, echo, get, pod, resolve};
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{eventually, http::Request};
use serde_json::json;

use crate::support::{
    KEYS, World, data, each, has_fields, is_time, list, number, refusal, tcp, text,
};

const SUMMARY: [&str; 9] = [
    "totalServices",
    "activeServices",
    "totalForwards",
    "activeForwards",
    "errorCount",
    "totalBytesIn",
    "totalBytesOut",
    "rateIn",
    "rateOut",
];

#[test]
fn the_list_has_every_service_in_order_with_its_sums() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        assert_eq!(world.get("/api/v1/services")["services"], json!([]));
        world.add();
        let all = world.get("/api/v1/services");
        assert_eq!(each(&all["services"], "key"), KEYS);
        has_fields(&all["summary"], &SUMMARY, &[]);
        for service in list(&all["services"]) {
            has_fields(
                service,
                &[
                    "key",
                    "serviceName",
                    "namespace",
                    "context",
                    "headless",
                    "status",
                    "activeCount",
                    "errorCount",
                    "totalBytesIn",
                    "totalBytesOut",
                    "rateIn",
                    "rateOut",
                    "hostnames",
                    "forwards",
                    "owner",
                ],
                &[
                    "statusReason",
                    "localIP",
                    "hint",
                    "readyPods",
                    "totalPods",
                    "skippedPorts",
                    "refusedNames",
                    "capture",
                ],
            );
        }
        let summary = &all["summary"];
        assert_eq!(
            (
                number(&summary["totalServices"]),
                number(&summary["activeServices"])
            ),
            (5, 4)
        );
        // web 1, multi 2, echo 1; the headless one has one of its own and one for each of its two pods.
        assert_eq!(
            (
                number(&summary["totalForwards"]),
                number(&summary["activeForwards"])
            ),
            (7, 7)
        );
        let dns = &all["services"][0];
        assert!(text(&dns["statusReason"]).contains("UDP"), "{dns}");
        assert_eq!(dns["status"], "unsupported");
    });
}

#[test]
fn filters_and_pages_choose_from_the_list() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        world.post(
            "/api/v1/namespaces",
            &json!({"namespace": "other", "wait": true}),
        );
        let keys = |query: &str| -> Vec<String> {
            let found = world.get(&format!("/api/v1/services?{query}"));
            each(&found["services"], "key")
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(keys("namespace=demo"), KEYS);
        assert!(keys("namespace=demo&status=error").is_empty());
        assert_eq!(keys("namespace=demo&status=unsupported"), ["dns.demo.sim"]);
        assert_eq!(keys("namespace=demo&status=ACTIVE"), KEYS[1..]);
        assert_eq!(keys("search=EC"), ["echo.demo.sim", "echo.other.sim"]);
        assert_eq!(keys("context=sim").len(), 10);
        assert_eq!(keys("context=other").len(), 0);
        assert_eq!(
            keys("namespace=").len(),
            10,
            "an empty filter filters nothing"
        );
        // Pages follow each other without a gap, and the sums are of all that match.
        let mut paged = keys("limit=3");
        paged.extend(keys("limit=3&offset=3"));
        paged.extend(keys("limit=3&offset=6"));
        paged.extend(keys("limit=3&offset=9"));
        assert_eq!(paged, keys(""));
        assert_eq!(keys("offset=10").len(), 0);
        let page = world.call("GET", "/api/v1/services?limit=2&namespace=demo", None);
        assert_eq!(page.json()["meta"]["count"], 2);
        assert_eq!(data(&page, 200)["summary"]["totalServices"], 5);
        for wrong in [
            "limit=0",
            "limit=x",
            "offset=-1",
            "status=odd",
            "limit=1&limit=2",
        ] {
            let reply = world.call("GET", &format!("/api/v1/services?{wrong}"), None);
            refusal(&reply, 400, "BAD_REQUEST");
        }
    });
}

#[test]
fn a_service_shows_what_went_through_it() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        echo(&mut connect("echo", 7000), &[7; 30_000]);
        let service = world.until(
            "the bytes are counted",
            "/api/v1/services/echo.demo.sim",
            |s| number(&s["totalBytesIn"]) == 30_000 && number(&s["totalBytesOut"]) == 30_000,
        );
        let forward = &service["forwards"][0];
        assert_eq!(
            (number(&forward["bytesIn"]), number(&forward["bytesOut"])),
            (30_000, 30_000)
        );
        assert_eq!(number(&forward["totalConnections"]), 1);
        assert_eq!(
            (&forward["localPort"], &forward["podPort"]),
            (&json!("7000"), &json!("7000"))
        );
        assert_eq!(forward["localIP"], service["localIP"]);
        is_time(&forward["startedAt"]);
        is_time(&forward["lastActive"]);
        let of_all = world.get("/api/v1/services?search=echo")["summary"].clone();
        assert_eq!(number(&of_all["totalBytesIn"]), 30_000);
    });
}

#[test]
fn a_pod_of_a_headless_service_has_a_key_of_its_own() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let both = world.get("/api/v1/services/peers.demo.sim");
        assert_eq!(
            (&both["headless"], list(&both["forwards"]).len()),
            (&json!(true), 3)
        );
        let one = world.get("/api/v1/services/peers-1.peers.demo.sim");
        assert_eq!(one["key"], "peers-1.peers.demo.sim");
        assert_eq!(each(&one["forwards"], "podName"), ["peers-1"]);
        let address: std::net::IpAddr = text(&one["localIP"]).parse().unwrap();
        assert_eq!(resolve("peers-1.peers"), [address]);
        // Also where the service itself leads to the same pod, each forward can be asked for.
        let keys = each(&both["forwards"], "key");
        assert_eq!(
            keys,
            [
                "peers.demo.sim.peers-0.8080",
                "peers-0.peers.demo.sim.peers-0.8080",
                "peers-1.peers.demo.sim.peers-1.8080"
            ]
        );
        for (forward, name) in
            list(&both["forwards"])
                .iter()
                .zip(["peers", "peers-0.peers", "peers-1.peers"])
        {
            let found = world.get(&format!("/api/v1/forwards/{}", text(&forward["key"])));
            assert_eq!(found["key"], forward["key"]);
            let address: std::net::IpAddr = text(&found["localIP"]).parse().unwrap();
            assert_eq!(resolve(name), [address]);
        }
    });
}

#[test]
fn a_service_is_added_with_the_ports_and_the_address_it_asks_for() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let added = world.post(
            "/api/v1/services",
            &json!({
                "namespace": "demo", "service_name": "multi", "context": "sim",
                "ports": ["80:8888"], "local_ip": "127.1.27.77", "wait": true
            }),
        );
        has_fields(
            &added,
            &[
                "key",
                "serviceName",
                "namespace",
                "context",
                "localIP",
                "hostnames",
                "ports",
            ],
            &[],
        );
        assert_eq!(added["key"], "multi.demo.sim");
        assert_eq!(added["localIP"], "127.1.27.77");
        let port = json!([{"localPort": "8888", "remotePort": "80", "protocol": "TCP"}]);
        assert_eq!(added["ports"], port);
        assert_eq!(
            resolve("multi"),
            ["127.1.27.77".parse::<std::net::IpAddr>().unwrap()]
        );
        assert!(pod("multi", 8888).starts_with("web-"));
        assert!(std::net::TcpStream::connect(("multi", 9090)).is_err());
        // Only that service of the namespace, in the other spelling, and once.
        let listed = world.get("/api/v1/services");
        assert_eq!(each(&listed["services"], "key"), ["multi.demo.sim"]);
        let camel = json!({"namespace": "demo", "serviceName": "multi"});
        let again = world.call("POST", "/api/v1/services", Some(&camel));
        refusal(&again, 409, "ALREADY_EXISTS");
        let taken = json!({"namespace": "demo", "serviceName": "web", "localIP": "127.1.27.77"});
        refusal(
            &world.call("POST", "/api/v1/services", Some(&taken)),
            409,
            "CONFLICT",
        );
    });
}

#[test]
fn a_service_that_cannot_be_forwarded_says_so_when_it_is_added() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let nowhere = json!({"namespace": "demo", "serviceName": "nothing"});
        let error = refusal(
            &world.call("POST", "/api/v1/services", Some(&nowhere)),
            404,
            "NOT_FOUND",
        );
        assert!(text(&error["message"]).contains("nothing"), "{error}");
        let dns = json!({"namespace": "demo", "serviceName": "dns", "wait": true});
        let error = refusal(
            &world.call("POST", "/api/v1/services", Some(&dns)),
            409,
            "CONFLICT",
        );
        assert!(text(&error["message"]).contains("UDP"), "{error}");
        let outside = json!({"namespace": "demo", "serviceName": "web", "localIP": "10.0.0.1"});
        let reply = world.call("POST", "/api/v1/services", Some(&outside));
        let error = refusal(&reply, 409, "CONFLICT");
        assert!(text(&error["message"]).contains("range"), "{error}");
        for body in [
            json!({"namespace": "demo"}),
            json!({"serviceName": "web"}),
            json!({"namespace": "", "serviceName": "web"}),
            json!({"namespace": "demo", "serviceName": "no name"}),
            json!({"namespace": "demo", "serviceName": "web", "ports": ["x"]}),
            json!({"namespace": "demo", "serviceName": "web", "wait": "soon"}),
        ] {
            refusal(
                &world.call("POST", "/api/v1/services", Some(&body)),
                400,
                "BAD_REQUEST",
            );
        }
    });
}

#[test]
fn a_service_is_removed_by_its_key() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let removed = world.delete("/api/v1/services/web.demo.sim");
        has_fields(&removed, &["removed", "key", "message"], &[]);
        assert_eq!(
            (&removed["removed"], &removed["key"]),
            (&json!(true), &json!("web.demo.sim"))
        );
        eventually("its name goes", || resolve("web").is_empty().then_some(()));
        let gone = world.call("GET", "/api/v1/services/web.demo.sim", None);
        refusal(&gone, 404, "NOT_FOUND");
        refusal(
            &world.call("DELETE", "/api/v1/services/web.demo.sim", None),
            404,
            "NOT_FOUND",
        );
        refusal(
            &world.call("DELETE", "/api/v1/services/web", None),
            400,
            "BAD_REQUEST",
        );
        echo(&mut connect("echo", 7000), b"the others stay");
    });
}

#[test]
fn reconnecting_opens_the_tunnels_of_what_was_named_anew() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let _page = get("web", 80);
        let upgrades = world.cluster.counts().upgrades_spdy;
        let one = world.act("/api/v1/services/web.demo.sim/reconnect");
        assert_eq!(one, json!({"triggered": 1, "services": ["web.demo.sim"]}));
        world.until(
            "it is in the history",
            "/api/v1/history/reconnections",
            |all| {
                list(all)
                    .iter()
                    .any(|one| one["serviceKey"] == "web.demo.sim" && one["trigger"] == "manual")
            },
        );
        let _page = get("web", 80);
        assert!(world.cluster.counts().upgrades_spdy > upgrades);
        // Nothing is in error, so nothing is to be done without force.
        let none = world.act("/api/v1/services/reconnect");
        assert_eq!(none, json!({"triggered": 0, "services": []}));
        let all = world.act("/api/v1/services/reconnect?force=true");
        assert_eq!(
            number(&all["triggered"]),
            list(&all["services"]).len() as u64
        );
        assert!(
            list(&all["services"]).contains(&json!("echo.demo.sim")),
            "{all}"
        );
        echo(&mut connect("echo", 7000), b"works");
        refusal(
            &world.call("POST", "/api/v1/services/reconnect?force=perhaps", None),
            400,
            "BAD_REQUEST",
        );
        refusal(
            &world.call("POST", "/api/v1/services/no.demo.sim/reconnect", None),
            404,
            "NOT_FOUND",
        );
    });
}

#[test]
fn reconnecting_what_is_in_error_tries_its_ports_again() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        world.post("/api/v1/namespaces", &json!({"namespace": "demo"}));
        world.until(
            "the port is missed",
            "/api/v1/services/echo.demo.sim",
            |s| s["status"] == "error",
        );
        drop(taken);
        let triggered = world.act("/api/v1/services/reconnect");
        assert_eq!(triggered["services"], json!(["echo.demo.sim"]));
        world.until("it is active", "/api/v1/services/echo.demo.sim", |s| {
            s["status"] == "active"
        });
        echo(&mut connect("echo", 7000), b"works");
    });
}

#[test]
fn syncing_reads_the_pods_again() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let lists = || -> u64 {
            let requests = world.cluster.counts().requests;
            let lists = requests
                .iter()
                .filter(|(what, _)| what.starts_with("LIST "));
            lists.map(|(_, count)| count).sum()
        };
        let before = lists();
        let synced = world.act("/api/v1/services/web.demo.sim/sync");
        assert_eq!(synced, json!({"service": "web.demo.sim", "force": false}));
        eventually("the cluster is asked again", || {
            (lists() > before).then_some(())
        });
        let forced = world.act("/api/v1/services/web.demo.sim/sync?force=1");
        assert_eq!(forced["force"], true);
        refusal(
            &world.call("POST", "/api/v1/services/no.demo.sim/sync", None),
            404,
            "NOT_FOUND",
        );
    });
}

#[test]
fn a_head_request_says_how_long_the_answer_would_be() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let whole = world.call("GET", "/api/v1/services", None);
        let head = Request::new("HEAD", "/api/v1/services").send(&tcp());
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        // Times and rates differ by a few digits.
        assert!(length.abs_diff(whole.body.len()) < 100, "{length}");
    });
}
