//! Every route of REST, the description, the metrics, and what is refused.

use kubefwd_tests::harness::http::{Reply, Request};
use serde_json::{Map, Value, json};

use super::questions::{CHANGED, READ, REFUSED};
use super::recording::Recording;
use super::scene::Scene;
use crate::support::{list, tcp, text};

pub(crate) fn read(scene: &Scene, recording: &mut Recording) {
    let usual = json!(headers_of_all());
    recording.answer("rest-daemon", "the usual headers", usual);
    let mut topic = "";
    for line in READ.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("    ") {
            Some(path) => ask(recording, topic, &format!("GET {path}")),
            None => topic = line,
        }
    }
    for forward in list(&scene.get("/api/v1/forwards")["forwards"]) {
        let key = text(&forward["key"]);
        for (topic, path) in [
            ("rest-forwards", format!("forwards/{key}")),
            ("rest-http", format!("forwards/{key}/http")),
            ("rest-diagnostics", format!("diagnostics/forwards/{key}")),
        ] {
            ask(recording, topic, &format!("GET /api/v1/{path}"));
        }
    }
    description(recording);
    metrics(recording);
    streams(scene, recording);
    for question in REFUSED.trim().lines() {
        ask(recording, "rest-refusals", question);
    }
    let elsewhere = Request::new("GET", "/api/health").header("Host", "evil.example");
    record(
        recording,
        "rest-refusals",
        "GET /api/health as evil.example",
        &elsewhere.send(&tcp()),
    );
    let form = Request::new("POST", "/api/v1/namespaces").body("namespace=demo");
    record(
        recording,
        "rest-refusals",
        "POST /api/v1/namespaces without a type",
        &form.send(&tcp()),
    );
}

pub(crate) fn change(scene: &Scene, recording: &mut Recording) {
    for question in CHANGED.trim().lines() {
        ask(recording, "rest-changes", question);
    }
    scene.fails_again();
}

/// A question is a method, a path and a body where there is one.
fn ask(recording: &mut Recording, topic: &str, question: &str) {
    let mut words = question.splitn(3, ' ');
    let mut word = || words.next();
    let request = Request::new(word().unwrap(), word().unwrap());
    let request = match word() {
        None => request,
        Some(body) => request
            .header("Content-Type", "application/json")
            .body(body),
    };
    record(recording, topic, question, &request.send(&tcp()));
}

/// Status, the headers that differ from the usual ones, and the body unless it is for browsers.
fn record(recording: &mut Recording, topic: &str, question: &str, reply: &Reply) {
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let mut headers = headers(reply);
    let usual = headers_of_all();
    for name in usual.keys() {
        match headers.get(name) {
            Some(value) if *value == usual[name] => drop(headers.remove(name)),
            Some(_) => {}
            None => drop(headers.insert(name.clone(), Value::Null)),
        }
    }
    let answer = json!({"status": reply.status, "headers": headers, "body": body});
    recording.answer(topic, question, answer);
}

fn headers(reply: &Reply) -> Map<String, Value> {
    let known = |name: &str| name != "date" && name != "content-length";
    let headers = reply.headers.iter().filter(|(name, _)| known(name));
    headers
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect()
}

/// The headers of an ordinary answer.
fn headers_of_all() -> Map<String, Value> {
    headers(&Request::new("GET", "/api/health").send(&tcp()))
}

fn description(recording: &mut Recording) {
    let get = |path: &str| Request::new("GET", path).send(&tcp());
    let mut document = get("/openapi.json").json();
    let yaml: Value = yaml_serde::from_str(&get("/openapi.yaml").body).unwrap();
    assert_eq!(yaml, document, "both forms say the same");
    document["info"]["version"] = json!("<version>");
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    recording.file("openapi.json", text);
}

fn metrics(recording: &mut Recording) {
    let get = Request::new("GET", "/metrics");
    let open = get.clone().header("Accept", "application/openmetrics-text");
    for (name, request) in [("metrics.txt", get), ("openmetrics.txt", open)] {
        let body = request.send(&tcp()).body;
        recording.file(name, body.lines().map(|line| metric(line) + "\n").collect());
    }
}

/// Masks the value of a metric that varies, and the version.
fn metric(line: &str) -> String {
    const VARYING: [&str; 3] = [
        "kubefwd_uptime_seconds",
        "kubefwd_forward_first_byte_seconds_sum",
        "kubefwd_hosts_writes_total",
    ];
    if line.starts_with("kubefwd_build_info") {
        return line.replace(env!("CARGO_PKG_VERSION"), "<version>");
    }
    match line.rsplit_once(' ') {
        Some((series, _)) if VARYING.iter().any(|name| series.starts_with(name)) => {
            format!("{series} <number>")
        }
        _ => line.to_owned(),
    }
}

/// What both streams replay from their beginning.
fn streams(scene: &Scene, recording: &mut Recording) {
    let events = list(&scene.get("/api/v1/history/events?count=1000")).len();
    let lines = list(&scene.get("/api/v1/logs?count=1000")["logs"]).len();
    for (name, path, count) in [
        ("rest-events-stream", "/api/v1/events", events),
        ("rest-logs-stream", "/api/v1/logs/stream", lines),
    ] {
        let request = Request::new("GET", path).header("Last-Event-ID", "0");
        let mut stream = request.open(&tcp());
        assert_eq!(
            stream.head.header("content-type"),
            Some("text/event-stream")
        );
        let frames: Vec<Value> = (0..count).map(|_| frame(&mut stream)).collect();
        recording.json(&format!("{name}.json"), json!(frames));
    }
}

/// The fields of the next event.
fn frame(lines: &mut impl Iterator<Item = String>) -> Value {
    let mut fields = Map::new();
    for line in lines {
        match line.split_once(": ") {
            None if line.is_empty() && !fields.is_empty() => break,
            Some(("data", data)) => {
                fields.insert("data".to_owned(), serde_json::from_str(data).unwrap());
            }
            Some((name, value)) if !name.is_empty() => {
                fields.insert(name.to_owned(), json!(value));
            }
            _ => assert!(line.is_empty() || line.starts_with(':'), "{line:?}"),
        }
    }
    Value::Object(fields)
}
