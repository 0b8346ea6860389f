//! What the daemon keeps on disk, and what it does when the disk does not.

use std::fs;
use std::path::Path;

use kubefwd_tests::Credential;
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::system::run as run_program;
use kubefwd_tests::harness::{Options, Sandbox, System, eventually, net};
use nix::mount::{MsFlags, mount};

use crate::support::{add, forwarding, no_warning, prepared, warning};

/// A small disk of its own for the state.
fn small_disk(sandbox: &Sandbox) {
    let state = sandbox.path("state");
    fs::create_dir(&state).unwrap();
    let options = Some("size=256k,mode=700");
    mount(
        Some("tmpfs"),
        &state,
        Some("tmpfs"),
        MsFlags::empty(),
        options,
    )
    .unwrap();
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let error = fs::write(path, vec![0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

fn forwarded(system: &System) -> Vec<String> {
    let all = system.ctl(&["svc", "ls", "-o", "name"]).ok();
    all.lines().map(str::to_owned).collect()
}

#[test]
fn a_full_disk_is_said_and_what_was_not_saved_is_saved_later() {
    run(async |sandbox| {
        small_disk(&sandbox);
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        system.start_daemon();
        let ballast = sandbox.path("state/ballast");
        fill(&ballast);
        add(&system);
        assert!(
            net::get("web", 80).contains("pod: web-"),
            "it works all the same"
        );
        let said = warning(&system, "cannot save the state");
        assert!(said.contains("No space left"), "{said}");
        fs::remove_file(&ballast).unwrap();
        no_warning(&system);
        let before = forwarded(&system);
        system.kill_daemon();
        system.start_daemon();
        assert_eq!(forwarded(&system), before);
    });
}

#[test]
fn a_daemon_starts_on_a_full_disk_and_keeps_what_is_there() {
    run(async |sandbox| {
        small_disk(&sandbox);
        let (_cluster, mut system) = forwarding(&sandbox, Options::default()).await;
        let before = forwarded(&system);
        system.stop_daemon();
        let _gone = fs::remove_file(sandbox.path("state/lock"));
        fill(&sandbox.path("state/ballast"));
        system.start_daemon();
        assert_eq!(forwarded(&system), before);
        let _said = system.ctl(&["ns", "rm", "demo"]).ok();
        let _said = warning(&system, "No space left");
    });
}

#[test]
fn a_read_only_directory_is_read_and_said() {
    run(async |sandbox| {
        small_disk(&sandbox);
        let (_cluster, mut system) = forwarding(&sandbox, Options::default()).await;
        let before = forwarded(&system);
        system.stop_daemon();
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let none: Option<&str> = None;
        mount(none, &sandbox.path("state"), none, flags, none).unwrap();
        system.start_daemon();
        assert_eq!(forwarded(&system), before);
        let _said = system.ctl(&["ns", "rm", "demo"]).ok();
        let said = warning(&system, "cannot save the state");
        assert!(said.contains("Read-only"), "{said}");
        system.stop_daemon();
    });
}

#[test]
fn a_file_that_cannot_be_used_is_kept_aside_and_said() {
    run(async |sandbox| {
        let (_cluster, mut system) = forwarding(&sandbox, Options::default()).await;
        for (text, why) in [
            ("{\"version\": 1, \"state\": {", "damaged"),
            ("not even that", "damaged"),
            ("{\"version\": 7, \"future\": true}", "version 7"),
        ] {
            system.stop_daemon();
            fs::write(sandbox.path("state/state.json"), text).unwrap();
            system.start_daemon();
            let said = warning(&system, why);
            assert!(forwarded(&system).is_empty());
            let aside = said.split_whitespace().find(|word| word.contains(".bad-"));
            let aside = aside.unwrap().trim_end_matches(['.', ';', ',']);
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
            add(&system);
        }
    });
}

#[test]
fn after_a_reboot_everything_is_back_with_the_same_addresses() {
    run(async |sandbox| {
        let (_cluster, mut system) = forwarding(&sandbox, Options::default()).await;
        let (names, hosts) = (forwarded(&system), system.hosts());
        // As a machine that loses power: the hosts file keeps its names, nothing else of the daemon is there.
        system.kill_daemon();
        let _gone = fs::remove_file(system.socket());
        system.start_daemon();
        assert_eq!((forwarded(&system), system.hosts()), (names, hosts));
        assert!(net::get("web", 80).contains("pod: web-"));
    });
}

#[test]
fn secrets_are_not_kept_and_what_needs_them_says_what_to_do() {
    run(async |sandbox| {
        let (cluster, mut system) = prepared(&sandbox, Options::default()).await;
        let token = cluster.token("admin", None).unwrap();
        let answer = format!(
            r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}"}}}}"#
        );
        let plugin = sandbox.path("plugin.sh");
        let script = format!(
            "#!/bin/sh\n[ \"$AWS_SESSION_TOKEN\" = secret ] || {{ echo 'please log in' >&2; exit 1; }}\necho '{answer}'\n"
        );
        fs::write(&plugin, script).unwrap();
        fs::set_permissions(&plugin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let credential = Credential::Exec {
            command: plugin.display().to_string(),
            args: Vec::new(),
            env: Vec::new(),
        };
        fs::write(
            sandbox.path("kubeconfig"),
            cluster.kubeconfig_with(credential).yaml(),
        )
        .unwrap();
        system.start_daemon();
        let mut command = system.command(&["ns", "add", "demo", "--wait"]);
        let _said = run_program(command.env("AWS_SESSION_TOKEN", "secret")).ok();
        system.restart_daemon();
        let saved = fs::read_to_string(sandbox.path("state/state.json")).unwrap();
        assert!(!saved.contains("\"secret\""), "{saved}");
        let namespace = eventually("the namespace says that it needs credentials", || {
            let all = system.try_json(&["ns", "ls"])?;
            let namespace = all["namespaces"][0].clone();
            let text = namespace.to_string();
            text.contains("please log in").then_some(text)
        });
        for text in ["AWS_SESSION_TOKEN", "run `kubefwdctl context ls`"] {
            assert!(namespace.contains(text), "{namespace}");
        }
        let mut command = system.command(&["context", "ls"]);
        let _said = run_program(command.env("AWS_SESSION_TOKEN", "secret")).ok();
        let _web = system.service_in("web.demo.sim", "active");
        assert!(net::get("web", 80).contains("pod: web-"));
    });
}
