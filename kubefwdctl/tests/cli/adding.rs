//! Changes: what the daemon is asked, `--wait` and `--attach`.

use kubefwd_model::{Failure, Reason};
use kubefwd_proto::common::v1::{Balance, PortMapping, Selection};
use kubefwd_proto::control::v1::{NamespaceState, Options, ServiceState};
use kubefwd_proto::convert::failure::to_status;
use nix::sys::signal::Signal;

use crate::fake::{Fake, Script};
use crate::program::{Running, command, finish, run};
use crate::samples::{changes, forbidden, namespace, removals, service, snapshot, unsupported};

/// Two services come up one after the other, and a third cannot.
fn coming_up() -> Script {
    let watching = || namespace("demo", NamespaceState::Watching, 3);
    Script {
        on_add: vec![
            changes(
                2,
                vec![namespace("demo", NamespaceState::Connecting, 0)],
                vec![],
            ),
            changes(
                3,
                vec![watching()],
                vec![service("db", 1, ServiceState::Pending)],
            ),
            changes(
                4,
                vec![],
                vec![
                    service("a-long-name", 2, ServiceState::Active),
                    unsupported("dns"),
                ],
            ),
            changes(5, vec![], vec![service("db", 1, ServiceState::Active)]),
        ],
        ..Script::default()
    }
}

#[tokio::test]
async fn everything_on_the_command_line_reaches_the_daemon() {
    let fake = Fake::start(Script::default());
    let mut add = command(
        &fake.socket(),
        "ns add demo staging --context real --kubeconfig sub/a --kubeconfig /b -l app=x -f metadata.name=db \
         --include a* --include b* --exclude c* --port-map 80:8080 --domain example.test \
         --balance least-connections --defer",
    );
    add.current_dir("/")
        .env("KUBECONFIG", "x:/y")
        .env("AWS_PROFILE", "dev")
        .env("LD_LIBRARY_PATH", "/evil")
        .env("SECRET", "x");
    let outcome = finish(&fake.socket(), add).await;
    assert_eq!(
        outcome.text(),
        "exit 0\n--- stdout\ndemo.real added\nstaging.real added\n"
    );

    let asked = fake.asked();
    let names: Vec<_> = asked
        .namespaces
        .iter()
        .map(|request| request.namespace.as_str())
        .collect();
    assert_eq!(names, ["demo", "staging"]);
    for request in &asked.namespaces {
        let access = request.access.clone().unwrap();
        assert_eq!(access.context, "real");
        assert_eq!(access.kubeconfig, ["/sub/a", "/b"]);
        assert_eq!(access.environment["KUBECONFIG"], "/x:/y");
        assert_eq!(access.environment["AWS_PROFILE"], "dev");
        for foreign in ["LD_LIBRARY_PATH", "SECRET", "KUBEFWD_SOCKET"] {
            assert!(!access.environment.contains_key(foreign), "{foreign}");
        }
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let selection = Selection {
            label_selector: "app=x".to_owned(),
            field_selector: "metadata.name=db".to_owned(),
            include: text(&["a*", "b*"]),
            exclude: text(&["c*"]),
        };
        assert_eq!(request.selection, Some(selection));
        let options = Options {
            port_mappings: vec![PortMapping { from: 80, to: 8080 }],
            domain: "example.test".to_owned(),
            balance: Balance::LeastConnections.into(),
            defer: true,
        };
        assert_eq!(request.options, Some(options));
    }
}

#[tokio::test]
async fn single_services_reach_the_daemon() {
    let fake = Fake::start(Script::default());
    run(
        &fake.socket(),
        "svc add demo/db:5432,80 --local-ip 127.9.9.9",
    )
    .await;
    let asked = fake.asked();
    let [request] = asked.services.as_slice() else {
        panic!("{} requests", asked.services.len());
    };
    assert_eq!(
        (request.namespace.as_str(), request.service.as_str()),
        ("demo", "db")
    );
    assert_eq!(request.ports, [5432, 80]);
    assert_eq!(request.local_ip, "127.9.9.9");
}

#[tokio::test]
async fn one_refusal_does_not_hold_up_the_others() {
    let failure = Failure::new(
        Reason::NamespaceNotFound,
        "the cluster has no namespace \"nope\"",
    );
    let fake = Fake::start(Script {
        refused_namespace: Some(("nope", to_status(failure))),
        ..Script::default()
    });
    let outcome = run(&fake.socket(), "ns add nope demo").await;
    insta::assert_snapshot!("add-partly", outcome.text());
    let structured = run(&fake.socket(), "ns add nope demo -o json").await;
    insta::assert_snapshot!("add-partly-json", structured.text());
}

#[tokio::test]
async fn wait_prints_each_service_as_it_comes_up() {
    let fake = Fake::start(coming_up());
    insta::assert_snapshot!(
        "wait",
        run(&fake.socket(), "ns add demo --wait").await.text()
    );
}

#[tokio::test]
async fn a_quiet_wait_only_ends() {
    let fake = Fake::start(coming_up());
    let outcome = run(&fake.socket(), "-q ns add demo --wait").await;
    assert_eq!(outcome.text(), "exit 0\n");
}

#[tokio::test]
async fn wait_ends_in_one_value_for_programs() {
    let fake = Fake::start(coming_up());
    let outcome = run(&fake.socket(), "ns add demo --wait -o json").await;
    insta::assert_snapshot!("wait-json", outcome.text());
}

#[tokio::test]
async fn wait_for_a_single_service() {
    let fake = Fake::start(coming_up());
    insta::assert_snapshot!(
        "wait-service",
        run(&fake.socket(), "svc add demo/db --wait").await.text()
    );
}

#[tokio::test]
async fn wait_that_runs_out_of_time_says_what_is_missing() {
    let mut script = coming_up();
    script.on_add.pop();
    let fake = Fake::start(script);
    insta::assert_snapshot!(
        "wait-timeout",
        run(&fake.socket(), "ns add demo --wait=1s").await.text()
    );
}

#[tokio::test]
async fn wait_for_a_namespace_that_cannot_be_watched() {
    let fake = Fake::start(Script {
        on_add: vec![changes(2, vec![forbidden("staging")], vec![])],
        ..Script::default()
    });
    let outcome = run(&fake.socket(), "ns add staging --wait=1s").await;
    insta::assert_snapshot!("wait-forbidden", outcome.text());
}

#[tokio::test]
async fn a_wait_loses_the_daemon() {
    let fake = Fake::start(Script {
        watch_ends: true,
        ..Script::default()
    });
    insta::assert_snapshot!(
        "wait-lost",
        run(&fake.socket(), "ns add demo --wait").await.text()
    );
}

#[tokio::test]
async fn an_interrupted_wait_leaves_the_forwards() {
    let mut script = coming_up();
    script.on_add.pop();
    let fake = Fake::start(script);
    let mut waiting = Running::start(&fake.socket(), "-v ns add demo --wait=10m");
    // Once the first service has been printed, the signal is waited for.
    while !waiting.line().await.contains("a-long-name") {}
    waiting.signal(Signal::SIGINT);
    let outcome = waiting.end().await;
    assert_eq!(outcome.code, Some(130));
    assert_eq!(outcome.stderr, "interrupted; still forwarding demo.real\n");
}

fn leased() -> Script {
    Script {
        on_detach: vec![removals(
            9,
            &["demo.real"],
            &["db.demo.real", "a-long-name.demo.real", "dns.demo.real"],
        )],
        ..coming_up()
    }
}

#[tokio::test]
async fn attached_forwards_end_with_the_command() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let fake = Fake::start(leased());
        let mut attached = Running::start(&fake.socket(), "-v ns add demo --attach");
        let mut lines = Vec::new();
        while !lines
            .last()
            .is_some_and(|line: &String| line.contains("2 services active"))
        {
            let line = attached.line().await;
            assert!(!line.is_empty(), "ended early: {lines:?}");
            lines.push(line);
        }
        insta::assert_snapshot!("attach", lines.concat());
        // A later change is reported as well.
        fake.send(changes(
            6,
            vec![],
            vec![service("db", 1, ServiceState::Pending)],
        ));
        let line = attached.line().await;
        assert!(
            line.contains("pending") && line.contains("no pod is ready"),
            "{line}"
        );

        attached.signal(signal);
        let outcome = attached.end().await;
        assert_eq!(outcome.code, Some(130));
        assert_eq!(
            outcome.stderr,
            "forwarding until interrupted (Ctrl-C)\nstopped forwarding demo.real\n"
        );
        // It stayed until the daemon had seen the lease end.
        assert_eq!(fake.asked().ended_leases, 1);
    }
}

#[tokio::test]
async fn what_was_there_before_an_attach_is_not_waited_for() {
    let fake = Fake::start(Script {
        list: snapshot(vec![namespace("demo", NamespaceState::Watching, 0)], vec![]),
        ..Script::default()
    });
    let mut attached = Running::start(&fake.socket(), "-v ns add demo --attach");
    assert_eq!(attached.line().await, "0 services active\n");
    attached.signal(Signal::SIGINT);
    assert_eq!(attached.end().await.code, Some(130));
}

#[tokio::test]
async fn attached_forwards_that_do_not_come_up_in_time() {
    let mut script = leased();
    script.on_add.pop();
    let fake = Fake::start(script);
    let outcome = run(&fake.socket(), "ns add demo --attach --wait=1s").await;
    insta::assert_snapshot!("attach-timeout", outcome.text());
    assert_eq!(fake.asked().ended_leases, 1);
}

#[tokio::test]
async fn the_daemon_ends_an_attach() {
    let fake = Fake::start(Script {
        attach_ends: true,
        ..Script::default()
    });
    insta::assert_snapshot!(
        "attach-lost",
        run(&fake.socket(), "ns add demo --attach").await.text()
    );
}

#[tokio::test]
async fn an_attach_for_programs_is_one_object_per_line() {
    let fake = Fake::start(leased());
    let mut attached = Running::start(&fake.socket(), "ns add demo --attach -o json");
    for expected in ["a-long-name", "dns", "db"] {
        let line = attached.line().await;
        assert!(
            line.starts_with(&format!("{{\"key\":\"{expected}.demo.real\"")),
            "{line}"
        );
    }
    attached.signal(Signal::SIGINT);
    assert_eq!(attached.end().await.code, Some(130));
}

#[tokio::test]
async fn removals_and_reconnects_reach_the_daemon() {
    let fake = Fake::start(Script::default());
    let socket = fake.socket();
    let removed = run(&socket, "ns rm demo other --user 1000").await;
    assert_eq!(removed.stdout, "demo.real removed\nother.real removed\n");
    let json = run(&socket, "ns rm demo -o json").await;
    assert_eq!(
        json.stdout,
        "{\n  \"removed\": [\n    \"demo.real\"\n  ]\n}\n"
    );
    run(&socket, "svc rm --all").await;
    let reconnected = run(&socket, "fwd reconnect db.demo.real").await;
    assert_eq!(reconnected.stdout, "db.demo.real reconnecting\n");
    run(&socket, "fwd reconnect --failed").await;
    let off = run(&socket, "svc capture off db.demo.real api.demo.real").await;
    assert_eq!(
        off.stdout,
        "db.demo.real: capture off\napi.demo.real: capture off\n"
    );
    let on = run(&socket, "svc capture on db.demo.real -o name").await;
    assert_eq!(on.stdout, "db.demo.real\n");
    run(&socket, "reserve add db.demo.real 127.9.9.9").await;

    let asked = fake.asked();
    assert_eq!(asked.removed_namespaces[0].uid, Some(1000));
    assert_eq!(asked.removed_namespaces[2].uid, None);
    assert!(asked.removed_services[0].all && asked.removed_services[0].key.is_empty());
    let captures = asked.captures.iter().map(|one| (one.key.as_str(), one.on));
    let captures: Vec<_> = captures.collect();
    assert_eq!(
        captures,
        [
            ("db.demo.real", false),
            ("api.demo.real", false),
            ("db.demo.real", true)
        ]
    );
    assert_eq!(asked.reconnects[0].keys, ["db.demo.real"]);
    assert!(asked.reconnects[1].all && asked.reconnects[1].failed_only);
    let reservation = asked.reservations[0].reservation.clone().unwrap();
    assert_eq!(
        (reservation.key.as_str(), reservation.address.as_str()),
        ("db.demo.real", "127.9.9.9")
    );
}
