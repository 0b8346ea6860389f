//! The main job: services answer by their names and ports, for any program, with every byte right.

use std::fs;
use std::io::{Read as _, Write as _};

use kubefwd_tests::harness::System;
use kubefwd_tests::harness::net::{connect, echo_pattern, get, pattern_bytes, pod};
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::{Behaviour, Namespace, PatternCheck, Service, ServicePort, Workload};

use crate::support::{
    add, configured, content, forward, forwarded, http, listed, ready, ready_with, until,
};

#[test]
fn services_answer_by_name_and_leave_no_trace() {
    run_anywhere(async |sandbox| {
        let before = fs::read("/etc/hosts").unwrap();
        let (target, mut system) = forwarded(&sandbox).await;
        let namespace = target.namespace();
        for name in [
            "web",
            &format!("web.{namespace}"),
            &format!("web.{namespace}.svc.cluster.local"),
        ] {
            assert!(pod(name, 80).starts_with("web-"), "{name}");
        }
        echo_pattern("echo", 7000, 100_000);
        let listing = system.ctl(&["svc", "ls"]).ok();
        assert!(
            listing.contains("web") && listing.contains("active"),
            "{listing}"
        );
        assert_eq!(
            system.ctl(&["ns", "rm", namespace]).ok(),
            format!("{namespace}.sim removed\n")
        );
        until("names are gone", || !system.hosts_have("web"));
        forward(&target, &system);
        system.stop_daemon();
        assert_eq!(
            system.hosts(),
            before,
            "the hosts file is as it was, byte for byte"
        );
    });
}

#[test]
fn pods_of_a_headless_service_have_names() {
    run_anywhere(async |sandbox| {
        let (target, _system) = forwarded(&sandbox).await;
        for name in ["store-0", "store-1"] {
            let host = format!("{name}.store.{}.svc", target.namespace());
            assert_eq!(pod(&host, 8080), name, "{host}");
        }
        assert!(pod("store", 8080).starts_with("store-"));
    });
}

#[test]
fn many_connections_keep_their_bytes() {
    run_anywhere(async |sandbox| {
        let (target, system) = forwarded(&sandbox).await;
        std::thread::scope(|scope| {
            for n in 0..32_usize {
                scope.spawn(move || {
                    for round in 0..4 {
                        echo_pattern("echo", 7000, 1 + n * 997 + round * 40_009);
                    }
                });
            }
        });
        // Counters follow once a second.
        until("connections are counted", || {
            let echo = system.service(&target.key("echo")).unwrap_or_default();
            echo["forwards"][0]["totalConnections"].as_u64() >= Some(128)
        });
    });
}

#[test]
fn large_transfers_keep_every_byte() {
    const LENGTH: usize = 32 * 1024 * 1024;
    run(async |sandbox| {
        let namespace = Namespace::new("demo")
            .workload(
                Workload::deployment("bulk")
                    .listen("source", 1, Behaviour::Source(Some(LENGTH as u64)))
                    .listen("sink", 2, Behaviour::Sink),
            )
            .service(
                Service::new("bulk")
                    .port(ServicePort::tcp(1).name("source"))
                    .port(ServicePort::tcp(2).name("sink")),
            );
        let (_cluster, system) = configured(&sandbox, namespace, Default::default()).await;
        add(&system);
        let mut check = PatternCheck::default();
        let mut source = connect("bulk", 1);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let bytes = source.read(&mut buffer).unwrap();
            if bytes == 0 {
                break;
            }
            check.check(&buffer[..bytes]).unwrap();
        }
        assert_eq!(check.offset(), LENGTH as u64);

        let mut sink = connect("bulk", 2);
        sink.write_all(&(LENGTH as u64).to_be_bytes()).unwrap();
        sink.write_all(&pattern_bytes(LENGTH)).unwrap();
        let mut verdict = [0; 3];
        sink.read_exact(&mut verdict).unwrap();
        assert_eq!(&verdict, b"ok ", "the pod found every byte right");
    });
}

#[test]
fn a_server_may_speak_first_and_close() {
    run(async |sandbox| {
        let bye = Behaviour::Bye("220 ready\r\n".into());
        let namespace = Namespace::new("demo")
            .workload(Workload::deployment("hello").listen("hi", 25, bye))
            .service(Service::new("hello").port(ServicePort::tcp(25)));
        let (_cluster, system) = configured(&sandbox, namespace, Default::default()).await;
        add(&system);
        let mut text = String::new();
        connect("hello", 25).read_to_string(&mut text).unwrap();
        assert_eq!(text, "220 ready\r\n");
    });
}

#[test]
fn what_cannot_be_forwarded_is_listed_with_the_reason() {
    run_anywhere(async |sandbox| {
        let namespace = content("demo")
            .service(Service::new("alias").external_name("db.example.org"))
            .service(
                Service::new("legacy")
                    .port(ServicePort::tcp(80))
                    .without_selector([]),
            )
            .service(
                Service::new("dns")
                    .selects("app", "web")
                    .port(ServicePort::udp(53)),
            );
        let (target, system) = ready_with(&sandbox, namespace, Default::default()).await;
        forward(&target, &system);
        for (name, why) in [
            ("alias", "ExternalName"),
            ("legacy", "no selector"),
            ("dns", "UDP"),
        ] {
            let service = system.service(&target.key(name)).unwrap();
            assert_eq!(service["status"], "unsupported", "{service}");
            assert!(
                service["statusReason"].as_str().unwrap().contains(why),
                "{service}"
            );
        }
    });
}

#[test]
fn services_by_name_ports_and_address() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let wanted = format!("{}/web", target.namespace());
        let args = ["svc", "add", &wanted, "--local-ip", "127.9.8.7"];
        let _said = system
            .ctl(&[&args[..], &["--port-map", "80:8888", "--wait"]].concat())
            .ok();
        let web = system.service_in(&target.key("web"), "active");
        assert_eq!(web["localIP"], "127.9.8.7");
        assert!(pod("web", 8888).starts_with("web-"));
        assert_eq!(
            listed(&system),
            [target.key("web")],
            "only what was asked for"
        );
        system
            .ctl(&["svc", "add", &wanted])
            .says(1, &["is forwarded already", "remove it first"]);
        assert_eq!(
            system.ctl(&["svc", "rm", "web"]).ok(),
            format!("{} removed\n", target.key("web"))
        );
        until("the service is gone", || !system.hosts_have("web"));
    });
}

#[test]
fn selectors_and_globs_choose() {
    run_anywhere(async |sandbox| {
        let canary = Service::new("web-canary")
            .label("track", "canary")
            .selects("app", "web")
            .port(http(80));
        let namespace = content("demo").service(canary);
        let (target, system) = ready_with(&sandbox, namespace, Default::default()).await;
        let choose = |choice: &[&str]| {
            let args = ["ns", "add", target.namespace(), "--wait"];
            let _said = system.ctl(&[&args[..], choice].concat()).ok();
            listed(&system)
        };
        assert_eq!(
            choose(&["--include", "web*", "--exclude", "*-canary"]),
            [target.key("web")]
        );
        let _said = system.ctl(&["ns", "rm", target.namespace()]).ok();
        assert_eq!(choose(&["-l", "track=canary"]), [target.key("web-canary")]);
    });
}

#[test]
fn a_thousand_services_are_few_writes() {
    run(async |sandbox| {
        let many = Namespace::new("demo").generate_services(1000);
        let (_cluster, system): (_, System) = configured(&sandbox, many, Default::default()).await;
        add(&system);
        let status = system.json(&["status"]);
        let writes = find(&status, "writes").unwrap_or_else(|| panic!("no writes in {status}"));
        assert!(writes <= 10, "{writes} writes");
        assert_eq!(listed(&system).len(), 1000);
        let hosts = String::from_utf8(system.hosts()).unwrap();
        let ours = hosts.lines().filter(|line| line.starts_with("127.1"));
        let ours = ours.count();
        assert!(ours >= 1000, "{ours} lines");
        assert!(get("svc-00999", 80).contains("pod: svc-00999-"));
    });
}

/// A number by its key, wherever it stands.
fn find(value: &serde_json::Value, key: &str) -> Option<u64> {
    let fields = value.as_object()?;
    let own = fields.get(key).and_then(serde_json::Value::as_u64);
    own.or_else(|| fields.values().find_map(|inner| find(inner, key)))
}
