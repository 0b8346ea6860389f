//! What is refused, and what is then said.

use std::fs;
use std::net::TcpListener;

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{System, eventually};
use kubefwd_tests::{Cluster, write_exec_plugin};

use crate::support::{config, configured, content, demo, listed};

#[test]
fn a_namespace_that_does_not_exist() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
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
    run(async |sandbox| {
        let options = config("[limits]\nservices_per_user = 2\n");
        let (_cluster, system) = configured(&sandbox, content("demo"), options).await;
        let _said = system.ctl(&["ns", "add", "demo"]).ok();
        eventually("two of three services are forwarded", || {
            (listed(&system).len() == 2).then_some(())
        });
        eventually("the limit is said", || {
            let log = system.log();
            (log.contains("more than 2 services") && log.contains("limits.services_per_user"))
                .then_some(())
        });
    });
}

#[test]
fn a_configuration_value_that_cannot_be_meant() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
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
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
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
    run(async |sandbox| {
        let (_cluster, mut system) = demo(&sandbox).await;
        let _said = system.ctl(&["ns", "add", "demo", "--wait"]).ok();
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
