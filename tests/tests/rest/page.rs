//! The published page itself: each of its curl commands, read from its text, is run by the real curl as it stands.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::{Behaviour, Cluster, Namespace, Service, ServicePort, Workload};
use serde_json::{Value, json};

use crate::support::{World, has_fields};

const PAGE: &str = include_str!("../../fixtures/rest-api-page.txt");

/// The shell commands of the page that call curl, with their continuation lines.
fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if !line.starts_with("curl ") {
            continue;
        }
        let mut command = line.to_owned();
        // A command goes on after a backslash and inside of quotes.
        while command.ends_with('\\') || command.matches('\'').count() % 2 == 1 {
            command.push('\n');
            command.push_str(
                lines
                    .next()
                    .expect("the page does not end within a command"),
            );
        }
        commands.push(command);
    }
    commands
}

/// The JSON that the page shows below a command, where it shows one.
fn shown(command: &str) -> Option<Value> {
    let after = PAGE.split_once(&format!("\n{command}\n{{"))?.1;
    let end = after.find("\n}")?;
    serde_json::from_str(&format!("{{{}", &after[..end + 2])).ok()
}

/// A cluster that has what the page speaks of.
async fn cluster() -> Cluster {
    let service = |name: &str| {
        Service::new(name)
            .selects("app", "api-gateway-pod-abc")
            .port(ServicePort::tcp(80))
    };
    let pod = || Workload::pod("api-gateway-pod-abc").listen_undeclared(80, Behaviour::Http);
    let namespace = Namespace::new("default")
        .workload(pod())
        .service(service("api-gateway"))
        .service(service("my-service"));
    let staging = Namespace::new("staging")
        .workload(pod())
        .service(service("web"));
    let builder = Cluster::builder().namespace(namespace).namespace(staging);
    builder.start().await.unwrap()
}

#[test]
fn every_command_of_the_page_works_as_it_stands() {
    run(async |sandbox| {
        let cluster = cluster().await;
        let kubeconfig = cluster.kubeconfig("admin").unwrap().context("minikube");
        let system = World::daemon(&sandbox, &kubeconfig.yaml(), "");
        let world = World { cluster, system };
        // What the page assumes to be forwarded already.
        world.post(
            "/api/v1/services",
            &json!({"namespace": "default", "serviceName": "api-gateway", "wait": true}),
        );
        let commands = commands();
        assert_eq!(commands.len(), 45, "every command of the page is found");
        for command in &commands {
            if command.contains("/stream") || command.ends_with("/api/v1/events") {
                stream(command);
                continue;
            }
            let output = shell(&format!("{command} --silent --show-error --max-time 60"));
            let answer: Value = serde_json::from_str(&output)
                .unwrap_or_else(|error| panic!("{command}: {error}: {output:?}"));
            assert_eq!(answer["success"], true, "{command}: {answer}");
            assert!(answer["error"].is_null(), "{command}: {answer}");
            if let Some(example) = shown(command) {
                let fields: Vec<&str> = example
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(String::as_str)
                    .collect();
                let maybe: Vec<&str> = answer["data"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(String::as_str)
                    .collect();
                has_fields(&answer["data"], &fields, &maybe);
                for (name, value) in example.as_object().unwrap() {
                    let same = std::mem::discriminant(value)
                        == std::mem::discriminant(&answer["data"][name]);
                    assert!(same, "{command}: {name} is of another type: {answer}");
                }
            }
        }
        let examples = commands
            .iter()
            .filter(|command| shown(command).is_some())
            .count();
        // The first of them stands there twice.
        assert_eq!(examples, 5, "health, info, metrics and status have answers");
    });
}

/// A stream begins at once and goes on until curl is told to stop.
fn stream(command: &str) {
    let line = format!("exec {command} --silent --no-buffer");
    let mut curl = Command::new("sh");
    let curl = curl.args(["-c", &line]).stdout(Stdio::piped());
    let mut curl = curl.spawn().unwrap();
    let mut first = String::new();
    let mut output = BufReader::new(curl.stdout.take().unwrap());
    output.read_line(&mut first).unwrap();
    assert_eq!(first, ": connected\n", "{command}");
    assert!(curl.try_wait().unwrap().is_none(), "{command} goes on");
    curl.kill().unwrap();
    curl.wait().unwrap();
}

fn shell(line: &str) -> String {
    let mut command = Command::new("sh");
    let output = command.args(["-c", line]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.is_empty(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
