//! What members of the group cannot do to each other, to root or to the machine, however they replace or trace their own
//! worker.

use std::fs;

use kubefwd_tests::harness::sandbox::run_as_root;
use kubefwd_tests::harness::users::{ALICE, BOB, User};
use kubefwd_tests::harness::{eventually, keyring};

use crate::hostile_worker::World;

impl World {
    /// What a hostile worker of this user has to show.
    fn loot(&self, user: &User) -> String {
        let path = self.sandbox.path(user.name).join("loot");
        eventually("the hostile worker has something to show", || {
            fs::read_to_string(&path).ok()
        })
    }

    /// How many events of their own this user sees.
    fn events(&self, user: &User) -> usize {
        let answer = self.ctl(user, &["events", "-o", "json"]).json();
        answer["events"].as_array().unwrap().len()
    }
}

#[test]
fn a_listener_is_no_key_to_what_root_has() {
    run_as_root(async |sandbox| {
        let mut world = World::with_rest(sandbox).await;
        let _said = world.system.ctl(&["ns", "add", "demo", "--wait"]).ok();
        world.start_hostile(&["impersonate"]);
        let answer = world.loot(&BOB);
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        // Bob asks as Bob, or as nobody: what he is shown is his own.
        for others in ["\"owner\":0", "\"owner\":64001"] {
            assert!(!answer.contains(others), "{answer}");
        }
        world.alice_is_served();
    });
}

#[test]
fn keys_of_one_user_are_not_found_by_another() {
    run_as_root(async |sandbox| {
        // As it is under a service manager, and after sudo.
        keyring::join_new_session();
        let world = World::prepare(sandbox).await;
        world.bob_forwards();
        world.restart_with(&BOB, &["leave-key"]);
        let left = world.loot(&BOB);
        assert!(left.starts_with("left Ok("), "{left}");
        world.restart_with(&ALICE, &["find-key"]);
        assert_eq!(world.loot(&ALICE), "found Err(ENOKEY)");
        // Each user keeps the own keys over restarts of the worker, as after a login.
        assert_eq!(keyring::search("kubefwd-test"), None, "the daemon has it");
    });
}

#[test]
fn a_worker_has_no_part_of_the_daemons_log_or_terminal() {
    run_as_root(async |sandbox| {
        let world = World::prepare(sandbox).await;
        world.bob_forwards();
        let before = world.system.log();
        world.restart_with(&BOB, &["standard-error"]);
        let loot = world.loot(&BOB);
        assert!(loot.starts_with("pipe:["), "{loot}");
        world.system.logged("kubefwdd: forged");
        let log = world.system.log();
        assert!(log.starts_with(&before), "the log was truncated");
        for line in log.lines() {
            assert!(!line.starts_with("kubefwdd: forged"), "{line}");
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
        let flood = log.matches("a line of a flood").count();
        assert!(flood < 500, "{flood} lines");
        world.alice_is_served();
    });
}

#[test]
fn accusations_are_bounded_and_said_to_be_the_workers() {
    run_as_root(async |sandbox| {
        let mut world = World::prepare(sandbox).await;
        world.start_hostile(&["accuse"]);
        let alices_events = world.events(&ALICE);
        world.system.logged("all is said");
        let log = world.system.log();
        let accused: Vec<&str> = log.lines().filter(|line| line.contains("uid 7")).collect();
        assert!((1..300).contains(&accused.len()), "{} lines", accused.len());
        for line in accused {
            assert!(line.contains("bob's worker says"), "{line}");
        }
        assert_eq!(world.events(&ALICE), alices_events);
        world.alice_is_served();
    });
}

#[test]
fn what_a_worker_does_is_put_down_to_its_user() {
    run_as_root(async |sandbox| {
        let world = World::prepare(sandbox).await;
        world.bob_forwards();
        let own = fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
        if own != u32::MAX.to_string() {
            // Without CAP_AUDIT_CONTROL it can be set once, and here it is set.
            return;
        }
        world.restart_with(&BOB, &["login-user"]);
        assert_eq!(world.loot(&BOB), BOB.id.to_string());
    });
}
