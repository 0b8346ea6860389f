//! Questions: what is printed in each format, and what the daemon is asked.

use kubefwd_proto::control::v1::*;

use crate::fake::{Fake, Script};
use crate::program::run;
use crate::samples::{forbidden, namespace, service, snapshot, time, unsupported};

fn forwarding() -> Script {
    let mut mapped = service("api", 2, ServiceState::Pending);
    mapped.forwards[0].local_port = 8080;
    mapped.forwards[0].pod = String::new();
    mapped.skipped_ports = vec!["53/UDP: only TCP can be forwarded".to_owned()];
    mapped.refused_names = vec![RefusedName {
        name: "api".to_owned(),
        reason: "other.real was first".to_owned(),
        ..RefusedName::default()
    }];
    Script {
        list: snapshot(
            vec![
                namespace("demo", NamespaceState::Watching, 3),
                forbidden("staging"),
            ],
            vec![
                service("db", 1, ServiceState::Active),
                mapped,
                unsupported("dns"),
            ],
        ),
        ..Script::default()
    }
}

#[tokio::test]
async fn lists_in_every_format() {
    let fake = Fake::start(forwarding());
    for noun in ["ns", "svc", "fwd"] {
        for format in ["table", "wide", "json", "yaml", "name"] {
            let outcome = run(&fake.socket(), &format!("{noun} ls -o {format}")).await;
            assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
            insta::assert_snapshot!(format!("list-{noun}-{format}"), outcome.stdout);
        }
    }
}

#[tokio::test]
async fn states_are_coloured_on_request() {
    let fake = Fake::start(forwarding());
    let outcome = run(&fake.socket(), "svc ls --color always").await;
    assert!(
        outcome.stdout.contains("\x1b[32mactive\x1b[0m"),
        "{}",
        outcome.stdout
    );
}

#[tokio::test]
async fn an_empty_list_is_empty_for_programs() {
    let fake = Fake::start(Script::default());
    let table = run(&fake.socket(), "svc ls").await;
    assert_eq!((table.stdout.as_str(), table.stderr.as_str()), ("", ""));
    let json = run(&fake.socket(), "svc ls -o json").await;
    assert_eq!(json.stdout, "{\n  \"services\": []\n}\n");
    let person = run(&fake.socket(), "svc ls -v").await;
    assert!(
        person.stderr.contains("kubefwdctl ns add"),
        "{}",
        person.stderr
    );
}

#[tokio::test]
async fn filters_are_passed_on() {
    let fake = Fake::start(Script::default());
    run(&fake.socket(), "svc ls -n demo --context real -A").await;
    let expected = Filter {
        namespace: "demo".to_owned(),
        context: "real".to_owned(),
        service: String::new(),
        all_users: true,
    };
    assert_eq!(fake.asked().filters, [expected]);
}

#[tokio::test]
async fn contexts() {
    let context = |name: &str, namespace: &str| Context {
        name: name.to_owned(),
        cluster: format!("{name}-cluster"),
        user: "alice".to_owned(),
        namespace: namespace.to_owned(),
        server: "https://10.0.0.1:6443".to_owned(),
    };
    let fake = Fake::start(Script {
        contexts: ListContextsResponse {
            current_context: "real".to_owned(),
            contexts: vec![context("real", "demo"), context("stage", "")],
        },
        ..Script::default()
    });
    let socket = fake.socket();
    insta::assert_snapshot!(
        "contexts",
        run(&socket, "context ls --kubeconfig /a").await.stdout
    );
    insta::assert_snapshot!(
        "contexts-json",
        run(&socket, "context ls -o json").await.stdout
    );
    let access = fake.asked().contexts[0].access.clone().unwrap();
    assert_eq!(access.kubeconfig, ["/a"]);
}

#[tokio::test]
async fn the_status_decides_the_exit_code() {
    for (health, code) in [
        (Health::Healthy, 0),
        (Health::Degraded, 3),
        (Health::Unhealthy, 3),
        (Health::Unspecified, 3),
    ] {
        let fake = Fake::start(Script {
            status: GetStatusResponse {
                health: health.into(),
                version: "0.1.0".to_owned(),
                ..GetStatusResponse::default()
            },
            ..Script::default()
        });
        let outcome = run(&fake.socket(), "status -o json").await;
        assert_eq!(outcome.code, Some(code), "{health:?}");
        assert_eq!(outcome.stderr, "", "the data says it");
    }
}

#[tokio::test]
async fn status_as_json() {
    let fake = Fake::start(Script {
        status: GetStatusResponse {
            health: Health::Healthy.into(),
            version: "0.1.0".to_owned(),
            pid: 42,
            started_at: time(0),
            workers: vec![Worker {
                uid: 1000,
                user: "alice".to_owned(),
                state: WorkerState::Backoff.into(),
                restarts: 2,
                error: "exit status 1".to_owned(),
                ..Worker::default()
            }],
            ..GetStatusResponse::default()
        },
        ..Script::default()
    });
    insta::assert_snapshot!(
        "status-json",
        run(&fake.socket(), "status -o json").await.stdout
    );
}

fn event(id: u64, seconds: i64, kind: &str, message: &str) -> EventsResponse {
    EventsResponse {
        gap: false,
        event: Some(Event {
            id,
            time: time(seconds),
            r#type: kind.to_owned(),
            service_key: "db.demo.real".to_owned(),
            message: message.to_owned(),
            ..Event::default()
        }),
    }
}

#[tokio::test]
async fn events() {
    let fake = Fake::start(Script {
        events: vec![
            event(1, 0, "service.added", "127.1.27.1"),
            EventsResponse {
                gap: true,
                ..event(9, 60, "service.error", "no pod is ready")
            },
        ],
        ..Script::default()
    });
    let socket = fake.socket();
    insta::assert_snapshot!("events", run(&socket, "events").await.text());
    insta::assert_snapshot!(
        "events-json",
        run(&socket, "events -n 7 -o json").await.stdout
    );
    let followed = run(&socket, "events -w -o json").await;
    insta::assert_snapshot!("events-followed", followed.text());
    let limits: Vec<u32> = fake
        .asked()
        .events
        .iter()
        .map(|request| request.limit)
        .collect();
    assert_eq!(limits, [50, 7, 50]);
}

#[tokio::test]
async fn events_of_the_last_while() {
    let now = std::time::SystemTime::now();
    let at = |ago: u64, kind: &str| {
        let mut response = event(ago, 0, kind, "");
        if let Some(event) = &mut response.event {
            let time = now - std::time::Duration::from_secs(ago);
            event.time = Some(kubefwd_proto::convert::timestamp(time));
        }
        response
    };
    let fake = Fake::start(Script {
        events: vec![at(7200, "old"), at(60, "recent")],
        ..Script::default()
    });
    let outcome = run(&fake.socket(), "events --since 1h").await;
    assert!(outcome.stdout.contains("recent") && !outcome.stdout.contains("old"));
    assert_eq!(fake.asked().events[0].limit, 0, "all of them are needed");
}

#[tokio::test]
async fn names_and_reservations() {
    let entry = |address: &str, name: &str, key: &str| HostsEntry {
        address: address.to_owned(),
        name: name.to_owned(),
        service_key: key.to_owned(),
        uid: 1000,
    };
    let fake = Fake::start(Script {
        hosts: GetHostsResponse {
            file: Some(HostsFile {
                path: "/etc/hosts".to_owned(),
                error: "read-only file system".to_owned(),
                ..HostsFile::default()
            }),
            entries: vec![
                entry("127.1.27.1", "db.demo", "db.demo.real"),
                entry("127.2.27.1", "kubefwd.internal", ""),
            ],
        },
        reservations: vec![Reservation {
            key: "db.demo.real".to_owned(),
            address: "127.9.9.9".to_owned(),
            uid: 1000,
            user: "alice".to_owned(),
            configured: false,
        }],
        ..Script::default()
    });
    let socket = fake.socket();
    insta::assert_snapshot!("hosts", run(&socket, "hosts").await.text());
    insta::assert_snapshot!("hosts-json", run(&socket, "hosts -o json").await.stdout);
    insta::assert_snapshot!("reservations", run(&socket, "reserve ls").await.text());
    insta::assert_snapshot!(
        "reservations-yaml",
        run(&socket, "reserve ls -o yaml").await.text()
    );
}

#[tokio::test]
async fn versions() {
    let fake = Fake::start(Script::default());
    insta::assert_snapshot!("version", run(&fake.socket(), "version").await.text());
    insta::assert_snapshot!(
        "version-json",
        run(&fake.socket(), "version -o json").await.text()
    );
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let client = run(&socket, "version --client").await;
    assert_eq!((client.code, client.stderr.as_str()), (Some(0), ""));
    let alone = run(&socket, "version").await;
    assert_eq!(alone.code, Some(5));
    assert!(alone.stdout.starts_with("kubefwdctl"), "{}", alone.stdout);
}

#[tokio::test]
async fn the_doctor_adds_the_daemons_findings() {
    let finding = |severity: Severity| Finding {
        severity: severity.into(),
        subject: "hosts file".to_owned(),
        message: "a foreign line holds the name db".to_owned(),
        hint: "remove the line: sudoedit /etc/hosts".to_owned(),
        since: None,
    };
    let fake = Fake::start(Script {
        findings: vec![finding(Severity::Error)],
        ..Script::default()
    });
    let outcome = run(&fake.socket(), "doctor").await;
    assert_eq!(outcome.code, Some(3));
    for expected in [
        "kubefwdd 9.8.7 answers on SOCKET",
        "no kubeconfig: the default names no existing file (/nonexistent/home/.kube/config)",
        "a foreign line holds the name db\n  hint: remove the line: sudoedit /etc/hosts\n",
    ] {
        assert!(
            outcome.stdout.contains(expected),
            "{expected}: {}",
            outcome.stdout
        );
    }
}

#[tokio::test]
async fn the_doctor_works_without_a_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let outcome = run(&socket, "doctor -o json").await;
    assert_eq!(outcome.code, Some(3));
    let message = "the kubefwd daemon is not running: socket SOCKET does not exist";
    assert!(outcome.stdout.contains(message), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("\"subject\": \"kubeconfig\""),
        "{}",
        outcome.stdout
    );
}
