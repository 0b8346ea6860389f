//! Workers that mean harm: what a user put in the place of their own worker harms that user's forwards and nothing else.

use std::fs;
use std::path::PathBuf;

use kubefwd_tests::Cluster;
use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::run_as_root;
use kubefwd_tests::harness::system::signal;
use kubefwd_tests::harness::users::{ALICE, BOB, User, create};
use kubefwd_tests::harness::{Answer, Options, Sandbox, System, eventually, programs};
use kubefwd_tests::stress::block::Hosts;
use kubefwd_tests::stress::kernel::{held, peak};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::prepared;

/// By how much the daemon may grow, whatever a worker does: a few of the largest frames, read.
const GROWTH: u64 = 150 * 1024 * 1024;
/// What a hostile worker says last.
const SAID: &str = "all is said";

/// Alice and Bob forward the same namespace; Bob's worker is whatever his script says.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) system: System,
    _cluster: Cluster,
    /// The daemon's memory when both workers were honest.
    before: u64,
}

impl World {
    /// Both forward; from now on Bob's worker does what the lines say, one at each start, and is honest after the last.
    async fn start(sandbox: Sandbox, lines: &[&str]) -> Self {
        let mut world = Self::prepare(sandbox).await;
        world.start_hostile(lines);
        world
    }

    /// Bob forwards too; from then on his worker does what the lines say.
    pub(crate) fn start_hostile(&mut self, lines: &[&str]) {
        self.bob_forwards();
        self.before = held(self.system.daemon_pid()).unwrap().resident;
        self.restart_with(&BOB, lines);
    }

    pub(crate) fn bob_forwards(&self) {
        let _said = self.ctl(&BOB, &["ns", "add", "demo", "--wait"]).ok();
    }

    /// The user's running worker ends; the next ones do what the lines say.
    pub(crate) fn restart_with(&self, user: &User, lines: &[&str]) {
        self.script(user, lines);
        let running = self.worker_of(user).unwrap()["pid"].as_u64().unwrap();
        signal(u32::try_from(running).unwrap(), Signal::SIGKILL);
    }

    /// Alice forwards, and Bob has not asked for anything.
    pub(crate) async fn prepare(sandbox: Sandbox) -> Self {
        let options = create(&sandbox);
        Self::prepare_with(sandbox, options).await
    }

    /// The same with a daemon that serves REST over TCP.
    pub(crate) async fn with_rest(sandbox: Sandbox) -> Self {
        let options = Options {
            rest: true,
            ..create(&sandbox)
        };
        Self::prepare_with(sandbox, options).await
    }

    async fn prepare_with(sandbox: Sandbox, mut options: Options) -> Self {
        let hostile = sandbox.path("bin/hostile-worker");
        fs::copy(programs::find("hostile-worker"), &hostile).unwrap();
        "[limits]\nservices_per_user = 300\n".clone_into(&mut options.config);
        options.flags = vec!["--worker".to_owned(), hostile.display().to_string()];
        let (cluster, mut system) = prepared(&sandbox, options).await;
        system.start_daemon();
        let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
        for user in [ALICE, BOB] {
            let name = format!("{}/kubeconfig", user.name);
            let _path = user.file(&sandbox, &name, &kubeconfig, 0o600);
        }
        let world = Self {
            before: held(system.daemon_pid()).unwrap().resident,
            sandbox,
            system,
            _cluster: cluster,
        };
        let _said = world.ctl(&ALICE, &["ns", "add", "demo", "--wait"]).ok();
        world
    }

    fn script(&self, user: &User, lines: &[&str]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let name = format!("{}/script", user.name);
        let _path = user.file(&self.sandbox, &name, &text, 0o600);
    }

    pub(crate) fn ctl(&self, user: &User, args: &[&str]) -> Answer {
        let kubeconfig: PathBuf = self.sandbox.path(user.name).join("kubeconfig");
        user.ctl(&self.sandbox, &self.system, &kubeconfig, args)
    }

    /// What root is told of a user's worker.
    pub(crate) fn worker_of(&self, user: &User) -> Option<Value> {
        let status = self.system.try_json(&["status"])?;
        let workers = status["workers"].as_array()?;
        workers.iter().find(|w| w["uid"] == user.id).cloned()
    }

    /// What Alice sees of her services.
    fn alices(&self) -> Vec<Value> {
        let args = ["svc", "ls", "-o", "json"];
        let listed = self.ctl(&ALICE, &args).json();
        listed["services"].as_array().unwrap().clone()
    }

    pub(crate) fn alice_is_served(&self) {
        assert!(pod("web", 80).starts_with("web-"));
        for service in self.alices() {
            assert_eq!(service["status"], "active", "{service}");
            let text = service.to_string();
            assert!(!text.contains("forged") && !text.contains("hhhh"), "{text}");
        }
        assert_eq!(self.alices().len(), 4);
    }

    /// Nothing but honest names is in the hosts file, and the daemon has not grown beyond what one worker may need.
    fn nothing_is_spoilt(&self) {
        let hosts = Hosts::parse(&self.system.hosts()).unwrap();
        for name in hosts.names.keys() {
            let first = name.split('.').next().unwrap();
            let honest = ["web", "multi", "echo", "store", "store-0", "store-1"];
            let known = honest.contains(&first) || ["honest", "odd"].contains(&first);
            // What nobody could find wrong: names as a cluster might have them.
            let plain = first.starts_with('b') && first[1..].bytes().all(|b| b.is_ascii_digit());
            assert!(known || plain, "{name}: {:?}", hosts.names);
        }
        let grown = peak(self.system.daemon_pid())
            .unwrap()
            .saturating_sub(self.before);
        assert!(grown < GROWTH, "the daemon grew by {grown} bytes");
    }

    /// The script is over, and an honest worker forwards again.
    fn bob_recovers(&self) {
        eventually("Bob's honest worker forwards", || {
            let listed = self.ctl(&BOB, &["svc", "ls", "-o", "json"]).json();
            let all = listed["services"].as_array()?;
            let active = all.iter().filter(|s| s["status"] == "active").count();
            (active == 4).then_some(())
        });
    }
}

#[test]
fn who_breaks_the_protocol_is_ended_and_said() {
    run_as_root(async |sandbox| {
        let breaches = [
            ("oversized", "is larger than the limit"),
            ("garbage", "cannot be decoded"),
            ("log-first", "its first frame was not a hello"),
            ("descriptor", "descriptors that do not belong"),
            ("endless", "it lists more than 400000 services"),
        ];
        let world = World::start(sandbox, &breaches.map(|(line, _)| line)).await;
        for (_, said) in breaches {
            world.system.logged(said);
            world.alice_is_served();
        }
        world.bob_recovers();
        world.nothing_is_spoilt();
    });
}

#[test]
fn who_ends_or_never_speaks_is_started_again_after_a_pause() {
    run_as_root(async |sandbox| {
        let breaches = [
            ("dripping", "it sent nothing for 10 s"),
            ("truncated", "closed in the middle of a frame"),
            ("protocol", "install both from the same package"),
            ("exit", "it closed its channel"),
        ];
        let world = World::start(sandbox, &breaches.map(|(line, _)| line)).await;
        for (_, said) in breaches {
            world.system.logged(said);
            world.alice_is_served();
        }
        world.bob_recovers();
        let restarts = world.worker_of(&BOB).unwrap()["restarts"].clone();
        // Four, and the honest one that the test ended.
        assert_eq!(restarts, 5);
        world.nothing_is_spoilt();
    });
}

#[test]
fn who_lies_is_believed_about_nobody_else() {
    run_as_root(async |sandbox| {
        let world = World::start(sandbox, &["lies"]).await;
        let before = world.alices();
        world.system.logged(SAID);
        let log = world.system.log();
        let forged = log.lines().any(|line| line.starts_with("kubefwdd: forged"));
        assert!(!forged && !log.contains("\u{1b}["), "{log}");
        // What can be a service is one, of Bob.
        eventually("what Bob's worker says of itself is shown to Bob", || {
            let listed = world.ctl(&BOB, &["svc", "ls", "-o", "name"]).ok();
            listed.contains("honest.demo.sim").then_some(())
        });
        let address = |services: &[Value]| -> Vec<Value> {
            services.iter().map(|s| s["localIP"].clone()).collect()
        };
        assert_eq!(address(&world.alices()), address(&before));
        let text = serde_json::to_string(&world.alices()).unwrap();
        assert!(!text.contains(&u64::MAX.to_string()), "{text}");
        world.alice_is_served();
        world.nothing_is_spoilt();
    });
}

#[test]
fn who_floods_is_cut_short() {
    run_as_root(async |sandbox| {
        let world = World::start(sandbox, &["lines"]).await;
        world.system.logged("it logs too much");
        world.alice_is_served();
        let log = world.system.log().len();
        assert!(log < 4 * 1024 * 1024, "a log of {log} bytes");
        world.nothing_is_spoilt();
    });
}

#[test]
fn who_wants_every_port_gets_a_share() {
    run_as_root(async |sandbox| {
        let world = World::start(sandbox, &["hoard"]).await;
        world.system.logged("you have more than 300 services");
        world.system.logged(SAID);
        let listed = world.ctl(&BOB, &["fwd", "ls", "-o", "json"]).json();
        let forwards = listed["forwards"].as_array().unwrap().len();
        assert!((256..=4 * 300).contains(&forwards), "{forwards} ports");
        // Root and others go on.
        let _listed = world.system.json(&["svc", "ls"]);
        world.alice_is_served();
        world.nothing_is_spoilt();
    });
}

#[test]
fn frames_that_grow_when_they_are_read_are_not_piled_up() {
    run_as_root(async |sandbox| {
        let world = World::start(sandbox, &["bombs"]).await;
        world.system.logged(SAID);
        world.alice_is_served();
        world.nothing_is_spoilt();
    });
}

#[test]
fn who_answers_nothing_is_not_waited_for_long() {
    run_as_root(async |sandbox| {
        let world = World::prepare(sandbox).await;
        world.script(&BOB, &["mute"]);
        let answer = world.ctl(&BOB, &["ns", "add", "demo", "--defer"]);
        answer.says(
            1,
            &[
                "your worker did not read the kubeconfig within 20 s",
                "hint: ",
            ],
        );
        world.alice_is_served();
        world.nothing_is_spoilt();
    });
}

#[test]
fn who_does_not_read_holds_up_nobody() {
    run_as_root(async |sandbox| {
        let mut world = World::start(sandbox, &["deaf"]).await;
        eventually("the deaf worker runs", || {
            let worker = world.worker_of(&BOB)?;
            (worker["status"] == "running" && worker["restarts"] == 1).then_some(())
        });
        // Bob can still change what he has, and Alice is not concerned.
        let _said = world.ctl(&BOB, &["ns", "rm", "demo"]).ok();
        world.alice_is_served();
        world.nothing_is_spoilt();
        world.system.stop_daemon();
        assert!(!world.system.hosts_have("web"));
    });
}
