//! Thousands of connections, every byte of them checked at both ends.

use std::net::SocketAddr;

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{Options, net};
use kubefwd_tests::stress::integrity::{self, Addresses, Plan};
use kubefwd_tests::{Behaviour, Service, ServicePort, Workload};

use crate::support::{add, configured, content, until};

#[test]
fn no_byte_of_thousands_of_connections_is_lost_or_changed() {
    run(async |sandbox| {
        let namespace = content("demo")
            .workload(Workload::deployment("sink").listen("sink", 7001, Behaviour::Sink))
            .service(Service::new("sink").port(ServicePort::tcp(7001)));
        let (cluster, system) = configured(&sandbox, namespace, Options::default()).await;
        add(&system);
        let address = |name, port| SocketAddr::from((net::resolve(name)[0], port));
        let addresses = Addresses {
            echo: address("echo", 7000),
            sink: address("sink", 7001),
            http: address("web", 80),
        };
        let plan = Plan {
            seed: rand::random(),
            connections: 3000,
            clients: 64,
            largest: 17,
        };
        let wrong = integrity::run(addresses, plan).unwrap();
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "seed {}: {wrong:#?}", plan.seed);
        until("no connection is left in a pod", || {
            cluster.counts().dials_open == 0
        });
    });
}
