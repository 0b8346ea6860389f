//! More than one user: plugins run as who owns the kubeconfig, files are read with that user's rights, others stay out.
//! Needs root, to become other users; the user database is a private copy.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use kubefwd_tests::Credential;

use crate::system::{Printed, System};
use crate::target::Sim;
use crate::{Case, Needs, case, sandbox};

pub(crate) const CASES: &[Case] = &[
    case(
        "users::a_worker_is_its_user_and_nothing_more",
        Needs::Users,
        identity,
    ),
    case(
        "users::a_plugin_runs_as_the_user_with_the_user_s_environment",
        Needs::Users,
        plugin,
    ),
    case(
        "users::files_that_only_root_may_read_are_refused",
        Needs::Users,
        files,
    ),
    case(
        "users::who_is_not_in_the_group_stays_out",
        Needs::Users,
        outsider,
    ),
    case("users::two_users_do_not_meet", Needs::Users, two),
];

const ALICE: u32 = 64_001;
const BOB: u32 = 64_002;

/// Users alice and bob in group kubefwd, and mallory who is not, in private copies of the user database.
fn users(system: &System) {
    let add = |file: &str, lines: &str| {
        let copy = system.dir.path().join(file.replace('/', "_"));
        fs::write(&copy, fs::read_to_string(file).unwrap() + lines).unwrap();
        sandbox::bind_over(&copy, Path::new(file));
    };
    let home = system.dir.path().display();
    let line = |name: &str, uid: u32| format!("{name}:x:{uid}:{uid}::{home}/{name}:/bin/sh\n");
    add(
        "/etc/passwd",
        &(line("alice", ALICE) + &line("bob", BOB) + &line("mallory", 64_003)),
    );
    add("/etc/group", "kubefwd:x:64100:alice,bob\n");
    for (name, uid) in [("alice", ALICE), ("bob", BOB)] {
        let home = system.dir.path().join(name);
        fs::create_dir(&home).unwrap();
        chown(&home, Some(uid), Some(uid)).unwrap();
    }
}

fn sim_and_system() -> (Sim, System) {
    let sim = Sim::demo();
    let system = System::prepare(&sim.kubeconfig());
    users(&system);
    // Programs that other users may run, wherever this was built.
    let programs = system.dir.path().join("bin");
    fs::create_dir(&programs).unwrap();
    for name in ["kubefwd-worker", "kubefwdctl"] {
        fs::copy(crate::system::program(name), programs.join(name)).unwrap();
    }
    let worker = programs.join("kubefwd-worker").display().to_string();
    let mut system = system.with_flag("--worker").with_flag(&worker);
    system.start_daemon();
    (sim, system)
}

/// The client as another user, with a kubeconfig of that user's own.
fn ctl_as(system: &System, uid: u32, name: &str, kubeconfig: &Path, arguments: &[&str]) -> Printed {
    let mut command = Command::new(system.dir.path().join("bin/kubefwdctl"));
    command
        .args(arguments)
        .uid(uid)
        .gid(uid)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", system.dir.path().join(name))
        .env("KUBECONFIG", kubeconfig)
        .env("KUBEFWD_SOCKET", system.socket())
        .env("AWS_PROFILE", "of-alice")
        .env("LD_PRELOAD", "");
    Printed::of(command.output().unwrap())
}

fn own(system: &System, name: &str, content: &str, uid: u32, mode: u32) -> std::path::PathBuf {
    let path = system.write(name, content);
    chown(&path, Some(uid), Some(uid)).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path
}

fn identity() {
    let (sim, system) = sim_and_system();
    let kubeconfig = own(&system, "alice.kubeconfig", &sim.kubeconfig(), ALICE, 0o600);
    let added = ctl_as(
        &system,
        ALICE,
        "alice",
        &kubeconfig,
        &["ns", "add", "demo", "--wait"],
    );
    assert_eq!(added.code, 0, "{added:?}");
    assert!(crate::net::get("web", 80, "/").contains("pod: web-"));
    let workers = system.workers();
    assert_eq!(workers.len(), 1);
    let status = fs::read_to_string(format!("/proc/{}/status", workers[0])).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), vec![ALICE.to_string(); 4]);
    assert_eq!(field("Gid:"), vec![ALICE.to_string(); 4]);
    let mut groups = field("Groups:");
    groups.sort();
    assert_eq!(groups, ["64001", "64100"]);
    assert_eq!(
        field("NoNewPrivs:"),
        ["0"],
        "plugins may be setuid programs"
    );
    assert_eq!(field("CapEff:"), ["0000000000000000"]);
    // Standard streams, the channel, and what the worker opened itself; no file of the daemon's.
    let state = system.dir.path().join("state");
    for link in fs::read_dir(format!("/proc/{}/fd", workers[0]))
        .unwrap()
        .flatten()
    {
        let target = fs::read_link(link.path()).unwrap_or_default();
        assert!(!target.starts_with(&state), "{target:?}");
    }
}

fn plugin() {
    let (sim, system) = sim_and_system();
    let token = sim.cluster.token("admin", None).unwrap();
    let seen = system.dir.path().join("alice/seen");
    let answer = format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}"}}}}"#
    );
    let script = format!(
        "#!/bin/sh\n{{ id -u; echo \"$HOME\"; echo \"$AWS_PROFILE\"; echo \"preload:$LD_PRELOAD\"; }} > {}\necho '{answer}'\n",
        seen.display()
    );
    let command = own(&system, "plugin.sh", &script, ALICE, 0o755)
        .display()
        .to_string();
    let credential = Credential::Exec {
        command,
        args: Vec::new(),
        env: Vec::new(),
    };
    let yaml = sim.cluster.kubeconfig_with(credential).yaml();
    let kubeconfig = own(&system, "alice.kubeconfig", &yaml, ALICE, 0o600);
    let added = ctl_as(
        &system,
        ALICE,
        "alice",
        &kubeconfig,
        &["ns", "add", "demo", "--wait"],
    );
    assert_eq!(added.code, 0, "{added:?}");
    let home = system.dir.path().join("alice").display().to_string();
    let seen = fs::read_to_string(seen).unwrap();
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        [&ALICE.to_string(), &home, "of-alice", "preload:"]
    );
}

fn files() {
    let (sim, system) = sim_and_system();
    let secret = own(&system, "root-only", "secret\n", 0, 0o600);
    let token = Credential::TokenFile(secret.clone());
    let certificate = Credential::CertificateFiles {
        certificate: secret.clone(),
        key: secret.clone(),
    };
    for (name, credential) in [("token", token), ("key", certificate)] {
        let yaml = sim.cluster.kubeconfig_with(credential).yaml();
        let kubeconfig = own(&system, name, &yaml, ALICE, 0o600);
        let refused = ctl_as(&system, ALICE, "alice", &kubeconfig, &["ns", "add", "demo"]);
        refused.failed_with(1, &["root-only", "ermission denied"]);
    }
    let kubeconfig = own(&system, "kubeconfig-of-root", &sim.kubeconfig(), 0, 0o600);
    let refused = ctl_as(&system, ALICE, "alice", &kubeconfig, &["ns", "add", "demo"]);
    refused.failed_with(1, &["kubeconfig-of-root", "ermission denied"]);
}

fn outsider() {
    let (sim, system) = sim_and_system();
    let kubeconfig = own(&system, "m", &sim.kubeconfig(), 64_003, 0o600);
    let refused = ctl_as(
        &system,
        64_003,
        "mallory",
        &kubeconfig,
        &["ns", "add", "demo"],
    );
    refused.failed_with(
        4,
        &[
            "mallory is not root and not in group kubefwd",
            "usermod -aG kubefwd mallory",
        ],
    );
    let version = ctl_as(&system, 64_003, "mallory", &kubeconfig, &["version"]);
    assert_eq!(version.code, 0, "{version:?}");
}

fn two() {
    let (sim, system) = sim_and_system();
    for (name, uid) in [("alice", ALICE), ("bob", BOB)] {
        let kubeconfig = own(
            &system,
            &format!("{name}.kubeconfig"),
            &sim.kubeconfig(),
            uid,
            0o600,
        );
        let added = ctl_as(
            &system,
            uid,
            name,
            &kubeconfig,
            &["ns", "add", "demo", "--wait"],
        );
        assert_eq!(added.code, 0, "{added:?}");
    }
    assert_eq!(system.workers().len(), 2);
    let kubeconfig = system.dir.path().join("bob.kubeconfig");
    let removed = ctl_as(&system, BOB, "bob", &kubeconfig, &["ns", "rm", "demo"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    let listing = ctl_as(&system, ALICE, "alice", &kubeconfig, &["svc", "ls"]);
    assert!(
        listing.out.contains("web") && listing.out.contains("active"),
        "{listing:?}"
    );
    let listing = ctl_as(
        &system,
        BOB,
        "bob",
        &kubeconfig,
        &["svc", "ls", "-o", "name"],
    );
    assert_eq!(listing.out, "", "bob sees only his own");
    assert!(crate::net::get("web", 80, "/").contains("pod: web-"));
}
