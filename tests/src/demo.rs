//! The demonstration cluster: every shape of service that a forwarder meets.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::builder::{ClusterBuilder, Namespace};
use crate::cluster::Cluster;
use crate::pods::behaviour::Behaviour;
use crate::spec::{PodHealth, Service, ServicePort, Workload};

/// Namespaces `demo`, `edge` and `many`; the last with that many generated services (none: it is left out).
#[must_use]
pub fn cluster(services: usize) -> ClusterBuilder {
    let builder = Cluster::builder().namespace(demo()).namespace(edge());
    if services == 0 {
        return builder;
    }
    builder.namespace(Namespace::new("many").generate_services(services))
}

/// What works: HTTP, echo, a headless StatefulSet, several ports, a named target port, and the two kinds of service that
/// have no pods.
fn demo() -> Namespace {
    Namespace::new("demo")
        .workload(
            Workload::deployment("api")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http)
                .listen("grpc", 9000, Behaviour::H2c)
                .log_line("api listens on :8080"),
        )
        .service(
            Service::new("api")
                .port(ServicePort::tcp(8080).name("http").target("http"))
                .port(ServicePort::tcp(9000).name("grpc").target("grpc")),
        )
        .workload(Workload::deployment("db").listen("postgres", 5432, Behaviour::Echo))
        .service(Service::new("db").port(ServicePort::tcp(5432)))
        .workload(Workload::deployment("grafana").listen("web", 3000, Behaviour::Http))
        .service(Service::new("grafana").port(ServicePort::tcp(3000).target("web")))
        .workload(
            Workload::deployment("web")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http)
                .listen("metrics", 9091, Behaviour::Http)
                .log_line("web starts")
                .log_line("web listens on :8080"),
        )
        .service(
            Service::new("web")
                .port(ServicePort::tcp(80).name("http").target("http"))
                .label("app", "web"),
        )
        .service(
            Service::new("multi")
                .selects("app", "web")
                .port(ServicePort::tcp(80).name("http").target("http"))
                .port(ServicePort::tcp(9090).name("metrics").target("metrics")),
        )
        .workload(
            Workload::stateful_set("store")
                .replicas(3)
                .listen("redis", 6379, Behaviour::Echo)
                .listen("http", 8080, Behaviour::Http),
        )
        .service(
            Service::new("store")
                .headless()
                .port(ServicePort::tcp(6379).name("redis"))
                .port(ServicePort::tcp(8080).name("http")),
        )
        .service(Service::new("ext").external_name("db.example.internal"))
        .service(
            Service::new("legacy")
                .without_selector([Ipv4Addr::new(10, 88, 0, 1)])
                .port(ServicePort::tcp(80).name("http").target(8099)),
        )
}

/// What does not work, or only just: pods that are not ready, crash or wait; no pods; UDP; odd applications.
fn edge() -> Namespace {
    Namespace::new("edge")
        .workload(
            Workload::pod("crash")
                .closed("http", 8080)
                .health(PodHealth::CrashLoop),
        )
        .workload(
            Workload::pod("notready")
                .listen("http", 8080, Behaviour::Http)
                .health(PodHealth::NotReady),
        )
        .service(Service::new("notready").port(ServicePort::tcp(80).target("http")))
        .workload(
            Workload::pod("pending")
                .closed("http", 8080)
                .health(PodHealth::Pending),
        )
        .service(
            Service::new("nomatch")
                .selects("app", "does-not-exist")
                .port(ServicePort::tcp(80).target("http")),
        )
        .workload(Workload::pod("lo-only").listen("tcp", 7000, Behaviour::Echo))
        .service(
            Service::new("udp")
                .selects("app", "lo-only")
                .port(ServicePort::udp(53).name("dns").target(5353)),
        )
        .workload(
            Workload::pod("halfclose")
                .listen_undeclared(7001, Behaviour::CountAfterEof(Duration::ZERO))
                .listen_undeclared(7002, Behaviour::CountAfterEof(Duration::from_secs(3)))
                .listen_undeclared(7003, Behaviour::Bye("bye\n".to_owned())),
        )
        .workload(
            Workload::deployment("bulk")
                .listen("source", 7100, Behaviour::Source(None))
                .listen("sink", 7101, Behaviour::Sink)
                .listen("discard", 7102, Behaviour::Discard)
                .listen("deaf", 7103, Behaviour::NeverRead)
                .listen("greeting", 7104, Behaviour::Greeting("hello\n".to_owned())),
        )
        .service(
            Service::new("bulk")
                .port(ServicePort::tcp(7100).name("source"))
                .port(ServicePort::tcp(7101).name("sink"))
                .port(ServicePort::tcp(7102).name("discard"))
                .port(ServicePort::tcp(7103).name("deaf"))
                .port(ServicePort::tcp(7104).name("greeting")),
        )
}
