//! `/api/v1/diagnostics`, `/status`, `/analyze`: each issue says what is wrong, since when, and what mends it.

use std::io::{Read as _, Write as _};

use kubefwd_tests::harness::programs::worker_of_another_version;
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{Options, eventually, net};
use kubefwd_tests::{NetworkFault, RequestEffect, RequestMatch, Rule, Scope};
use serde_json::{Value, json};

use crate::support::{World, each, has_fields, is_time, list, number, refusal, tcp, text};

#[test]
fn what_works_has_nothing_to_complain_about() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.post(
            "/api/v1/namespaces",
            &json!({"namespace": "demo", "exclude": ["dns"], "wait": true}),
        );
        let status = world.get("/api/v1/status");
        has_fields(
            &status,
            &[
                "status",
                "message",
                "totalServices",
                "activeServices",
                "errorCount",
                "uptime",
            ],
            &[
                "totalForwards",
                "activeForwards",
                "totalBytesIn",
                "totalBytesOut",
            ],
        );
        assert_eq!(status["status"], "healthy");
        assert_eq!(status["message"], "All services forwarding normally");
        assert_eq!(
            (
                number(&status["totalServices"]),
                number(&status["activeServices"])
            ),
            (4, 4)
        );
        let overview = world.get("/api/v1/diagnostics");
        has_fields(
            &overview,
            &[
                "status",
                "timestamp",
                "uptime",
                "version",
                "services",
                "network",
                "errors",
                "recommendations",
            ],
            &[],
        );
        let services = json!({
            "total": 4, "active": 4, "error": 0, "partial": 0, "pending": 0, "unsupported": 0,
        });
        assert_eq!(overview["services"], services);
        assert_eq!(overview["errors"], json!([]));
        let analysis = world.get("/api/v1/analyze");
        has_fields(
            &analysis,
            &[
                "status",
                "summary",
                "issues",
                "recommendations",
                "suggestedActions",
                "stats",
            ],
            &[],
        );
        assert_eq!(analysis["suggestedActions"], json!([]));
        assert!(
            list(&analysis["issues"])
                .iter()
                .all(|issue| issue["severity"] == "low"),
            "{analysis}"
        );
    });
}

#[test]
fn the_network_is_what_is_listened_on_and_named() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let network = world.get("/api/v1/diagnostics/network");
        assert_eq!(network["loopbackInterface"], "lo");
        assert_eq!(network["ipRange"], "127.0.0.0/8");
        // web, multi, echo, the headless service and each of its two pods.
        assert_eq!(
            (
                number(&network["ipsAllocated"]),
                number(&network["portsInUse"])
            ),
            (6, 7)
        );
        assert!(
            list(&network["hostnames"]).contains(&json!("peers-0.peers")),
            "{network}"
        );
        assert_eq!(network["portConflicts"], json!([]));
        let file = &network["hostsFile"];
        assert_eq!(file["path"], "/etc/hosts");
        assert!(number(&file["entries"]) >= 5, "{file}");
        is_time(&file["lastWritten"]);
        assert_eq!(file["foreignConflicts"], json!([]));
    });
}

#[test]
fn services_and_forwards_in_depth() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let _page = net::get("web", 80);
        let service = world.until(
            "it was used",
            "/api/v1/diagnostics/services/web.demo.sim",
            |s| number(&s["forwards"][0]["bytesIn"]) > 0,
        );
        for name in [
            "key",
            "serviceName",
            "namespace",
            "context",
            "status",
            "headless",
            "activeCount",
            "errorCount",
        ] {
            assert!(!service[name].is_null(), "{name}: {service}");
        }
        let sync = &service["syncState"];
        assert_eq!(
            (number(&sync["podCount"]), number(&sync["readyPods"])),
            (2, 2)
        );
        let reconnect = &service["reconnectState"];
        assert_eq!(reconnect["autoReconnectEnabled"], true);
        assert_eq!(reconnect["isReconnecting"], false);
        assert_eq!(service["errorHistory"], json!([]));
        let forward = world.get("/api/v1/diagnostics/forwards/web.demo.sim");
        assert_eq!(forward["key"], service["forwards"][0]["key"]);
        assert_eq!(forward["connection"]["state"], "connected");
        assert_eq!(forward["connection"]["protocol"], "spdy");
        is_time(&forward["connectedAt"]);
        is_time(&forward["lastActive"]);
        for what in ["services", "forwards"] {
            let none = world.call(
                "GET",
                &format!("/api/v1/diagnostics/{what}/no.demo.sim"),
                None,
            );
            refusal(&none, 404, "NOT_FOUND");
        }
    });
}

/// The issue whose component this is: with its time, its words and what mends it.
fn issue(world: &World, component: &str, words: &[&str]) -> Value {
    let analysis = world.until(
        &format!("{component} has an issue that says {words:?}"),
        "/api/v1/analyze",
        |analysis| {
            list(&analysis["issues"])
                .iter()
                .any(|issue| says(issue, component, words))
        },
    );
    let issues = list(&analysis["issues"]);
    let found = issues
        .iter()
        .find(|issue| says(issue, component, words))
        .unwrap();
    is_time(&found["since"]);
    assert!(found["hint"].is_string(), "nothing to do about it: {found}");
    found.clone()
}

fn says(issue: &Value, component: &str, words: &[&str]) -> bool {
    let message = text(&issue["message"]);
    issue["component"] == component && words.iter().all(|word| message.contains(word))
}

#[test]
fn a_port_that_is_taken_names_who_has_it() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let _taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        world.post("/api/v1/namespaces", &json!({"namespace": "demo"}));
        let own = std::process::id().to_string();
        world.until("it is recorded", "/api/v1/diagnostics/errors", |errors| {
            !list(errors).is_empty()
        });
        let found = issue(&world, "echo.demo.sim", &["7000", &own]);
        assert_eq!(
            (&found["severity"], &found["serviceKey"]),
            (&json!("high"), &json!("echo.demo.sim"))
        );
        let analysis = world.get("/api/v1/analyze");
        let action = &analysis["suggestedActions"][0];
        assert_eq!(
            action["endpoint"],
            "/api/v1/services/echo.demo.sim/reconnect"
        );
        assert_eq!(action["method"], "POST");
        let network = world.get("/api/v1/diagnostics/network");
        assert!(
            text(&network["portConflicts"][0]["message"]).contains(&own),
            "{network}"
        );
        assert_eq!(world.get("/api/v1/status")["status"], "degraded");
    });
}

#[test]
fn a_service_without_a_ready_pod_says_since_when() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        for pod in world.cluster.pods("demo", "echo") {
            world.cluster.set_ready("demo", &pod, false);
        }
        let found = issue(&world, "echo.demo.sim", &["ready"]);
        assert_eq!(found["severity"], "medium");
        assert!(text(&found["hint"]).contains("kubectl"), "{found}");
    });
}

#[test]
fn a_tunnel_that_carries_nothing_any_more_is_named_until_another_does() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        net::echo_pattern("echo", 7000, 1_000);
        // All five workers of every connection to the pod are stuck: nothing that is sent arrives, and nothing is said.
        let wedged = NetworkFault {
            stalled_partitions: 0b1_1111,
            ..NetworkFault::default()
        };
        let pods = Scope::all().namespace("demo").pod("echo*");
        world.cluster.set_network_fault(pods, wedged);
        let mut client = net::connect("echo", 7000);
        client.write_all(b"is anybody there?").unwrap();
        let end = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
        let pod = world.cluster.pods("demo", "echo").remove(0);
        let found = issue(&world, "echo.demo.sim", &[&pod]);
        assert_eq!(found["severity"], "high", "{found}");
        let errors = world.get("/api/v1/diagnostics/errors");
        let error = &list(&errors)[0];
        assert_eq!(error["component"], "connection", "{error}");
        assert_eq!(error["podName"], json!(pod), "{error}");
        let status = world.get("/api/v1/status");
        assert!(text(&status["message"]).contains("echo"), "{status}");

        world.cluster.clear_network_faults();
        net::echo_pattern("echo", 7000, 1_000);
        world.until("it is over", "/api/v1/diagnostics/errors", |errors| {
            list(errors).is_empty()
        });
        let past = world.get("/api/v1/history/errors");
        assert_eq!(past[0]["resolved"], true, "{past}");
        world.until(
            "the new tunnel is told of",
            "/api/v1/services/echo.demo.sim/history/reconnections",
            |all| list(all).iter().any(|one| one["trigger"] == "auto"),
        );
    });
}

#[test]
fn programs_of_different_versions_are_called_so() {
    run(async |sandbox| {
        let options = Options {
            flags: vec![
                "--worker".to_owned(),
                worker_of_another_version(sandbox.dir()),
            ],
            ..Options::default()
        };
        let world = World::bare(&sandbox, options).await;
        eventually("kubefwd.internal has its name", || tcp().connect().ok());
        let add = json!({"namespace": "demo"});
        let error = refusal(
            &world.call("POST", "/api/v1/namespaces", Some(&add)),
            503,
            "UNAVAILABLE",
        );
        assert!(text(&error["message"]).contains("protocol 99"), "{error}");
        // It is wanted for as long as somebody asks; the analysis says why there is none.
        let found = eventually("the analysis names it", || {
            let _again = world.call("POST", "/api/v1/namespaces", Some(&add));
            let analysis = world.get("/api/v1/analyze");
            let issues = list(&analysis["issues"]);
            let found = issues
                .iter()
                .find(|issue| says(issue, text(&issue["component"]), &["protocol 99"]));
            found.cloned()
        });
        assert!(
            text(&found["message"]).contains("install both from the same package"),
            "{found}"
        );
        is_time(&found["since"]);
        assert!(found["hint"].is_string(), "{found}");
    });
}

#[test]
fn a_right_that_is_missing_is_named_with_its_verb() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        world
            .cluster
            .deny(Rule::new(["list", "watch"], ["services"]));
        world.cluster.cut_watches();
        let found = issue(&world, "demo.sim", &["services"]);
        assert!(
            text(&found["hint"]).contains("kubectl auth can-i"),
            "{found}"
        );
        assert_eq!(
            world.get("/api/v1/history/errors")[0]["errorType"],
            "forbidden"
        );
    });
}

#[test]
fn credentials_that_are_refused_say_what_to_run() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        world
            .cluster
            .fail_requests(RequestMatch::any(), RequestEffect::Answer(401), None);
        world.cluster.cut_connections();
        let found = issue(&world, "demo.sim", &["refused", "401"]);
        assert_eq!(found["errorType"], "credentials");
    });
}

#[test]
fn a_cluster_that_is_away_is_said_and_comes_back() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        world.cluster.stop_api_server().await;
        issue(&world, "demo.sim", &[]);
        let current = world.get("/api/v1/diagnostics/errors");
        assert_eq!(current[0]["namespaceKey"], "demo.sim");
        assert_eq!(current[0]["recoverable"], true);
        world.cluster.start_api_server().await.unwrap();
        world.until("all is well again", "/api/v1/status", |status| {
            status["status"] == "healthy"
        });
        assert_eq!(world.get("/api/v1/diagnostics/errors"), json!([]));
    });
}

#[test]
fn a_name_that_the_hosts_file_has_is_left_and_said() {
    run(async |sandbox| {
        let mut hosts = std::fs::OpenOptions::new()
            .append(true)
            .open("/etc/hosts")
            .unwrap();
        writeln!(hosts, "10.1.2.3 web").unwrap();
        drop(hosts);
        let world = World::start(&sandbox).await;
        world.add();
        let found = issue(&world, "web.demo.sim", &["name web", "hosts"]);
        assert_eq!(found["severity"], "low");
        let file = world.get("/api/v1/diagnostics/network")["hostsFile"].clone();
        assert_eq!(file["foreignConflicts"], json!(["web"]));
        let conflicts = world.get("/api/v1/hostnames")["conflicts"].clone();
        assert_eq!(each(&conflicts, "hostname"), ["web"]);
        assert_eq!(
            net::resolve("web"),
            ["10.1.2.3".parse::<std::net::IpAddr>().unwrap()]
        );
    });
}

#[test]
fn a_name_that_another_service_has_says_which() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        world.post(
            "/api/v1/namespaces",
            &json!({"namespace": "other", "wait": true}),
        );
        issue(&world, "web.other.sim", &["name web", "web.demo.sim"]);
    });
}

#[test]
fn a_hosts_file_that_was_changed_is_put_back_and_counted() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let file = std::fs::read_to_string("/etc/hosts").unwrap();
        let tampered: String = file
            .lines()
            .filter(|line| !line.contains("web.demo.svc"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_ne!(tampered, file);
        std::fs::write("/etc/hosts", tampered).unwrap();
        let network = world.until("it was noticed", "/api/v1/diagnostics/network", |network| {
            number(&network["hostsFile"]["tampered"]) > 0
        });
        assert!(network["hostsFile"]["error"].is_null(), "{network}");
        issue(&world, "hosts file", &["changed"]);
        eventually("the names are back", || {
            (!net::resolve("web.demo.svc").is_empty()).then_some(())
        });
    });
}
