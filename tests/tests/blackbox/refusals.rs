//! What is refused, and what is then said.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::harness::{System, eventually};
use kubefwd_tests::{Cluster, Credential, write_exec_plugin};

use crate::support::{config, content, demo, forward, forwarded, listed, ready, ready_with};

#[test]
fn a_namespace_that_does_not_exist() {
    run_anywhere(async |sandbox| {
        let (_target, system) = ready(&sandbox).await;
        system
            .ctl(&["ns", "add", "dmeo"])
            .refuses(6, &["namespace", "dmeo"]);
        assert_eq!(system.ctl(&["ns", "ls", "-o", "name"]).ok(), "");
    });
}

#[test]
fn a_server_that_speaks_no_tls() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = plain.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in plain.incoming().map_while(Result::ok) {
                let _gone =
                    std::io::Write::write_all(&mut &stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
        let path = sandbox.path("plain");
        let kubeconfig = cluster.kubeconfig("admin").unwrap();
        kubeconfig
            .server(format!("https://{address}"))
            .write(&path)
            .unwrap();
        system
            .ctl_with(&path, &["ns", "add", "demo"])
            .refuses(1, &[&address.to_string()]);
    });
}

#[test]
fn a_host_that_does_not_resolve() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        let path = sandbox.path("nowhere");
        let kubeconfig = cluster.kubeconfig("admin").unwrap();
        kubeconfig
            .server("https://no-such-host.invalid:6443")
            .write(&path)
            .unwrap();
        system
            .ctl_with(&path, &["ns", "add", "demo"])
            .refuses(1, &["no-such-host.invalid"]);
    });
}

#[test]
fn a_plugin_that_needs_a_terminal() {
    run(async |sandbox| {
        let cluster = Cluster::builder()
            .namespace(content("demo"))
            .start()
            .await
            .unwrap();
        let token = cluster.token("admin", None).unwrap();
        let credential = write_exec_plugin(&sandbox.path("plugin"), &token, None).unwrap();
        let yaml = cluster.kubeconfig_with(credential).yaml();
        let always = yaml.replace("interactiveMode: Never", "interactiveMode: Always");
        assert_ne!(always, yaml);
        let system = System::start_with(&sandbox, &always, Default::default());
        system.ctl(&["ns", "add", "demo"]).refuses(1, &["terminal"]);
        assert!(
            !sandbox.path("plugin.log").exists(),
            "it was not even started"
        );
    });
}

#[test]
fn more_services_than_allowed() {
    run_anywhere(async |sandbox| {
        let options = config("[limits]\nservices_per_user = 2\n");
        let (target, system) = ready_with(&sandbox, content("demo"), options).await;
        let _said = system.ctl(&["ns", "add", target.namespace()]).ok();
        eventually("two of all services are forwarded", || {
            (listed(&system).len() == 2).then_some(())
        });
        let says = |text: &str| {
            text.contains("more than 2 services") && text.contains("limits.services_per_user")
        };
        eventually("the log says so", || says(&system.log()).then_some(()));
        eventually("the namespace says so", || {
            says(&system.ctl(&["ns", "ls"]).ok()).then_some(())
        });
    });
}

#[test]
fn a_configuration_value_that_cannot_be_meant() {
    run_anywhere(async |sandbox| {
        let (_target, system) = ready(&sandbox).await;
        fs::write(
            sandbox.path("kubefwdd.toml"),
            "[addresses]\nrange = \"127.0.0.0\"\n",
        )
        .unwrap();
        let answer = system.kubefwdd(&["check-config"]);
        assert_ne!(answer.code, 0, "{answer}");
        assert!(answer.err.contains("addresses.range"), "{answer}");
        fs::write(sandbox.path("kubefwdd.toml"), "").unwrap();
        let _said = system.kubefwdd(&["check-config"]).ok();
    });
}

#[test]
fn something_else_on_the_socket() {
    run_anywhere(async |sandbox| {
        let (_target, system) = ready(&sandbox).await;
        let file = sandbox.path("no-socket");
        fs::write(&file, "").unwrap();
        let file = file.display().to_string();
        let answer = system.ctl(&["status", "--socket", &file]);
        answer.refuses(
            5,
            &[
                "cannot reach the kubefwd daemon",
                &format!("{file} is not a socket"),
            ],
        );
    });
}

#[test]
fn a_state_file_that_cannot_be_read_is_kept_aside() {
    run_anywhere(async |sandbox| {
        let (target, mut system) = ready(&sandbox).await;
        forward(&target, &system);
        system.stop_daemon();
        let state = sandbox.path("state");
        let files = || {
            fs::read_dir(&state)
                .unwrap()
                .flatten()
                .map(|entry| entry.path())
        };
        let file = files()
            .find(|path| path.extension().is_some_and(|end| end == "json"))
            .unwrap();
        fs::write(&file, "{ broken").unwrap();
        system.start_daemon();
        assert_eq!(system.ctl(&["ns", "ls", "-o", "name"]).ok(), "");
        let kept = files().any(|path| fs::read(&path).is_ok_and(|text| text == b"{ broken"));
        assert!(kept, "the broken file is still there");
    });
}

#[test]
fn a_daemon_that_does_not_run() {
    run_anywhere(async |sandbox| {
        let system = System::prepare(&sandbox, "", Default::default());
        system
            .ctl(&["status"])
            .refuses(5, &["the kubefwd daemon is not running"]);
        // Nobody listens behind this socket any more.
        drop(UnixListener::bind(system.socket()).unwrap());
        system.ctl(&["ns", "ls"]).refuses(5, &[]);
    });
}

#[test]
fn a_second_daemon() {
    run_anywhere(async |sandbox| {
        let (_target, system) = ready(&sandbox).await;
        let second = system.kubefwdd(&[]);
        second.says(1, &["another kubefwdd (pid ", "stop it first"]);
        let _said = system.ctl(&["status"]).ok();
    });
}

#[test]
fn an_unknown_configuration_key() {
    run_anywhere(async |sandbox| {
        let options = config("[names]\nallow_sufixes = [\"dev\"]\n");
        let system = System::prepare(&sandbox, "", options);
        system.kubefwdd(&[]).says(
            78,
            &[
                "names.allow_sufixes",
                "did you mean \"names.allow_suffixes\"",
            ],
        );
    });
}

#[test]
fn kubeconfigs() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let namespace = target.namespace();
        let with = |name: &str| system.ctl_with(&sandbox.path(name), &["ns", "add", namespace]);
        with("none").refuses(1, &["no kubeconfig found"]);
        fs::write(sandbox.path("broken"), "clusters: [").unwrap();
        with("broken").says(1, &["broken", "line 1"]);
        system
            .ctl(&["ns", "add", namespace, "--context", "smi"])
            .says(6, &["context \"smi\" does not exist", "sim"]);
        fs::write(sandbox.path("empty"), "apiVersion: v1\nkind: Config\n").unwrap();
        with("empty").says(6, &["no context was given", "--context"]);
        let recorded = system.ctl(&["ns", "ls", "-o", "name"]).ok();
        assert_eq!(recorded, "", "nothing was recorded");
    });
}

#[test]
fn clusters() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        let admin = || cluster.kubeconfig("admin").unwrap();
        let with = |name: &str, yaml: String| {
            fs::write(sandbox.path(name), yaml).unwrap();
            system.ctl_with(&sandbox.path(name), &["ns", "add", "demo"])
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let down = admin().server(format!("https://{address}"));
        with("down", down.yaml()).refuses(1, &["connection refused"]);

        let expired = cluster.client_certificate("admin", Duration::ZERO).unwrap();
        let expired = cluster.kubeconfig_with(Credential::Certificate(expired));
        with("expired", expired.yaml()).says(1, &["expired"]);

        let token = cluster.kubeconfig_with(Credential::Token("wrong".into()));
        with("token", token.yaml()).refuses(1, &[]);

        let other = Cluster::builder().start().await.unwrap();
        let untrusted = other.kubeconfig("admin").unwrap().server(cluster.url());
        with("untrusted", untrusted.yaml()).says(1, &["certificate"]);
    });
}

#[test]
fn credential_plugins() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        let script = |name: &str, content: &str| {
            let path = sandbox.path(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        };
        let add = |name: &str, command: String| {
            let credential = Credential::Exec {
                command,
                args: Vec::new(),
                env: Vec::new(),
            };
            let path = sandbox.path(name);
            cluster.kubeconfig_with(credential).write(&path).unwrap();
            system.ctl_with(&path, &["ns", "add", "demo"])
        };
        add("missing", "no-such-plugin".into()).refuses(1, &["no-such-plugin"]);
        let rubbish = script("rubbish.sh", "#!/bin/sh\necho rubbish\n");
        add("rubbish", rubbish).says(1, &["rubbish.sh"]);
        let failing = script("failing.sh", "#!/bin/sh\necho log in first >&2\nexit 3\n");
        add("failing", failing).says(1, &["failing.sh", "log in first"]);
    });
}

#[test]
fn a_port_that_is_taken() {
    run_anywhere(async |sandbox| {
        let _taken = TcpListener::bind("0.0.0.0:7000").unwrap();
        let (target, system) = ready(&sandbox).await;
        let own = format!("pid {}", std::process::id());
        let texts = ["port 7000 of 127.", "is taken by", &own, "--port-map"];
        system
            .ctl(&["ns", "add", target.namespace(), "--wait=10s"])
            .says(3, &texts);
        // That port alone: everything else answers.
        assert!(pod("web", 80).starts_with("web-"));
    });
}

#[test]
fn unknown_keys_and_ambiguous_ones() {
    run_anywhere(async |sandbox| {
        let (target, system) = forwarded(&sandbox).await;
        let missing = format!("{}/nope", target.namespace());
        for (args, code, texts) in [
            (
                &["ns", "rm", "nope"][..],
                6,
                &["\"nope\" is not forwarded", "kubefwdctl ns ls"][..],
            ),
            (
                &["svc", "rm", "nope"],
                6,
                &["\"nope\" is not forwarded", "kubefwdctl svc ls"],
            ),
            (&["svc", "add", &missing], 6, &["nope"]),
            (&["fwd", "reconnect", "nope"], 6, &["nope"]),
            (&["ns", "add", "Not_A_Name"], 2, &["Not_A_Name", "only a-z"]),
            (&["ns", "frobnicate"], 2, &["frobnicate"]),
        ] {
            system.ctl(args).says(code, texts);
        }
    });
}
