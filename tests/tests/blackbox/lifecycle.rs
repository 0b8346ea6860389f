//! Starts, stops, crashes: nothing is lost, nothing is left behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use kubefwd_tests::harness::System;
use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::harness::system::signal;
use nix::sys::signal::Signal;

use crate::support::{add, answers, demo, forward, forwarded, ready, until};

#[test]
fn a_restart_brings_everything_back() {
    run_anywhere(async |sandbox| {
        let (target, mut system) = forwarded(&sandbox).await;
        let addresses = |system: &System| {
            ["web", "echo", "store"]
                .map(|name| system.service(&target.key(name)).unwrap()["localIP"].clone())
        };
        let before = (addresses(&system), system.hosts());
        system.restart_daemon();
        assert_eq!(addresses(&system), before.0);
        assert_eq!(system.hosts(), before.1, "ready means that names are back");
        assert!(pod("web", 80).starts_with("web-"));
    });
}

#[test]
fn names_are_there_before_the_cluster_answers() {
    run(async |sandbox| {
        let (cluster, mut system) = demo(&sandbox).await;
        add(&system);
        let address = system.service("web.demo.sim").unwrap()["localIP"].clone();
        cluster.stop_api_server().await;
        system.restart_daemon();
        assert!(system.hosts_have("web"), "while the cluster is away");
        assert_eq!(system.service("web.demo.sim").unwrap()["localIP"], address);
        cluster.start_api_server().await.unwrap();
        answers("web", 80);
    });
}

#[test]
fn connections_wait_while_a_worker_is_started_again() {
    run_anywhere(async |sandbox| {
        let (target, system) = forwarded(&sandbox).await;
        let workers = system.workers();
        assert_eq!(workers.len(), 1);
        signal(workers[0], Signal::SIGKILL);
        assert!(pod("web", 80).starts_with("web-"), "the connection waited");
        let _back = system.service_in(&target.key("web"), "active");
        assert_ne!(system.workers(), workers);
        let status = system.ctl(&["status"]).out;
        assert!(status.contains("1 restart"), "{status}");
    });
}

#[test]
fn a_crash_is_cleaned_up() {
    run_anywhere(async |sandbox| {
        let before = fs::read("/etc/hosts").unwrap();
        let (_target, mut system) = forwarded(&sandbox).await;
        let workers = system.workers();
        assert!(!workers.is_empty());
        system.kill_daemon();
        assert!(system.hosts_have("web"));
        let _said = system.kubefwdd(&["cleanup"]).ok();
        assert_eq!(system.hosts(), before);
        until("workers do not outlive their daemon", || {
            workers.iter().all(|worker| {
                // What is left of an ended process until somebody asks for its status is no worker.
                let status = fs::read_to_string(format!("/proc/{worker}/status"));
                status.map_or(true, |status| status.contains("State:\tZ"))
            })
        });
    });
}

#[test]
fn a_crash_is_taken_over_by_the_next_daemon() {
    run_anywhere(async |sandbox| {
        let (target, mut system) = forwarded(&sandbox).await;
        let hosts = system.hosts();
        // What was found is saved within seconds; only what was asked for is safe at once.
        let address = system.service(&target.key("web")).unwrap()["localIP"].clone();
        let address = address.as_str().unwrap();
        until("the addresses are saved", || {
            let state = fs::read_to_string(sandbox.path("state/state.json"));
            state.is_ok_and(|state| state.contains(address))
        });
        system.kill_daemon();
        system.start_daemon();
        assert_eq!(system.hosts(), hosts, "every name is where it was");
        assert!(pod("web", 80).starts_with("web-"));
    });
}

#[test]
fn an_attached_namespace_goes_with_its_client() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        for end in [Signal::SIGINT, Signal::SIGKILL] {
            let mut client = system
                .command(&["ns", "add", target.namespace(), "--attach"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(client.stdout.take().unwrap()).lines();
            let mut lines = lines.map_while(Result::ok);
            assert!(
                lines.any(|line| line.contains("web")),
                "it says what came up"
            );
            let _web = system.service_in(&target.key("web"), "active");
            assert!(pod("web", 80).starts_with("web-"));
            signal(client.id(), end);
            client.wait().unwrap();
            until("it went with its client", || {
                system.namespace(target.namespace()).is_none() && !system.hosts_have("web")
            });
        }
    });
}

#[test]
fn reservations_hold() {
    run_anywhere(async |sandbox| {
        let (target, mut system) = ready(&sandbox).await;
        let (web, echo) = (target.host("web"), target.host("echo"));
        let _said = system.ctl(&["reserve", "add", &web, "127.77.1.1"]).ok();
        forward(&target, &system);
        let service = system.service(&target.key("web")).unwrap();
        assert_eq!(service["localIP"], "127.77.1.1");
        for (address, why) in [
            (
                "127.77.1.1",
                format!("127.77.1.1 is already reserved for {web}"),
            ),
            ("10.0.0.1", "outside the address range".to_owned()),
            ("127.2.27.1", "127.2.27.1 cannot be reserved".to_owned()),
        ] {
            let refused = system.ctl(&["reserve", "add", &echo, address]);
            refused.says(1, &[&why]);
        }
        system.restart_daemon();
        let reserved = || system.ctl(&["reserve", "ls"]).ok();
        assert!(reserved().contains("127.77.1.1"));
        let _said = system.ctl(&["reserve", "rm", "127.77.1.1"]).ok();
        assert!(!reserved().contains("127.77.1.1"));
    });
}
