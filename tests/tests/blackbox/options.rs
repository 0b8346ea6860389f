//! What can be chosen when something is added, and in the configuration.

use std::collections::BTreeSet;

use kubefwd_tests::harness::net::{connect, echo, get, pod, resolve, try_connect};
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::{Behaviour, Namespace, Service, ServicePort, Workload};

use crate::support::{add, config, configured, content, demo, listed};

#[test]
fn a_domain_adds_names() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        let args = [
            "ns",
            "add",
            "demo",
            "--domain",
            "dev.example.test",
            "--wait",
        ];
        let _said = system.ctl(&args).ok();
        for name in [
            "web.dev.example.test",
            "web.demo.svc.cluster.dev.example.test",
            "web",
        ] {
            assert!(get(name, 80).contains("pod: web-"), "{name}");
        }
    });
}

#[test]
fn round_robin_reaches_every_pod_and_primary_stays_with_one() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        let seen = || {
            (0..8)
                .map(|_| pod("web", 80))
                .collect::<BTreeSet<_>>()
                .len()
        };
        let _said = system
            .ctl(&["ns", "add", "demo", "--balance", "round-robin", "--wait"])
            .ok();
        assert_eq!(seen(), 2, "round-robin");
        let _said = system.ctl(&["ns", "rm", "demo"]).ok();
        add(&system);
        assert_eq!(seen(), 1, "primary");
    });
}

#[test]
fn a_port_mapping_of_a_namespace_moves_that_port_of_each_service() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        let _said = system
            .ctl(&["ns", "add", "demo", "--port-map", "80:8081", "--wait"])
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
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        let _said = system
            .ctl(&["svc", "add", "demo/multi:9090", "--wait"])
            .ok();
        assert!(get("multi", 9090).contains("pod: web-"));
        assert!(
            try_connect("multi", 80).is_err(),
            "port 80 was not asked for"
        );
        assert_eq!(listed(&system), ["multi.demo.sim"]);
    });
}

#[test]
fn a_field_selector_chooses() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        let args = ["ns", "add", "demo", "-f", "metadata.name=echo", "--wait"];
        let _said = system.ctl(&args).ok();
        assert_eq!(listed(&system), ["echo.demo.sim"]);
        echo(&mut connect("echo", 7000), b"hello");
    });
}

#[test]
fn dashed_names_are_an_option() {
    run(async |sandbox| {
        let options = config("[names]\ndashed = true\n");
        let (_cluster, system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
        assert_eq!(resolve("web-demo"), resolve("web"));
        assert!(get("web-demo", 80).contains("pod: web-"));
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
        assert_eq!(service["refusedHostnames"], serde_json::json!([]));
    });
}

#[test]
fn addresses_come_from_the_configured_range_and_its_reservations() {
    run(async |sandbox| {
        let options = config(
            "[addresses]\nrange = \"127.64.0.0/10\"\n[addresses.reserve]\n\"echo.demo\" = \"127.70.7.7\"\n",
        );
        let (_cluster, system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
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
