//! What the client shows while things happen.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use kubefwd_tests::Service;
use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::harness::system::signal;
use kubefwd_tests::harness::{System, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{demo, forward, forwarded, http, ready};

#[test]
fn events_are_followed_live() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let mut follower = Follower::start(&system, &["events", "-w"]);
        forward(&target, &system);
        follower.until(&["namespace.added", &format!("{}.sim", target.namespace())]);
        follower.until(&["service.added", &target.key("web")]);
        target.delete_service("web");
        follower.until(&["service.removed", &target.key("web")]);
        follower.ends_on_interrupt();
    });
}

#[test]
fn services_are_followed_live() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        forward(&target, &system);
        let mut follower = Follower::start(&system, &["svc", "ls", "-w", "-o", "json"]);
        follower.until(&[&format!("{:?}", target.key("web"))]);
        target.put_service(Service::new("late").selects("app", "web").port(http(80)));
        follower.until(&[&format!("{:?}", target.key("late"))]);
        follower.ends_on_interrupt();
    });
}

#[test]
fn an_interrupted_wait_leaves_what_was_added() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        for pod in cluster.pods("demo", "echo") {
            cluster.set_ready("demo", &pod, false);
        }
        let mut waiting = system
            .command(&["ns", "add", "demo", "--wait=10m"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let _web = system.service_in("web.demo.sim", "active");
        signal(waiting.id(), Signal::SIGINT);
        assert_eq!(waiting.wait().unwrap().code(), Some(130));
        assert_eq!(system.ctl(&["ns", "ls", "-o", "name"]).ok(), "demo.sim\n");
    });
}

#[test]
fn bytes_are_counted() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        forward(&target, &system);
        let mut open = connect("echo", 7000);
        echo(&mut open, &[7; 12_345]);
        let counted = eventually("the traffic is counted", || {
            let service = system.service(&target.key("echo"))?;
            (service["totalBytesIn"] == 12_345 && service["totalBytesOut"] == 12_345)
                .then_some(service)
        });
        assert_eq!(counted["forwards"][0]["connections"], 1, "{counted}");
        drop(open);
        eventually("the connection is no longer counted as open", || {
            (system.service(&target.key("echo"))?["forwards"][0]["connections"] == 0).then_some(())
        });
    });
}

#[test]
fn doctor_and_status_tell_what_is_wrong_and_what_to_do() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let _taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        let _said = system.ctl(&["ns", "add", target.namespace()]).ok();
        let _failed = system.service_in(&target.key("echo"), "error");
        let doctor = system.ctl(&["doctor"]);
        assert_eq!(doctor.code, 3, "{doctor}");
        assert!(
            doctor.out.contains(&target.key("echo")) && doctor.out.contains("is taken by"),
            "{doctor}"
        );
        assert_eq!(system.ctl(&["status"]).code, 3);
    });
}

#[test]
fn the_same_namespace_twice_is_refused_with_the_way_out() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        forward(&target, &system);
        let again = system.ctl(&["ns", "add", target.namespace()]).fails(1);
        let text = format!("{}.sim is forwarded already", target.namespace());
        assert!(again.contains(&text), "{again}");
    });
}

#[test]
fn every_output_can_be_read_by_programs() {
    run_anywhere(async |sandbox| {
        let (_target, system) = forwarded(&sandbox).await;
        for noun in [
            &["ns", "ls"][..],
            &["svc", "ls"],
            &["fwd", "ls"],
            &["status"],
            &["hosts"],
            &["context", "ls"],
            &["version"],
        ] {
            let said = |form: &str| system.ctl(&[noun, &["-o", form]].concat()).ok();
            let json: Value = serde_json::from_str(&said("json")).unwrap();
            let yaml: Value = yaml_serde::from_str(&said("yaml")).unwrap();
            assert!(json.is_object() || json.is_array(), "{noun:?}: {json}");
            assert!(yaml.is_object() || yaml.is_array(), "{noun:?}: {yaml}");
        }
        let bash = system.ctl(&["completions", "bash"]).ok();
        assert!(bash.contains("kubefwdctl"), "{bash}");
        let contexts = system.ctl(&["context", "ls"]).ok();
        assert!(contexts.contains("sim"), "{contexts}");
        let events = system.ctl(&["events"]).ok();
        assert!(events.contains("service.added"), "{events}");
        let doctor = system.ctl(&["doctor"]);
        assert!(doctor.out.contains("hosts file"), "{doctor}");
    });
}

/// A client that keeps printing.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Follower {
    fn start(system: &System, args: &[&str]) -> Self {
        let mut child = system.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until a line holds all these texts; the test's time limit is the limit.
    fn until(&mut self, texts: &[&str]) {
        let line = self
            .lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| texts.iter().all(|text| line.contains(text)));
        assert!(line.is_some(), "it ended without a line with {texts:?}");
    }

    /// A shell shows 130 either way: the client ends by the signal, or with that code after cleaning up.
    fn ends_on_interrupt(mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        signal(self.child.id(), Signal::SIGINT);
        let status = self.child.wait().unwrap();
        let by_signal = status.signal() == Some(Signal::SIGINT as i32);
        assert!(by_signal || status.code() == Some(130), "{status}");
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::SIGKILL);
    }
}
