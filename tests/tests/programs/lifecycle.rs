//! Starts, stops, crashes: nothing is lost, nothing is left behind.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::net::get;
use crate::system::{Printed, System};
use crate::target::{Sim, Target};
use crate::{Case, Needs, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "lifecycle::hosts_files_of_every_shape_come_back_byte_for_byte",
        Needs::Simulated,
        hosts_shapes,
    ),
    case(
        "lifecycle::a_restart_brings_everything_back",
        Needs::Simulated,
        restart,
    ),
    case(
        "lifecycle::connections_wait_while_a_worker_is_started_again",
        Needs::Simulated,
        dead_worker,
    ),
    case("lifecycle::a_crash_is_cleaned_up", Needs::Simulated, crash),
    case(
        "lifecycle::a_crash_is_taken_over_by_the_next_daemon",
        Needs::Simulated,
        takeover,
    ),
    case(
        "lifecycle::an_attached_namespace_goes_with_its_client",
        Needs::AnyCluster,
        attach,
    ),
    case(
        "lifecycle::reservations_hold",
        Needs::Simulated,
        reservations,
    ),
    case(
        "lifecycle::every_output_can_be_read_by_programs",
        Needs::Simulated,
        outputs,
    ),
];

fn hosts_shapes() {
    let sim = Sim::demo();
    let shapes: [&[u8]; 6] = [
        b"",
        b"127.0.0.1 localhost",
        b"127.0.0.1 localhost\r\n10.0.0.1 a\r\n",
        b"\xff\xfe not text\n127.0.0.1 localhost\n\n\n",
        b"# only a comment",
        b"127.0.0.1\tlocalhost   # spaces\n::1 localhost\n10.0.0.5 redis Redis-Main # mine\n",
    ];
    for shape in shapes {
        let mut system = System::prepare(&sim.kubeconfig()).with_hosts(shape);
        system.start_daemon();
        system.ok(&["ns", "add", "demo", "--wait"]);
        assert!(system.hosts_have("web"));
        let now = system.hosts();
        assert!(
            now.windows(shape.len().max(1)).any(|w| w == shape) || shape.is_empty(),
            "foreign bytes stay together"
        );
        system.stop_daemon();
        assert_eq!(
            system.hosts(),
            shape,
            "{:?}",
            String::from_utf8_lossy(shape)
        );
    }
}

fn restart() {
    let sim = Sim::demo();
    let mut system = sim.forwarding();
    let addresses = |system: &System| {
        ["web", "echo", "store"].map(|name| system.service(name).unwrap()["localIP"].clone())
    };
    let before = (addresses(&system), system.hosts());
    system.stop_daemon();
    system.start_daemon();
    assert_eq!((addresses(&system), system.hosts()), before);
    assert!(get("web", 80, "/").contains("pod: web-"));
}

fn dead_worker() {
    let sim = Sim::demo();
    let system = sim.forwarding();
    let workers = system.workers();
    assert_eq!(workers.len(), 1);
    kill(workers[0], Signal::SIGKILL).unwrap();
    assert!(
        get("web", 80, "/").contains("pod: web-"),
        "the connection waited"
    );
    system.until("its state is back", |s| {
        s.service("web").unwrap()["status"] == "active"
    });
    assert_ne!(system.workers(), workers);
    let status = system.ctl(&["status"]).out;
    assert!(status.contains("1 restart"), "{status}");
}

fn crash() {
    let sim = Sim::demo();
    let mut system = System::prepare(&sim.kubeconfig());
    let before = system.hosts();
    system.start_daemon();
    system.ok(&["ns", "add", "demo", "--wait"]);
    let workers = system.workers();
    system.crash_daemon();
    assert!(system.hosts_have("web"));
    let mut cleanup = std::process::Command::new(crate::system::program("kubefwdd"));
    cleanup
        .args(["cleanup", "--hosts-file", "/etc/hosts", "--state-dir"])
        .arg(system.dir.path().join("state"));
    assert!(cleanup.status().unwrap().success());
    assert_eq!(system.hosts(), before);
    system.until("workers do not outlive their daemon", |_| {
        workers.iter().all(|pid| kill(*pid, None).is_err())
    });
}

fn takeover() {
    let sim = Sim::demo();
    let mut system = sim.forwarding();
    let hosts = system.hosts();
    system.crash_daemon();
    system.start_daemon();
    assert_eq!(system.hosts(), hosts);
    assert!(get("web", 80, "/").contains("pod: web-"));
}

fn attach() {
    let target = Target::start();
    let system = target.system();
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let arguments = [
            "ns",
            "add",
            target.namespace(),
            "--context",
            target.context(),
            "--attach",
        ];
        let mut client = system
            .ctl_command(&arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        assert!(
            lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| line.contains("web")),
            "it says what came up"
        );
        system.until("it is forwarded", |s| {
            s.service("web").is_some_and(|w| w["status"] == "active")
        });
        assert!(get("web", 80, "/").contains("pod: "));
        kill(Pid::from_raw(client.id().cast_signed()), signal).unwrap();
        client.wait().unwrap();
        system.until("it went with its client", |s| {
            s.namespace(target.namespace()).is_none() && !s.hosts_have("web")
        });
    }
}

fn reservations() {
    let sim = Sim::demo();
    let mut system = System::start(&sim.kubeconfig());
    system.ok(&["reserve", "add", "web.demo", "127.77.1.1"]);
    system.ok(&["ns", "add", "demo", "--wait"]);
    assert_eq!(system.service("web").unwrap()["localIP"], "127.77.1.1");
    system.fails(
        &["reserve", "add", "echo.demo", "127.77.1.1"],
        1,
        &["127.77.1.1 is already reserved for web.demo"],
    );
    system.fails(
        &["reserve", "add", "echo.demo", "10.0.0.1"],
        1,
        &["outside the address range"],
    );
    system.fails(
        &["reserve", "add", "echo.demo", "127.2.27.1"],
        1,
        &["127.2.27.1 cannot be reserved"],
    );
    system.stop_daemon();
    system.start_daemon();
    assert!(system.ok(&["reserve", "ls"]).contains("127.77.1.1"));
    system.ok(&["reserve", "rm", "127.77.1.1"]);
    assert!(!system.ok(&["reserve", "ls"]).contains("127.77.1.1"));
}

fn outputs() {
    let sim = Sim::demo();
    let system = sim.forwarding();
    for noun in [
        &["ns", "ls"][..],
        &["svc", "ls"],
        &["fwd", "ls"],
        &["status"],
        &["hosts"],
        &["context", "ls"],
        &["version"],
    ] {
        for form in ["json", "yaml"] {
            let mut arguments = noun.to_vec();
            arguments.extend(["-o", form]);
            let text = system.ok(&arguments);
            match form {
                "json" => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
                _ => drop(serde_yaml_ng::from_str::<serde_json::Value>(&text).unwrap()),
            }
        }
    }
    assert!(system.ok(&["completions", "bash"]).contains("kubefwdctl"));
    assert!(system.ok(&["context", "ls"]).contains("sim"));
    assert!(system.ok(&["events"]).contains("service.added"));
    let doctor = Printed::of(system.ctl_command(&["doctor"]).output().unwrap());
    assert!(doctor.out.contains("hosts file"), "{doctor:?}");
}
