//! `forwarding.access`: who may connect to a forwarded port.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use kubefwd_tests::harness::sandbox::run_as_root;
use kubefwd_tests::harness::users::{self, ALICE, BOB, MALLORY, User};
use kubefwd_tests::harness::{Options, Sandbox, System, eventually};

use crate::support::prepared;

/// What curl says when the connection was reset: before it has seen that it is connected, before or after its request.
const RESET: [i32; 3] = [7, 52, 56];

/// `curl http://NAME/` as a user; 0 is root.
fn curl(uid: u32, name: &str) -> i32 {
    let mut command = Command::new("curl");
    command.args(["--silent", "--output", "/dev/null", "--max-time", "60"]);
    command.arg(format!("http://{name}/")).uid(uid).gid(uid);
    let status = command.status().expect("curl is installed");
    status.code().unwrap_or(-1)
}

/// A daemon with users; alice forwards `demo`.
async fn alice_forwards(sandbox: &Sandbox, config: &str) -> (kubefwd_tests::Cluster, System) {
    let options = Options {
        config: config.to_owned(),
        ..users::create(sandbox)
    };
    let (cluster, mut system) = prepared(sandbox, options).await;
    system.start_daemon();
    add(sandbox, &system, &cluster, &ALICE);
    (cluster, system)
}

fn add(sandbox: &Sandbox, system: &System, cluster: &kubefwd_tests::Cluster, user: &User) {
    let yaml = cluster.kubeconfig("admin").unwrap().yaml();
    let kubeconfig = user.file(sandbox, &format!("{}.kubeconfig", user.name), &yaml, 0o600);
    let said = user.ctl(
        sandbox,
        system,
        &kubeconfig,
        &["ns", "add", "demo", "--wait"],
    );
    let _said = said.ok();
}

/// What doctor says of access.
fn findings(system: &System) -> Vec<String> {
    let all = system.try_json(&["doctor"]).unwrap();
    let all = all["findings"]
        .as_array()
        .unwrap_or_else(|| all.as_array().unwrap())
        .clone();
    let about = all.iter().filter(|finding| finding["subject"] == "access");
    about
        .map(|finding| finding["message"].to_string())
        .collect()
}

#[test]
fn with_owner_others_are_reset_and_doctor_says_who() {
    run_as_root(async |sandbox| {
        let config = "[forwarding]\naccess = \"owner\"\n";
        let (_cluster, system) = alice_forwards(&sandbox, config).await;
        for member in [ALICE.id, BOB.id, 0] {
            assert_eq!(curl(member, "web"), 0, "uid {member} may");
        }
        for _ in 0..2 {
            let code = curl(MALLORY.id, "web");
            assert!(RESET.contains(&code), "{code}");
        }
        let said = eventually("doctor says who was refused", || {
            let all = findings(&system);
            all.into_iter().find(|text| text.contains("2 connections"))
        });
        assert!(said.contains(&format!("uid {}", MALLORY.id)), "{said}");
        assert!(said.contains("web.demo.sim:80"), "{said}");
        assert!(system.log().contains("was refused"), "{}", system.log());
        // Joining the group holds at once, and so does leaving it.
        let groups = std::fs::read_to_string("/etc/group").unwrap();
        let joined = groups.replace(":alice,bob", ":alice,bob,mallory");
        std::fs::write("/etc/group", joined).unwrap();
        assert_eq!(curl(MALLORY.id, "web"), 0);
        std::fs::write("/etc/group", groups).unwrap();
        assert!(RESET.contains(&curl(MALLORY.id, "web")));
    });
}

#[test]
fn by_default_ports_close_to_others_with_the_second_user() {
    run_as_root(async |sandbox| {
        let (cluster, mut system) = alice_forwards(&sandbox, "").await;
        assert_eq!(curl(MALLORY.id, "web"), 0, "one user: everyone");
        let said = findings(&system).concat();
        assert!(said.contains("every local user can connect"), "{said}");
        add(&sandbox, &system, &cluster, &BOB);
        eventually("others are reset", || {
            RESET.contains(&curl(MALLORY.id, "web")).then_some(())
        });
        let said = findings(&system).concat();
        assert!(
            said.contains("only the forwarding user, root and group"),
            "{said}"
        );
        for member in [ALICE.id, BOB.id, 0] {
            assert_eq!(curl(member, "web"), 0, "uid {member} may");
        }
        system.configure("[forwarding]\naccess = \"everyone\"\n");
        system.reload();
        eventually("others may again", || {
            (curl(MALLORY.id, "web") == 0).then_some(())
        });
    });
}
