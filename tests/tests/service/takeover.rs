//! A restart under a service manager: sockets and listeners stay open, names stay, and nobody who connects is refused.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::system::{run as run_program, signal};
use kubefwd_tests::harness::{Options, PATIENCE, System, eventually, net};
use nix::sys::signal::Signal;

use crate::manager::{Manager, socket};
use crate::support::{add, prepared};

/// The exit code of a daemon that leaves names and listeners to the next.
const HANDED_OVER: i32 = 75;

fn hand_over(system: &mut System) {
    signal(system.daemon_pid(), Signal::SIGUSR1);
    assert_eq!(system.daemon_ends(), Some(HANDED_OVER), "{}", system.log());
}

/// `kubefwdd cleanup` as `ExecStopPost=` runs it.
fn stop_post(system: &System, code: &str, status: &str) {
    let mut command = system.kubefwdd_command(&["cleanup"]);
    command
        .env("SERVICE_RESULT", "success")
        .env("EXIT_CODE", code)
        .env("EXIT_STATUS", status);
    let _said = run_program(&mut command).ok();
}

#[test]
fn a_connection_that_is_made_meanwhile_waits_and_is_served() {
    run(async |sandbox| {
        let manager = Manager::new(&sandbox);
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        system.start_daemon_by(manager.command(&[]));
        add(&system);
        let forwards = system.json(&["fwd", "ls"])["forwards"]
            .as_array()
            .unwrap()
            .len();
        eventually("every listener is kept", || {
            (manager.stored().len() == forwards).then_some(())
        });
        let hosts = system.hosts();
        for _ in 0..3 {
            hand_over(&mut system);
            stop_post(&system, "exited", "75");
            assert_eq!(system.hosts(), hosts, "names stay over a restart");
            let mut waiting = TcpStream::connect(("web", 80)).expect("it is not refused");
            waiting.set_read_timeout(Some(PATIENCE)).unwrap();
            waiting
                .write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
                .unwrap();
            system.start_daemon_by(manager.command(&[]));
            assert_eq!(
                system.hosts(),
                hosts,
                "and are there when the next is ready"
            );
            let mut answer = [0; 15];
            waiting.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            assert_eq!(manager.stored().len(), forwards, "nothing is kept twice");
        }
        let _said = system.ctl(&["ns", "rm", "demo"]).ok();
        eventually("nothing is kept that is not forwarded", || {
            manager.stored().is_empty().then_some(())
        });
        assert!(
            TcpStream::connect("127.1.27.1:80").is_err(),
            "also not by others"
        );
    });
}

#[test]
fn what_is_not_known_any_more_is_closed() {
    run(async |sandbox| {
        let manager = Manager::new(&sandbox);
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        system.start_daemon_by(manager.command(&[]));
        add(&system);
        let at = net::resolve("web")[0];
        eventually("it is kept", || {
            (!manager.stored().is_empty()).then_some(())
        });
        hand_over(&mut system);
        assert!(TcpStream::connect((at, 80)).is_ok());
        fs::remove_dir_all(sandbox.path("state")).unwrap();
        system.start_daemon_by(manager.command(&[]));
        eventually("the store is empty", || {
            manager.stored().is_empty().then_some(())
        });
        let refused = TcpStream::connect((at, 80)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(net::resolve("web").is_empty());
    });
}

#[test]
fn after_a_crash_names_go_and_listeners_stay() {
    run(async |sandbox| {
        let manager = Manager::new(&sandbox);
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        let before = system.hosts();
        system.start_daemon_by(manager.command(&[]));
        add(&system);
        let at = net::resolve("web")[0];
        eventually("it is kept", || {
            (!manager.stored().is_empty()).then_some(())
        });
        system.kill_daemon();
        stop_post(&system, "killed", "KILL");
        assert_eq!(system.hosts(), before);
        let waiting = TcpStream::connect((at, 80));
        assert!(waiting.is_ok(), "{waiting:?}");
        system.start_daemon_by(manager.command(&[]));
        assert!(net::get("web", 80).contains("pod: web-"));
    });
}

#[test]
fn without_a_service_manager_nothing_is_left() {
    run(async |sandbox| {
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        let before = system.hosts();
        system.start_daemon();
        add(&system);
        signal(system.daemon_pid(), Signal::SIGUSR1);
        assert_eq!(
            system.daemon_ends(),
            Some(0),
            "there is nobody to leave it to"
        );
        assert_eq!(system.hosts(), before);
    });
}

#[test]
fn ready_means_that_names_and_ports_are_there() {
    run(async |sandbox| {
        let manager = Manager::new(&sandbox);
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        system.start_daemon();
        add(&system);
        system.stop_daemon();
        system.start_daemon_by(manager.command(&[]));
        manager.hears("READY=1", 0);
        assert!(TcpStream::connect(("web", 80)).is_ok());
        manager.hears("STATUS=forwarding 4 services in 1 namespace for 1 user", 0);
        let before = manager.heard();
        system.reload();
        let at = manager.hears("RELOADING=1", before);
        manager.hears("MONOTONIC_USEC=", before);
        manager.hears("READY=1", at);
        let before = manager.heard();
        system.stop_daemon();
        manager.hears("STOPPING=1", before);
    });
}

#[test]
fn sockets_of_the_service_manager_are_taken_and_stay() {
    run(async |sandbox| {
        let manager = Manager::new(&sandbox);
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        let control = socket(&system.socket());
        let rest = socket(&sandbox.path("rest.sock"));
        // A client that comes before the daemon waits for it.
        let early = system.command(&["version"]).spawn().unwrap();
        system.start_daemon_by(manager.command(&[&rest, &control]));
        assert!({ early }.wait().unwrap().success());
        add(&system);
        system.stop_daemon();
        assert!(system.socket().exists(), "it is not ours to remove");
        let mut early = system.command(&["svc", "ls"]).spawn().unwrap();
        system.start_daemon_by(manager.command(&[&control, &rest]));
        assert!(early.wait().unwrap().success());
    });
}

#[test]
fn a_socket_that_somebody_else_listens_on_is_not_taken_away() {
    run(async |sandbox| {
        let (_cluster, system) = prepared(&sandbox, Options::default()).await;
        let _other = socket(&system.socket());
        let said = system.kubefwdd(&[]).fails(1);
        assert!(said.contains("is in use"), "{said}");
        assert!(said.contains("systemctl stop kubefwdd"), "{said}");
    });
}
