//! What members of the group cannot do to each other, to root or to the machine, however they replace or trace their own
//! worker.

use std::fs;
use std::net::TcpListener;

use kubefwd_tests::harness::sandbox::{replace_text, run_as_root};
use kubefwd_tests::harness::users::{ALICE, BOB, User};
use kubefwd_tests::harness::{eventually, keyring, net};

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
        assert_eq!(
            keyring::search("kubefwd-test").ok(),
            None,
            "the daemon has it"
        );
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

/// The addresses of a service of Alice's, by the listing.
fn place(world: &World, key: &str) -> serde_json::Value {
    let listed = world.ctl(&ALICE, &["svc", "ls", "-o", "json"]).json();
    let services = listed["services"].as_array().unwrap();
    services.iter().find(|s| s["key"] == key).unwrap().clone()
}

#[test]
fn no_name_leads_to_an_address_where_somebody_else_listens() {
    run_as_root(async |sandbox| {
        let world = World::prepare(sandbox).await;
        let key = "multi.demo.sim";
        let before = place(&world, key)["localIP"].as_str().unwrap().to_owned();
        let _said = world.ctl(&ALICE, &["ns", "rm", "demo"]).ok();
        eventually("the port is free", || {
            net::resolve("multi").is_empty().then_some(())
        });
        // On this very address: the service gets another.
        let here: std::net::SocketAddr = format!("{before}:9090").parse().unwrap();
        let taken = eventually("the port is free", || TcpListener::bind(here).ok());
        let _said = world.ctl(&ALICE, &["ns", "add", "demo", "--wait"]).ok();
        assert_ne!(place(&world, key)["localIP"], before);
        for port in [80, 9090] {
            assert!(net::pod("multi", port).starts_with("web-"));
        }
        drop(taken);
        let _said = world.ctl(&ALICE, &["ns", "rm", "demo"]).ok();
        // On all addresses: it gets its names when it has all of its ports.
        let taken = eventually("the port is free", || {
            TcpListener::bind("0.0.0.0:9090").ok()
        });
        let added = world.ctl(&ALICE, &["ns", "add", "demo", "--wait=5s"]);
        added.says(3, &["9090", "is taken by"]);
        assert!(net::resolve("multi").is_empty());
        assert!(net::pod("web", 80).starts_with("web-"));
        drop(taken);
        eventually("the service has its name", || net::resolve("multi").pop());
        assert!(net::pod("multi", 9090).starts_with("web-"));
        // Another port of its address is anybody's, and doctor says whose.
        let address = place(&world, key)["localIP"].as_str().unwrap().to_owned();
        let _stranger = TcpListener::bind(format!("{address}:9999")).unwrap();
        let doctor = world.ctl(&ALICE, &["doctor"]);
        let said = format!("uid 0 listens on port 9999 of {address}");
        assert!(doctor.out.contains(&said), "{doctor}");
    });
}

#[test]
fn names_of_the_machines_own_network_are_refused_until_root_allows_them() {
    run_as_root(async |sandbox| {
        replace_text(
            &sandbox,
            "/etc/resolv.conf",
            "nameserver 127.0.0.1\nsearch ours.test\n",
        );
        let world = World::prepare(sandbox).await;
        let _said = world.ctl(&ALICE, &["ns", "rm", "demo"]).ok();
        let add =
            |domain: &str| world.ctl(&ALICE, &["ns", "add", "demo", "--wait", "--domain", domain]);
        add("corp.internal").says(2, &["corp.internal", "names.domains", "within test"]);
        let added = add("ours.test");
        let told =
            "echo.ours.test, multi.ours.test, store.ours.test and 1 more: it is in a domain of";
        assert!(added.err.contains(told), "{added}");
        assert!(net::resolve("web.ours.test").is_empty());
        world
            .ctl(&ALICE, &["names", "allow", "ours.test"])
            .says(4, &["only root"]);
        let allowed = world.system.ctl(&["names", "allow", "ours.test"]);
        assert!(allowed.err.contains("can now hide servers"), "{allowed}");
        eventually("the name is there", || net::resolve("web.ours.test").pop());
        let listed = world.system.json(&["names", "ls"]);
        let expected = serde_json::json!([{"suffix": "ours.test", "configured": false}]);
        assert_eq!(listed["suffixes"], expected);
        let _said = world.system.ctl(&["names", "deny", "ours.test"]).ok();
        eventually("the name is gone", || {
            net::resolve("web.ours.test").is_empty().then_some(())
        });
        world
            .system
            .ctl(&["names", "allow", "localhost"])
            .says(2, &["never given"]);
        world
            .system
            .ctl(&["names", "deny", "lan"])
            .says(6, &["names ls"]);
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
