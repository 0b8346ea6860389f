//! What the tests share: a raw client, recorded answers, comparison.

pub(crate) mod capture;
pub(crate) mod client;
pub(crate) mod spdy;

use kubefwd_tests::{Behaviour, Cluster, Namespace, PodHealth, Service, ServicePort, Workload};
use std::time::Duration;

/// The pod of the recordings that serves HTTP on 8080 and 9091.
pub(crate) const WEB: &str = "web-f8c6b9c98-7mgw8";

/// A cluster with the pods of the recordings, whose long waits are short.
pub(crate) async fn recorded_cluster() -> Cluster {
    let web = Workload::pod(WEB)
        .label("app", "web")
        .listen("http", 8080, Behaviour::Http)
        .listen("metrics", 9091, Behaviour::Http);
    let db = |name: &str| {
        let greeting = format!("hello from {name}\n");
        Workload::pod(name)
            .label("app", "db")
            .listen("echo", 5432, Behaviour::Greeting(greeting))
    };
    let victim = |name: &str| {
        Workload::pod(name).listen("echo", 5432, Behaviour::Greeting("hello\n".to_owned()))
    };
    let half_close = Workload::pod("halfclose")
        .listen_undeclared(7001, Behaviour::CountAfterEof(Duration::ZERO))
        .listen_undeclared(7002, Behaviour::CountAfterEof(Duration::from_secs(3)))
        .listen_undeclared(7003, Behaviour::Bye("bye\n".to_owned()));
    Cluster::builder()
        .timing(|timing| {
            timing.close_grace = Duration::from_millis(60);
            timing.pair_timeout = Duration::from_millis(200);
            timing.pod_step = Duration::from_millis(5);
            timing.future_version_wait = Duration::from_millis(20);
        })
        .namespace(
            Namespace::new("demo")
                .workload(web)
                .workload(db("db-0"))
                .workload(db("db-1"))
                .workload(db("db-2"))
                .service(Service::new("web").port(ServicePort::tcp(80).name("http").target("http")))
                .service(
                    Service::new("db")
                        .headless()
                        .port(ServicePort::tcp(5432).name("echo")),
                ),
        )
        .namespace(
            Namespace::new("edge")
                .workload(half_close)
                .workload(
                    Workload::pod("crash")
                        .closed("http", 8080)
                        .health(PodHealth::CrashLoop),
                )
                .workload(
                    Workload::pod("pending")
                        .closed("http", 8080)
                        .health(PodHealth::Pending),
                )
                .workload(victim("victim-spdy"))
                .workload(victim("victim-ws-tunnel"))
                .workload(victim("victim-ws-v4")),
        )
        .start()
        .await
        .expect("the cluster starts")
}
