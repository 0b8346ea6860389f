//! What is in the cluster of the scene.

use kubefwd_tests::{Behaviour, Namespace, PodHealth, Service, ServicePort, Workload};

/// Pods of stateful sets, whose names are the same in every run.
fn workload(name: &str) -> Workload {
    Workload::stateful_set(name)
        .listen("http", 8080, Behaviour::Http)
        .log_line(format!("{name} says hello"))
}

fn http() -> ServicePort {
    ServicePort::tcp(80).name("http").target("http")
}

pub(crate) fn service(name: &str) -> Service {
    Service::new(name).port(http())
}

fn metrics() -> ServicePort {
    ServicePort::tcp(9090).name("metrics").target("metrics")
}

/// A service of every kind and in every state.
pub(crate) fn demo() -> Namespace {
    let web = workload("web").listen("metrics", 9091, Behaviour::Http);
    let echo = Workload::stateful_set("echo").listen("echo", 7000, Behaviour::Echo);
    let idle = Workload::pod("idle")
        .listen("http", 8080, Behaviour::Http)
        .health(PodHealth::NotReady);
    let taken = service("taken")
        .selects("app", "web")
        .port(ServicePort::tcp(7001).name("more").target("http"));
    Namespace::new("demo")
        .workload(web)
        .workload(echo)
        .workload(idle)
        .workload(workload("peers").replicas(2))
        .service(service("web").label("tier", "front"))
        .service(service("multi").selects("app", "web").port(metrics()))
        .service(Service::new("echo").port(ServicePort::tcp(7000)))
        .service(
            Service::new("peers")
                .headless()
                .port(ServicePort::tcp(8080).name("http").target("http")),
        )
        .service(
            Service::new("dns")
                .selects("app", "web")
                .port(ServicePort::udp(53).name("dns")),
        )
        .service(Service::new("ext").external_name("db.example.internal"))
        .service(service("idle"))
        .service(service("nopods"))
        .service(service("printer").selects("app", "web"))
        .service(taken)
        .workload(Workload::pod("shut").closed("http", 8080))
        .service(service("shut"))
        .service(
            Service::new("blocked")
                .selects("app", "web")
                .port(ServicePort::tcp(7002).target("http")),
        )
}

/// One service is selected, one is added on its own, one is left.
pub(crate) fn other() -> Namespace {
    let front = |name: &str| {
        service(name)
            .selects("app", "shop")
            .label("tier", "front")
            .label("app", "shop")
    };
    Namespace::new("other")
        .workload(workload("shop"))
        .service(front("shop-api"))
        .service(front("shop-test"))
        .service(service("single").selects("app", "shop").port(metrics()))
        .service(service("extra").selects("app", "shop"))
}
