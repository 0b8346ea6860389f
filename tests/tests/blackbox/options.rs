//! What can be chosen when something is added, and in the configuration.

use std::collections::BTreeSet;

use kubefwd_tests::harness::net::{connect, echo, get, pod, resolve, try_connect};
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::harness::{System, Target};
use kubefwd_tests::{Behaviour, Namespace, Service, ServicePort, Workload};

use crate::support::{config, configured, content, forward, listed, ready, ready_with};

#[test]
fn a_domain_adds_names() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let args = [
            "ns",
            "add",
            target.namespace(),
            "--domain",
            "dev.example.test",
            "--wait",
        ];
        let _said = system.ctl(&args).ok();
        for name in [
            "web.dev.example.test",
            &format!("web.{}.svc.cluster.dev.example.test", target.namespace()),
            "web",
        ] {
            assert!(get(name, 80).contains("pod: web-"), "{name}");
        }
    });
}

#[test]
fn round_robin_reaches_every_pod_and_primary_stays_with_one() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let seen = || {
            (0..8)
                .map(|_| pod("web", 80))
                .collect::<BTreeSet<_>>()
                .len()
        };
        let _said = system
            .ctl(&[
                "ns",
                "add",
                target.namespace(),
                "--balance",
                "round-robin",
                "--wait",
            ])
            .ok();
        assert_eq!(seen(), 2, "round-robin");
        let _said = system.ctl(&["ns", "rm", target.namespace()]).ok();
        forward(&target, &system);
        assert_eq!(seen(), 1, "primary");
    });
}

#[test]
fn a_port_mapping_of_a_namespace_moves_that_port_of_each_service() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let _said = system
            .ctl(&[
                "ns",
                "add",
                target.namespace(),
                "--port-map",
                "80:8081",
                "--wait",
            ])
            .ok();
        assert!(get("web", 8081).contains("pod: web-"));
        assert!(get("multi", 8081).contains("pod: web-"));
        assert!(get("multi", 9090).contains("pod: web-"));
        assert!(
            try_connect("web", 80).is_err(),
            "nobody listens on the service's own port"
        );
    });
}

#[test]
fn single_ports_of_a_service_can_be_chosen() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let _said = system
            .ctl(&[
                "svc",
                "add",
                &format!("{}/multi:9090", target.namespace()),
                "--wait",
            ])
            .ok();
        assert!(get("multi", 9090).contains("pod: web-"));
        assert!(
            try_connect("multi", 80).is_err(),
            "port 80 was not asked for"
        );
        assert_eq!(listed(&system), [target.key("multi")]);
    });
}

#[test]
fn a_field_selector_chooses() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let args = [
            "ns",
            "add",
            target.namespace(),
            "-f",
            "metadata.name=echo",
            "--wait",
        ];
        let _said = system.ctl(&args).ok();
        assert_eq!(listed(&system), [target.key("echo")]);
        echo(&mut connect("echo", 7000), b"hello");
    });
}

#[test]
fn dashed_names_are_an_option() {
    run_anywhere(async |sandbox| {
        let options = config("[names]\ndashed = true\n");
        let (target, system) = ready_with(&sandbox, content("demo"), options).await;
        forward(&target, &system);
        let dashed = format!("web-{}", target.namespace());
        assert_eq!(resolve(&dashed), resolve("web"));
        assert!(get(&dashed, 80).contains("pod: web-"));
    });
}

#[test]
fn an_allowed_suffix_gives_the_name_that_is_refused_without() {
    run(async |sandbox| {
        let namespace = Namespace::new("com")
            .workload(Workload::deployment("shop").listen("http", 8080, Behaviour::Http))
            .service(Service::new("shop").port(ServicePort::tcp(80).target("http")));
        let options = config("[names]\nallow_suffixes = [\"com\"]\n");
        let (_cluster, system) = configured(&sandbox, namespace, options).await;
        let _said = system.ctl(&["ns", "add", "com", "--wait"]).ok();
        assert!(get("shop.com", 80).contains("pod: shop-"));
        let service = system.service_in("shop.com.sim", "active");
        assert_eq!(service["refusedNames"], serde_json::json!([]), "{service}");
    });
}

#[test]
fn addresses_come_from_the_configured_range_and_its_reservations() {
    run_anywhere(async |sandbox| {
        let target = Target::start(&sandbox, content("demo")).await;
        let options = config(&format!(
            "[addresses]\nrange = \"127.64.0.0/10\"\n[addresses.reserve]\n\"{}\" = \"127.70.7.7\"\n",
            target.host("echo")
        ));
        let system = System::start_with(&sandbox, &target.kubeconfig(), options);
        forward(&target, &system);
        for name in ["web", "multi", "echo"] {
            let address = resolve(name)[0].to_string();
            let second: u8 = address.split('.').nth(1).unwrap().parse().unwrap();
            assert!(
                address.starts_with("127.") && (64..128).contains(&second),
                "{name} has {address}"
            );
        }
        assert_eq!(resolve("echo")[0].to_string(), "127.70.7.7");
        echo(&mut connect("echo", 7000), b"hello");
    });
}
