//! Several users at once, with contexts, namespaces and services of the same names.

use std::fs;

use kubefwd_tests::harness::sandbox::{self, run_as_root};
use kubefwd_tests::harness::users::{self, ALICE, BOB, User};
use kubefwd_tests::harness::{System, eventually, net};
use serde_json::Value;

use crate::support::prepared;

/// The keys of services in an answer.
fn keys(answer: &Value) -> Vec<&str> {
    let services = answer["services"].as_array().unwrap();
    services
        .iter()
        .map(|s| s["key"].as_str().unwrap())
        .collect()
}

fn address<'a>(answer: &'a Value, key: &str) -> &'a str {
    let services = answer["services"].as_array().unwrap();
    let service = services
        .iter()
        .find(|service| service["key"] == key)
        .unwrap();
    service["localIP"].as_str().unwrap()
}

#[test]
fn two_users_and_root_share_names_and_nothing_else() {
    run_as_root(async |sandbox| {
        let (cluster, mut system) = prepared(&sandbox, users::create(&sandbox)).await;
        system.start_daemon();
        let yaml = cluster.kubeconfig("admin").unwrap().yaml();
        let alice = ALICE.file(&sandbox, "alice.kubeconfig", &yaml, 0o600);
        let bob = BOB.file(&sandbox, "bob.kubeconfig", &yaml, 0o600);
        let add = ["ns", "add", "demo", "--wait"];
        // All at once: who is first is open, that each gets everything is not.
        let mut clients = [
            ALICE
                .command(&sandbox, &system, &alice, &add)
                .spawn()
                .unwrap(),
            BOB.command(&sandbox, &system, &bob, &add).spawn().unwrap(),
            system.command(&add).spawn().unwrap(),
        ];
        for client in &mut clients {
            assert!(client.wait().unwrap().success());
        }
        let list = ["svc", "ls", "-o", "json"];
        let of_alice = ALICE.ctl(&sandbox, &system, &alice, &list).json();
        let of_bob = BOB.ctl(&sandbox, &system, &bob, &list).json();
        let of_root = system.json(&["svc", "ls"]);
        let mut addresses = Vec::new();
        for answer in [&of_alice, &of_bob, &of_root] {
            assert_eq!(keys(answer).len(), 4, "each sees their own: {answer}");
            addresses.push(address(answer, "web.demo.sim").to_owned());
        }
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 3, "an address each: {addresses:?}");
        // The short name has one owner, and every address serves.
        let owner = net::resolve("web");
        assert_eq!(owner.len(), 1);
        assert!(addresses.contains(&owner[0].to_string()));
        for address in &addresses {
            assert!(net::get(address, 80).contains("pod: web-"));
        }
        let workers: Vec<u64> = system.json(&["status"])["workers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|worker| worker["uid"].as_u64().unwrap())
            .collect();
        assert_eq!(workers, [0, ALICE.id.into(), BOB.id.into()]);

        // Who did not get the short name is told whose it is, and has a longer one that is nobody else's.
        let holder = owner[0].to_string();
        let answers = [(&of_alice, "alice"), (&of_bob, "bob"), (&of_root, "root")];
        let (_, first) = *answers
            .iter()
            .find(|(answer, _)| address(answer, "web.demo.sim") == holder)
            .unwrap();
        for (answer, user) in answers.iter().filter(|(_, user)| *user != first) {
            let services = answer["services"].as_array().unwrap();
            let web = services
                .iter()
                .find(|s| s["key"] == "web.demo.sim")
                .unwrap();
            let lost = web["refusedNames"].as_array().unwrap();
            let short = lost.iter().find(|lost| lost["name"] == "web").unwrap();
            let reason = short["reason"].as_str().unwrap();
            assert_eq!(reason, format!("it leads to a service of user {first}"));
            let hint = short["hint"].as_str().unwrap();
            let own = hint.strip_suffix(" is always yours").expect(user);
            let at = net::resolve(own)[0].to_string();
            assert_eq!(at, address(answer, "web.demo.sim"), "{own}");
        }

        // Bob forwards; what he removes is his own, and his names pass to nobody by themselves.
        let names = |user: &User, path| -> Vec<String> {
            let answer = user.ctl(&sandbox, &system, path, &list).json();
            let services = answer["services"].as_array().unwrap().clone();
            let web = services.iter().find(|s| s["key"] == "web.demo.sim");
            let names = web.map(|web| web["hostnames"].as_array().unwrap().clone());
            let names = names.into_iter().flatten();
            names
                .map(|name| name.as_str().unwrap().to_owned())
                .collect()
        };
        let alices = names(&ALICE, &alice);
        let _said = BOB.ctl(&sandbox, &system, &bob, &["ns", "rm", "demo"]).ok();
        let left = ALICE.ctl(&sandbox, &system, &alice, &list).json();
        assert_eq!(keys(&left).len(), 4);
        if first == "bob" {
            // Root had asked, and comes before everybody else.
            let roots = address(&of_root, "web.demo.sim");
            eventually("the name is root's", || {
                (net::resolve("web").first()?.to_string() == roots).then_some(())
            });
        } else {
            assert_eq!(net::resolve("web")[0].to_string(), holder);
        }
        assert_eq!(names(&ALICE, &alice), alices);
        if first == "bob" {
            // Alice is told what became of the name that she did not get.
            let listed = ALICE.ctl(&sandbox, &system, &alice, &["svc", "ls"]).ok();
            assert!(
                listed.contains("web: it leads to a service of user root"),
                "{listed}"
            );
        }
        let again = BOB.ctl(&sandbox, &system, &bob, &add);
        assert!(
            again
                .err
                .contains("echo, multi, store and 1 more: it leads to"),
            "{again}"
        );
        let _said = again.ok();
        let refused = BOB.ctl(
            &sandbox,
            &system,
            &bob,
            &["ns", "rm", "demo", "--user", "root"],
        );
        refused.refuses(4, &["belongs to user 0"]);
        let _said = system.ctl(&["ns", "rm", "demo", "--user", "bob"]).ok();
        assert!(keys(&BOB.ctl(&sandbox, &system, &bob, &list).json()).is_empty());
    });
}

#[test]
fn membership_is_read_when_it_is_asked_for() {
    run_as_root(async |sandbox| {
        let (cluster, mut system) = prepared(&sandbox, users::create(&sandbox)).await;
        system.start_daemon();
        let yaml = cluster.kubeconfig("admin").unwrap().yaml();
        let alice = ALICE.file(&sandbox, "alice.kubeconfig", &yaml, 0o600);
        let groups = fs::read_to_string("/etc/group").unwrap();
        fs::write("/etc/group", groups.replace(":alice,bob", ":bob")).unwrap();
        let refused = ALICE.ctl(&sandbox, &system, &alice, &["ns", "add", "demo"]);
        refused.refuses(4, &["not in group kubefwd", "usermod -aG kubefwd alice"]);
        fs::write("/etc/group", &groups).unwrap();
        eventually("alice is a member again", || {
            let listed = ALICE.ctl(&sandbox, &system, &alice, &["ns", "ls"]);
            (listed.code == 0).then_some(())
        });
        let _said = ALICE
            .ctl(&sandbox, &system, &alice, &["ns", "add", "demo", "--wait"])
            .ok();
        assert!(net::get("web", 80).contains("pod: web-"));
    });
}

#[test]
fn who_leaves_the_group_or_whose_account_expires_has_no_worker() {
    run_as_root(async |sandbox| {
        let (cluster, mut system) = prepared(&sandbox, users::create(&sandbox)).await;
        system.start_daemon();
        let yaml = cluster.kubeconfig("admin").unwrap().yaml();
        let alice = ALICE.file(&sandbox, "alice.kubeconfig", &yaml, 0o600);
        let add = ["ns", "add", "demo", "--wait"];
        let _said = ALICE.ctl(&sandbox, &system, &alice, &add).ok();
        let groups = fs::read_to_string("/etc/group").unwrap();
        let shadow = fs::read_to_string("/etc/shadow").unwrap();
        let own = format!("alice:!:19000:0:99999:7:::\n{shadow}");
        sandbox::replace_text(&sandbox, "/etc/shadow", &own);
        let worker = |system: &System| {
            let status = system.try_json(&["status"]).unwrap();
            let workers = status["workers"].as_array().unwrap();
            let mut own = workers.iter().filter(|worker| worker["uid"] == ALICE.id);
            own.next().unwrap().clone()
        };
        let refused = |why: &str| {
            eventually(why, || {
                let worker = worker(&system);
                let error = worker["error"].as_str().unwrap_or_default();
                (error.contains(why) && system.workers().is_empty()).then_some(())
            });
        };
        let served = || {
            eventually("the worker is back", || {
                (worker(&system)["status"] == "running").then_some(())
            });
            assert!(net::get("web", 80).contains("pod: web-"));
        };
        served();
        fs::write("/etc/group", groups.replace(":alice,bob", ":bob")).unwrap();
        refused("alice is not in group kubefwd");
        fs::write("/etc/group", &groups).unwrap();
        served();
        // `usermod --expiredate 1`; a locked password, as above, ends nothing.
        fs::write("/etc/shadow", own.replace("7:::\n", "7::1:\n")).unwrap();
        fs::write("/etc/group", &groups).unwrap();
        refused("the account of alice has expired");
        // Nor does it begin again with the daemon.
        system.reload();
        assert!(system.workers().is_empty());
        fs::write("/etc/shadow", &own).unwrap();
        fs::write("/etc/group", &groups).unwrap();
        served();
    });
}
