//! Programs that know better judge the interface: schemathesis its description and every answer, promtool `/metrics`.

use std::path::Path;
use std::process::Command;

use kubefwd_tests::harness::http::Request;
use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::run;
use serde_json::Value;

use crate::support::{World, list, number, skip, tcp, text};

/// The path of schemathesis, as the tool's script left it; installing is for `scripts/setup`, which has a network.
fn schemathesis() -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/schemathesis.sh");
    let output = Command::new(script).output().unwrap();
    let path = String::from_utf8(output.stdout).unwrap();
    Some(path.trim().to_owned()).filter(|path| !path.is_empty())
}

#[test]
fn schemathesis_finds_every_answer_as_described() {
    run(async |sandbox| {
        let Some(program) = schemathesis() else {
            return skip(
                "schemathesis",
                "it could not be installed: see scripts/setup",
            );
        };
        let world = World::start(&sandbox).await;
        world.add();
        let _page = kubefwd_tests::harness::net::get("web", 80);
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/schemathesis.toml");
        let output = Command::new(program)
            .args([
                "--config-file",
                config,
                "run",
                "http://kubefwd.internal/openapi.yaml",
            ])
            .current_dir(sandbox.dir())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{failed}");
        let cases = said
            .lines()
            .find_map(|line| line.trim().split_once(" generated, "));
        let (generated, passed) = cases.unwrap_or_else(|| panic!("no test cases: {said}"));
        assert_eq!(passed, format!("{generated} passed"), "{said}");
        // What it sent neither broke the daemon nor its forwards.
        assert_eq!(world.call("GET", "/api/health", None).status, 200);
        assert!(
            !world
                .system
                .log()
                .contains("an internal error of the REST API"),
            "{}",
            world.system.log()
        );
    });
}

#[test]
fn promtool_reads_the_metrics() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        echo(&mut connect("echo", 7000), &[1; 5_000]);
        world.until("it is counted", "/api/v1/metrics", |sums| {
            number(&sums["totalBytesIn"]) == 5_000
        });
        let metrics = world.call("GET", "/metrics", None);
        let kind = metrics.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let open = Request::new("GET", "/metrics")
            .header("Accept", "application/openmetrics-text;version=1.0.0");
        let open = open.send(&tcp());
        assert!(
            open.header("content-type")
                .unwrap()
                .starts_with("application/openmetrics-text")
        );
        assert!(open.body.ends_with("# EOF\n"), "{open}");
        let received = "kubefwd_service_received_bytes_total{context=\"sim\",namespace=\"demo\",service=\"echo\"} 5000";
        assert!(
            metrics.body.lines().any(|line| line == received),
            "{}",
            metrics.body
        );
        let Ok(version) = Command::new("promtool").arg("--version").output() else {
            return skip(
                "promtool",
                "it is not installed (Debian package prometheus)",
            );
        };
        assert!(version.status.success());
        let file = sandbox.path("metrics");
        std::fs::write(&file, &metrics.body).unwrap();
        let input = std::fs::File::open(&file).unwrap();
        let checked = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(input)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{said}\n{}", metrics.body);
    });
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let metrics = world.call("GET", "/metrics", None).body;
        let known: Vec<&str> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../packaging/grafana/kubefwd.json"
        );
        let dashboard: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let mut asked = 0;
        for panel in list(&dashboard["panels"]) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = text(&target["expr"]);
                let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                for word in words.filter(|word| word.starts_with("kubefwd_")) {
                    let ends = ["", "_total", "_info", "_sum", "_count", "_bucket"];
                    let mut names = ends.iter().filter_map(|end| word.strip_suffix(end));
                    assert!(
                        names.any(|name| known.contains(&name)),
                        "{word} of {query:?}: {known:?}"
                    );
                    asked += 1;
                }
            }
        }
        assert!(asked > 5, "{asked}");
    });
}
