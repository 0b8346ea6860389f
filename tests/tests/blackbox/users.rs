//! More than one user: plugins run as who owns the kubeconfig, files are read with that user's rights, others stay out.

use std::fs;
use std::path::{Path, PathBuf};

use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::run_as_root;
use kubefwd_tests::harness::system::run;
use kubefwd_tests::harness::users::{self, ALICE, BOB, KUBEFWD_GROUP, MALLORY, User};
use kubefwd_tests::harness::{Answer, Sandbox, System};
use kubefwd_tests::{Cluster, Credential};

use crate::support::{configured, content};

/// A cluster with the demo content, and a daemon with users.
struct Place {
    sandbox: Sandbox,
    cluster: Cluster,
    system: System,
}

impl Place {
    async fn start(sandbox: Sandbox) -> Self {
        let options = users::create(&sandbox);
        let (cluster, system) = configured(&sandbox, content("demo"), options).await;
        Self {
            sandbox,
            cluster,
            system,
        }
    }

    fn admin(&self) -> String {
        self.cluster.kubeconfig("admin").unwrap().yaml()
    }

    /// The user's kubeconfig with an administrator's rights in the cluster.
    fn kubeconfig(&self, user: &User) -> PathBuf {
        let name = format!("{}.kubeconfig", user.name);
        user.file(&self.sandbox, &name, &self.admin(), 0o600)
    }

    fn ctl(&self, user: &User, kubeconfig: &Path, args: &[&str]) -> Answer {
        let mut command = user.command(&self.sandbox, &self.system, kubeconfig, args);
        command.env("AWS_PROFILE", "of-alice").env("LD_PRELOAD", "");
        run(&mut command)
    }
}

#[test]
fn a_worker_is_its_user_and_nothing_more() {
    run_as_root(async |sandbox| {
        let place = Place::start(sandbox).await;
        let kubeconfig = place.kubeconfig(&ALICE);
        let _said = place
            .ctl(&ALICE, &kubeconfig, &["ns", "add", "demo", "--wait"])
            .ok();
        assert!(pod("web", 80).starts_with("web-"));
        let workers = place.system.workers();
        assert_eq!(workers.len(), 1);
        let status = fs::read_to_string(format!("/proc/{}/status", workers[0])).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let words = line.split_whitespace().skip(1);
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), vec![ALICE.id.to_string(); 4]);
        assert_eq!(field("Gid:"), vec![ALICE.id.to_string(); 4]);
        let mut groups = field("Groups:");
        groups.sort();
        assert_eq!(groups, [ALICE.id.to_string(), KUBEFWD_GROUP.to_string()]);
        assert_eq!(
            field("NoNewPrivs:"),
            ["0"],
            "plugins may be setuid programs"
        );
        assert_eq!(field("CapEff:"), ["0000000000000000"]);
        // Standard streams, the channel, and what the worker opened itself; no file of the daemon's.
        let state = place.sandbox.path("state");
        let open = fs::read_dir(format!("/proc/{}/fd", workers[0])).unwrap();
        for link in open.flatten() {
            let target = fs::read_link(link.path()).unwrap_or_default();
            assert!(!target.starts_with(&state), "{target:?}");
        }
    });
}

#[test]
fn a_plugin_runs_as_the_user_with_the_user_s_environment() {
    run_as_root(async |sandbox| {
        let place = Place::start(sandbox).await;
        let token = place.cluster.token("admin", None).unwrap();
        let seen = place.sandbox.path("alice/seen");
        let answer = format!(
            r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}"}}}}"#
        );
        let script = format!(
            "#!/bin/sh\n{{ id -u; echo \"$HOME\"; echo \"$AWS_PROFILE\"; echo \"preload:$LD_PRELOAD\"; }} > {}\necho '{answer}'\n",
            seen.display()
        );
        let script = ALICE.file(&place.sandbox, "plugin.sh", &script, 0o755);
        let credential = Credential::Exec {
            command: script.display().to_string(),
            args: Vec::new(),
            env: Vec::new(),
        };
        let yaml = place.cluster.kubeconfig_with(credential).yaml();
        let kubeconfig = ALICE.file(&place.sandbox, "with-plugin", &yaml, 0o600);
        let _said = place
            .ctl(&ALICE, &kubeconfig, &["ns", "add", "demo", "--wait"])
            .ok();
        let home = place.sandbox.path("alice").display().to_string();
        let seen = fs::read_to_string(seen).unwrap();
        assert_eq!(
            seen.lines().collect::<Vec<_>>(),
            [&ALICE.id.to_string(), &home, "of-alice", "preload:"]
        );
    });
}

#[test]
fn files_that_only_root_may_read_are_refused() {
    run_as_root(async |sandbox| {
        let place = Place::start(sandbox).await;
        let refused = |kubeconfig: &Path, file: &str| {
            let answer = place.ctl(&ALICE, kubeconfig, &["ns", "add", "demo"]);
            answer.says(1, &[file, "ermission denied"]);
        };
        let secret = users::own(&place.sandbox, "root-only", "secret\n", 0, 0o600);
        let token = Credential::TokenFile(secret.clone());
        let certificate = Credential::CertificateFiles {
            certificate: secret.clone(),
            key: secret.clone(),
        };
        for (name, credential) in [("token", token), ("key", certificate)] {
            let yaml = place.cluster.kubeconfig_with(credential).yaml();
            let kubeconfig = ALICE.file(&place.sandbox, name, &yaml, 0o600);
            refused(&kubeconfig, "root-only");
        }
        let name = "kubeconfig-of-root";
        let kubeconfig = users::own(&place.sandbox, name, &place.admin(), 0, 0o600);
        refused(&kubeconfig, name);
    });
}

#[test]
fn who_is_not_in_the_group_stays_out() {
    run_as_root(async |sandbox| {
        let place = Place::start(sandbox).await;
        let kubeconfig = place.kubeconfig(&MALLORY);
        place
            .ctl(&MALLORY, &kubeconfig, &["ns", "add", "demo"])
            .says(
                4,
                &[
                    "mallory is not root and not in group kubefwd",
                    "usermod -aG kubefwd mallory",
                ],
            );
        let _said = place.ctl(&MALLORY, &kubeconfig, &["version"]).ok();
    });
}

#[test]
fn two_users_do_not_meet() {
    run_as_root(async |sandbox| {
        let place = Place::start(sandbox).await;
        let (alice, bob) = (place.kubeconfig(&ALICE), place.kubeconfig(&BOB));
        for (user, kubeconfig) in [(&ALICE, &alice), (&BOB, &bob)] {
            let _said = place
                .ctl(user, kubeconfig, &["ns", "add", "demo", "--wait"])
                .ok();
        }
        assert_eq!(place.system.workers().len(), 2);
        let _said = place.ctl(&BOB, &bob, &["ns", "rm", "demo"]).ok();
        let listing = place.ctl(&ALICE, &alice, &["svc", "ls"]).ok();
        assert!(
            listing.contains("web") && listing.contains("active"),
            "{listing}"
        );
        let listing = place.ctl(&BOB, &bob, &["svc", "ls", "-o", "name"]).ok();
        assert_eq!(listing, "", "bob sees only his own");
        assert!(pod("web", 80).starts_with("web-"));
    });
}
