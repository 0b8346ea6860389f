//! Server-sent events: numbers, replay, what happens to slow readers, and that a client who left costs nothing.

use std::path::PathBuf;

use kubefwd_tests::harness::http::{Lines, Request};
use kubefwd_tests::harness::{eventually, sandbox::run};
use kubefwd_tests::{Cluster, Namespace};
use serde_json::{Value, json};

use crate::support::{World, has_fields, is_time, number, numbers, refusal, tcp, text};

/// Services whose coming and going fills the ring of events before long.
const MANY: usize = 1_000;

/// One event of a stream.
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

fn open(path: &str) -> Lines {
    let mut stream = Request::new("GET", path).open(&tcp());
    assert_eq!(stream.head.status, 200, "{}", stream.head);
    assert_eq!(
        stream.head.header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(stream.next().as_deref(), Some(": connected"));
    stream
}

/// The next event; comments are passed over.
fn next(stream: &mut Lines) -> Event {
    let (mut id, mut name, mut data) = (None, None, None);
    loop {
        let line = stream.next().expect("the stream goes on");
        match line.split_once(": ") {
            None if line.is_empty() && name.is_some() => break,
            Some(("id", value)) => id = Some(value.parse().unwrap()),
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
            _ => assert!(line.is_empty() || line.starts_with(':'), "{line:?}"),
        }
    }
    let (name, data) = (name.unwrap(), data.expect("an event has data"));
    Event { id, name, data }
}

#[test]
fn events_come_as_they_happen_with_growing_numbers() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let mut stream = open("/api/v1/events");
        let mut pods = open("/api/v1/events?type=pod.removed");
        world.add();
        let (mut last, mut seen) = (0, Vec::new());
        while !seen.contains(&"web.demo.sim".to_owned()) {
            let event = next(&mut stream);
            let id = event.id.unwrap();
            assert!(id > last, "{id} after {last}");
            last = id;
            has_fields(
                &event.data,
                &[
                    "key",
                    "namespace",
                    "context",
                    "type",
                    "timestamp",
                    "message",
                ],
                &["service", "forwardKey", "podName"],
            );
            assert_eq!(event.data["type"], event.name);
            is_time(&event.data["timestamp"]);
            if event.name == "service.added" {
                assert_eq!(event.data["namespace"], "demo");
                let service = text(&event.data["service"]);
                assert_eq!(event.data["key"], format!("{service}.demo.sim"));
                seen.push(text(&event.data["key"]).to_owned());
            }
        }
        // The filter lets through what it names, whatever came before.
        let old = world.cluster.pods("demo", "echo").remove(0);
        assert!(world.cluster.delete_pod("demo", &old).await);
        let removed = next(&mut pods);
        assert_eq!(
            (removed.name.as_str(), &removed.data["podName"]),
            ("pod.removed", &json!(old))
        );
    });
}

#[test]
fn a_reader_goes_on_after_the_last_event_it_saw() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let mut stream = open("/api/v1/events");
        world.add();
        let (first, second) = (next(&mut stream), next(&mut stream));
        drop(stream);
        let again = |id: &str| {
            Request::new("GET", "/api/v1/events")
                .header("Last-Event-ID", id)
                .open(&tcp())
        };
        let mut stream = again(&first.id.unwrap().to_string());
        let replayed = next(&mut stream);
        assert_eq!((replayed.id, &replayed.data), (second.id, &second.data));
        // A number of another life of the daemon: nothing can be said about what was missed.
        let mut stream = again("18446744073709551615");
        let resync = next(&mut stream);
        assert_eq!((resync.name.as_str(), resync.id), ("resync", None));
        let wrong = Request::new("GET", "/api/v1/events")
            .header("Last-Event-ID", "x")
            .send(&tcp());
        refusal(&wrong, 400, "BAD_REQUEST");
    });
}

#[test]
fn a_quiet_stream_says_that_it_is_alive() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let mut stream = open("/api/v1/events");
        let said: Vec<String> = stream.by_ref().take(3).collect();
        assert_eq!(said, ["", ": keepalive", ""]);
        // It is a comment: what happens next comes as ever.
        world.add();
        assert_eq!(next(&mut stream).name, "namespace.added");
    });
}

#[test]
fn who_asks_for_what_is_not_kept_any_more_is_told_to_look_again() {
    run(async |sandbox| {
        let many = Namespace::new("many").generate_services(MANY);
        let cluster = Cluster::builder().namespace(many).start().await.unwrap();
        let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
        let system = World::daemon(&sandbox, &kubeconfig, "");
        let world = World { cluster, system };
        let mut stream = open("/api/v1/events");
        let (add, many) = (
            json!({"namespace": "many", "wait": true}),
            "/api/v1/namespaces/many.sim",
        );
        world.post("/api/v1/namespaces", &add);
        let first = next(&mut stream).id.unwrap();
        drop(stream);
        let kept = number(&world.get("/api/v1/history/stats")["maxEvents"]);
        let newest = || -> u64 {
            let newest = world.get("/api/v1/history/events?count=1");
            numbers(&newest, "id")[0]
        };
        while newest() <= first + kept {
            world.delete(many);
            world.post("/api/v1/namespaces", &add);
        }
        let mut stream = Request::new("GET", "/api/v1/events")
            .header("Last-Event-ID", &first.to_string())
            .open(&tcp());
        let told = next(&mut stream);
        assert_eq!((told.name.as_str(), told.id), ("resync", None));
        // Then all that is kept, without another gap.
        let newest = newest();
        let oldest = next(&mut stream).id.unwrap();
        assert_eq!(oldest, newest + 1 - kept);
        for id in oldest + 1..=newest {
            assert_eq!(next(&mut stream).id, Some(id));
        }
    });
}

#[test]
fn a_reader_may_begin_with_the_first_event() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let newest = world.get("/api/v1/history/events?count=1");
        let newest: u64 = numbers(&newest, "id")[0];
        let mut stream = Request::new("GET", "/api/v1/events")
            .header("Last-Event-ID", "0")
            .open(&tcp());
        let mut ids = Vec::new();
        while ids.last() != Some(&newest) {
            ids.push(next(&mut stream).id.unwrap());
        }
        let whole: Vec<u64> = (1..=newest).collect();
        assert_eq!(ids, whole, "the whole ring is replayed without a gap");
    });
}

#[test]
fn log_lines_come_as_they_are_written() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let mut all = open("/api/v1/logs/stream");
        let mut of_echo = open("/api/v1/logs/stream?service=echo&level=warn");
        let _taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        world.post("/api/v1/namespaces", &json!({"namespace": "demo"}));
        let line = next(&mut of_echo);
        assert_eq!(
            (line.name.as_str(), &line.data["level"]),
            ("log", &json!("warn"))
        );
        assert_eq!(line.data["service"], "echo.demo.sim");
        assert!(
            text(&line.data["message"]).contains("7000"),
            "{}",
            line.data
        );
        let same = loop {
            let found = next(&mut all);
            if found.id == line.id {
                break found;
            }
        };
        assert_eq!(same.data, line.data);
    });
}

#[test]
fn streams_end_with_the_daemon() {
    run(async |sandbox| {
        let mut world = World::start(&sandbox).await;
        let mut stream = open("/api/v1/events");
        world.system.stop_daemon();
        assert!(stream.all(|line| line.is_empty()), "nothing more comes");
    });
}

#[test]
fn a_thousand_readers_all_hear_and_leave_nothing_behind() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let descriptors = || {
            let path = PathBuf::from(format!("/proc/{}/fd", world.system.daemon_pid()));
            std::fs::read_dir(path).unwrap().count()
        };
        let before = descriptors();
        let mut streams: Vec<Lines> = (0..1_000)
            .map(|_| open("/api/v1/events?type=service.removed"))
            .collect();
        assert!(descriptors() >= 1_000);
        world.delete("/api/v1/services/web.demo.sim");
        for stream in &mut streams {
            assert_eq!(next(stream).data["key"], "web.demo.sim");
        }
        drop(streams);
        eventually("all of them are gone", || {
            (descriptors() <= before).then_some(())
        });
    });
}
