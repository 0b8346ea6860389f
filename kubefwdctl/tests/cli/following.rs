//! `-w`: the snapshot first, then each change once.

use kubefwd_proto::control::v1::{NamespaceState, ServiceState, WatchResponse};

use crate::fake::{Fake, Script};
use crate::program::{Running, run};
use crate::samples::{changes, namespace, removals, service, snapshot};

/// One service changes, one only counts bytes, one is new, one goes; then the daemon ends.
fn lively() -> Script {
    let mut busy = service("busy", 2, ServiceState::Active);
    let before = busy.clone();
    busy.forwards[0].bytes_in += 1 << 20;
    Script {
        list: snapshot(
            vec![namespace("demo", NamespaceState::Connecting, 0)],
            vec![before, service("db", 1, ServiceState::Pending)],
        ),
        after_snapshot: vec![
            changes(
                2,
                vec![namespace("demo", NamespaceState::Watching, 2)],
                vec![service("db", 1, ServiceState::Active)],
            ),
            changes(3, vec![], vec![busy]),
            changes(4, vec![], vec![service("new", 3, ServiceState::Pending)]),
            // A kind of message that this client does not know yet.
            WatchResponse {
                revision: 5,
                update: None,
            },
            removals(6, &["demo.real"], &["db.demo.real"]),
        ],
        watch_ends: true,
        ..Script::default()
    }
}

#[tokio::test]
async fn every_noun_in_every_format() {
    let fake = Fake::start(lively());
    for noun in ["ns", "svc", "fwd"] {
        for format in ["table", "json", "yaml", "name"] {
            let outcome = run(&fake.socket(), &format!("{noun} ls -w -o {format}")).await;
            assert_eq!(outcome.code, Some(5), "the daemon ended");
            let name = format!("follow-{noun}-{format}");
            if format == "json" {
                // The objects themselves are seen in the lists; here it is the lines that count.
                let lines: String = outcome.stdout.lines().map(brief).collect();
                insta::assert_snapshot!(name, lines);
            } else if format == "yaml" {
                assert_eq!(
                    outcome.stdout.matches("---\n").count(),
                    outcome.stdout.matches("change: ").count()
                );
            } else {
                insta::assert_snapshot!(name, outcome.text());
            }
        }
    }
}

/// The change, the key and the status of a line.
fn brief(line: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    let object = value.as_object().unwrap();
    let (kind, item) = object.iter().find(|(name, _)| *name != "change").unwrap();
    let field = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    format!(
        "{} {kind} {} {}\n",
        value["change"],
        field("key"),
        field("status")
    )
}

#[tokio::test]
async fn a_status_is_printed_again_when_it_differs() {
    let fake = Fake::start(lively());
    let outcome = run(&fake.socket(), "status -w -o name").await;
    assert_eq!(
        outcome.stdout, "unknown\n",
        "five changes, but the status stays"
    );
    assert_eq!(outcome.code, Some(5));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_without_a_word() {
    let fake = Fake::start(Script {
        list: snapshot(vec![], vec![service("db", 1, ServiceState::Active)]),
        ..Script::default()
    });
    let mut following = Running::start(&fake.socket(), "svc ls -w");
    while !following.line().await.contains("db") {}
    let child = following.close_stdout();
    fake.send(changes(
        2,
        vec![],
        vec![service("db", 1, ServiceState::Pending)],
    ));
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
