//! What the client shows while things happen.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use kubefwd_tests::Service;
use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::system::signal;
use kubefwd_tests::harness::{System, eventually};
use nix::sys::signal::Signal;

use crate::support::{add, demo, http};

#[test]
fn events_are_followed_live() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        let mut follower = Follower::start(&system, &["events", "-w"]);
        add(&system);
        follower.until(&["namespace.added", "demo.sim"]);
        follower.until(&["service.added", "web.demo.sim"]);
        assert!(cluster.delete_service("demo", "web"));
        follower.until(&["service.removed", "web.demo.sim"]);
        follower.ends_on_interrupt();
    });
}

#[test]
fn services_are_followed_live() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        let mut follower = Follower::start(&system, &["svc", "ls", "-w", "-o", "json"]);
        follower.until(&["\"web.demo.sim\""]);
        cluster.put_service(
            "demo",
            Service::new("late").selects("app", "web").port(http(80)),
        );
        follower.until(&["\"late.demo.sim\""]);
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
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        add(&system);
        let mut open = connect("echo", 7000);
        echo(&mut open, &[7; 12_345]);
        let counted = eventually("the traffic is counted", || {
            let service = system.service("echo.demo.sim")?;
            (service["totalBytesIn"] == 12_345 && service["totalBytesOut"] == 12_345)
                .then_some(service)
        });
        assert_eq!(counted["forwards"][0]["connections"], 1, "{counted}");
        drop(open);
        eventually("the connection is no longer counted as open", || {
            (system.service("echo.demo.sim")?["forwards"][0]["connections"] == 0).then_some(())
        });
    });
}

#[test]
fn doctor_and_status_tell_what_is_wrong_and_what_to_do() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        let _taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        let _said = system.ctl(&["ns", "add", "demo"]).ok();
        let _failed = system.service_in("echo.demo.sim", "error");
        let doctor = system.ctl(&["doctor"]);
        assert_eq!(doctor.code, 3, "{doctor}");
        assert!(
            doctor.out.contains("echo.demo.sim") && doctor.out.contains("is taken by"),
            "{doctor}"
        );
        assert_eq!(system.ctl(&["status"]).code, 3);
    });
}

#[test]
fn the_same_namespace_twice_is_refused_with_the_way_out() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        add(&system);
        let again = system.ctl(&["ns", "add", "demo"]).fails(1);
        assert!(again.contains("demo.sim is forwarded already"), "{again}");
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
