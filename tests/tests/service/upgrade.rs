//! Programs of different versions, and state of an older one.

use std::fs;

use kubefwd_tests::harness::programs::worker_of_another_version;
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{Options, eventually, net};
use serde_json::Value;

use crate::support::{add, prepared, warnings};

/// State files as released versions wrote them, by version. They are never changed; the path of a kubeconfig stands as
/// `@KUBECONFIG@`.
const STATES: [(u64, &str); 1] = [(1, include_str!("../../fixtures/state/v1.json"))];

#[test]
fn state_of_every_version_is_taken_over() {
    run(async |sandbox| {
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        let path = sandbox.path("state/state.json");
        fs::create_dir(sandbox.path("state")).unwrap();
        for (version, text) in STATES {
            let kubeconfig = sandbox.path("kubeconfig").display().to_string();
            let text = text.replace("@KUBECONFIG@", &kubeconfig);
            let saved: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(saved["version"], version);
            fs::write(&path, &text).unwrap();
            system.start_daemon();
            // The demo namespace had an address of its own for each service; they are kept.
            let web = system.service_in("web.demo.sim", "active");
            assert_eq!(web["localIP"], "127.55.0.9", "{web}");
            assert!(net::get("web", 80).contains("pod: web-"));
            assert_eq!(net::resolve("web")[0].to_string(), "127.55.0.9");
            let reserved = system.ctl(&["reserve", "ls"]).ok();
            assert!(reserved.contains("127.55.0.9"), "{reserved}");
            assert!(warnings(&system).is_empty(), "{:?}", warnings(&system));
            system.stop_daemon();
        }
    });
}

#[test]
fn a_worker_of_another_version_is_called_so() {
    run(async |sandbox| {
        let options = Options {
            flags: vec![
                "--worker".to_owned(),
                worker_of_another_version(sandbox.dir()),
            ],
            ..Options::default()
        };
        let (_cluster, mut system) = prepared(&sandbox, options).await;
        system.start_daemon();
        let refused = system.ctl(&["ns", "add", "demo"]).fails(1);
        for text in [
            "it speaks protocol 99",
            "install both from the same package",
        ] {
            assert!(refused.contains(text), "{refused}");
        }
        // What the administrator sees meanwhile; the daemon itself goes on.
        let said = eventually("status names the reason", || {
            let _said = system.ctl(&["ns", "add", "demo"]);
            let status = system.try_json(&["status"])?.to_string();
            status.contains("protocol 99").then_some(status)
        });
        assert!(said.contains("install both"), "{said}");
    });
}

#[test]
fn a_new_daemon_takes_over_from_a_running_one_without_a_loss() {
    run(async |sandbox| {
        let (_cluster, mut system) = prepared(&sandbox, Options::default()).await;
        system.start_daemon();
        add(&system);
        let before = system.json(&["svc", "ls"]);
        // What an upgrade of the package does: other files in the place of the programs, then a restart.
        system.restart_daemon();
        let _web = system.service_in("web.demo.sim", "active");
        let after = system.json(&["svc", "ls"]);
        let addresses = |list: &Value| -> Vec<Value> {
            let services = list["services"].as_array().unwrap();
            services.iter().map(|s| s["localIP"].clone()).collect()
        };
        assert_eq!(addresses(&before), addresses(&after));
    });
}
