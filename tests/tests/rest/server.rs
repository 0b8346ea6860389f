//! Health, information, and what is not under `/api`.

use kubefwd_tests::harness::http::Request;
use kubefwd_tests::harness::sandbox::run;
use serde_json::{Value, json};

use crate::support::{World, data, each, is_time, list, number, tcp, text};

#[test]
fn health_stands_bare_and_wrapped() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let reply = world.call("GET", "/api/health", None);
        let wrapped = data(&reply, 200);
        let bare = reply.json();
        for name in ["status", "timestamp", "version", "uptime"] {
            assert!(wrapped[name].is_string(), "{wrapped}");
            assert_eq!(bare[name], wrapped[name]);
        }
        assert_eq!(bare["status"], "healthy");
    });
}

#[test]
fn info_names_what_is_forwarded_and_since_when_the_daemon_runs() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let idle = world.get("/api/info");
        assert_eq!(idle["namespaces"], json!([]));
        world.add();
        let info = world.get("/api/info");
        assert_eq!(info["namespaces"], json!(["demo"]));
        assert_eq!(info["contexts"], json!(["sim"]));
        assert_eq!(number(&info["pid"]), u64::from(world.system.daemon_pid()));
        assert_eq!(info["apiEnabled"], true);
        assert_eq!(info["startedAt"], info["startTime"]);
        is_time(&info["startedAt"]);
        for name in ["version", "uptime", "platform"] {
            assert!(!text(&info[name]).is_empty(), "{info}");
        }
    });
}

#[test]
fn tcp_and_unix_socket_say_the_same() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        for path in [
            "/api/v1/services",
            "/api/v1/namespaces",
            "/api/v1/hostnames",
        ] {
            let over_unix = Request::new("GET", path).send(&world.system.rest_socket());
            assert_eq!(data(&over_unix, 200), world.get(path), "{path}");
        }
    });
}

#[test]
fn hostnames_lead_where_they_say() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let names = world.get("/api/v1/hostnames");
        let all = list(&names["hostnames"]);
        assert_eq!(number(&names["total"]), all.len() as u64);
        assert_eq!(names["conflicts"], json!([]));
        for entry in all {
            let found = kubefwd_tests::harness::net::resolve(text(&entry["hostname"]));
            let said: std::net::IpAddr = text(&entry["ip"]).parse().unwrap();
            assert_eq!(found, [said], "{entry}");
            assert_eq!(
                (&entry["namespace"], &entry["context"]),
                (&json!("demo"), &json!("sim"))
            );
        }
        let known = each(&names["hostnames"], "hostname");
        for name in [
            "web",
            "web.demo",
            "web.demo.svc.cluster.local",
            "web.demo.sim",
        ] {
            assert!(known.contains(&name), "{name}: {known:?}");
        }
    });
}

#[test]
fn the_description_is_complete_and_its_root_leads_to_it() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let root = world.call("GET", "/", None);
        assert!((301..=308).contains(&root.status), "{root}");
        assert_eq!(root.header("location"), Some("/docs"));
        assert!(world.call("GET", "/docs", None).body.contains("<html"));
        let description: Value = world.call("GET", "/openapi.json", None).json();
        assert!(
            text(&description["openapi"]).starts_with("3.1."),
            "{description}"
        );
        let yaml = Request::new("GET", "/openapi.yaml").send(&tcp());
        let yaml: Value = yaml_serde::from_str(&yaml.body).unwrap();
        assert_eq!(yaml, description);
        // Every operation says what every answer looks like, with an example.
        let paths = description["paths"].as_object().unwrap();
        assert!(paths.len() > 35, "{}", paths.len());
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let content = answer["content"].as_object();
                    let content =
                        content.unwrap_or_else(|| panic!("{method} {path} {status}: {answer}"));
                    for (kind, content) in content {
                        let typed = content["schema"].is_object() || kind == "text/event-stream";
                        assert!(typed, "{method} {path} {status} has no type");
                    }
                }
            }
        }
    });
}
