//! The cluster changes, fails and comes back; names, addresses and listeners stay as they are.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kubefwd_tests::{Behaviour, Rule, Service, ServicePort, Workload};

use crate::net::{echo, get, try_get};
use crate::system::System;
use crate::target::{Sim, Target};
use crate::{Case, Needs, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "changes::a_replaced_pod_keeps_name_and_address",
        Needs::AnyCluster,
        replaced_pod,
    ),
    case(
        "changes::a_rollout_fails_no_new_connection",
        Needs::Simulated,
        rollout,
    ),
    case(
        "changes::services_come_change_and_go",
        Needs::Simulated,
        services,
    ),
    case(
        "changes::a_namespace_may_come_later",
        Needs::Simulated,
        later_namespace,
    ),
    case(
        "changes::a_deleted_namespace_is_said_and_comes_back",
        Needs::Simulated,
        deleted_namespace,
    ),
    case(
        "changes::the_api_server_may_go_away_and_come_back",
        Needs::Simulated,
        api_server,
    ),
    case(
        "changes::watches_may_be_cut_and_history_lost",
        Needs::Simulated,
        watches,
    ),
    case(
        "changes::forbidden_verbs_are_named",
        Needs::Simulated,
        forbidden,
    ),
    case(
        "changes::pods_are_watched_where_endpointslices_are_forbidden",
        Needs::Simulated,
        no_slices,
    ),
];

fn replaced_pod() {
    let target = Target::start();
    let system = target.system();
    target.add(&system);
    let before = system.service("echo").unwrap();
    let pod = before["forwards"][0]["podName"]
        .as_str()
        .unwrap()
        .to_owned();
    target.delete_pod(&pod);
    system.until("another pod serves", |system| {
        let now = system.service("echo").unwrap();
        now["status"] == "active" && now["forwards"][0]["podName"] != pod.as_str()
    });
    echo("echo", 7, 1000);
    let after = system.service("echo").unwrap();
    assert_eq!(after["localIP"], before["localIP"]);
    assert_eq!(after["hostnames"], before["hostnames"]);
    let events = system.ok(&["events"]);
    assert!(
        events.contains("pod.removed") && events.contains("pod.added"),
        "{events}"
    );
}

fn rollout() {
    let sim = Sim::demo();
    let _system = sim.forwarding();
    let (done, answers) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    get("web", 80, "/");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..3 {
            assert!(sim.runtime.block_on(sim.cluster.rollout("demo", "web")));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(answers.into_inner() > 0);
}

fn services() {
    let sim = Sim::demo();
    let system = sim.forwarding();
    sim.cluster.put_service(
        "demo",
        Service::new("web").port(ServicePort::tcp(8081).target("http")),
    );
    system.until("the new port answers", |_| {
        try_get("web", 8081, "/").is_ok()
    });
    assert!(try_get("web", 80, "/").is_err(), "the old port is closed");
    sim.cluster.create_workload(
        "demo",
        Workload::deployment("late").listen("http", 8080, Behaviour::Http),
    );
    sim.cluster.put_service(
        "demo",
        Service::new("late").port(ServicePort::tcp(80).target(8080)),
    );
    system.until("a new service answers", |_| {
        try_get("late", 80, "/").is_ok()
    });
    assert!(sim.cluster.delete_service("demo", "web"));
    system.until("its names are gone", |system| {
        !system.hosts_have("web.demo")
    });
    assert!(system.service("web").is_none());
}

fn later_namespace() {
    let sim = Sim::demo();
    let system = System::start(&sim.kubeconfig());
    system.fails(
        &["ns", "add", "later"],
        6,
        &["namespace \"later\" does not exist"],
    );
    system.ok(&["ns", "add", "later", "--context", "sim", "--defer"]);
    system.until("it is said to be missing", |system| {
        system
            .namespace("later")
            .is_some_and(|n| n.to_string().contains("has no namespace of this name"))
    });
    sim.cluster.create_namespace("later");
    sim.cluster.create_workload(
        "later",
        Workload::deployment("api").listen("http", 8080, Behaviour::Http),
    );
    sim.cluster.put_service(
        "later",
        Service::new("api").port(ServicePort::tcp(80).target(8080)),
    );
    system.until("it came alive", |_| try_get("api.later", 80, "/").is_ok());
}

fn deleted_namespace() {
    let sim = Sim::demo();
    let system = sim.forwarding();
    sim.cluster.delete_namespace("demo");
    system.until("it is said to be missing", |system| {
        system
            .namespace("demo")
            .is_some_and(|n| n.to_string().contains("has no namespace of this name"))
    });
    system.until("no name leads nowhere", |system| !system.hosts_have("web"));
}

fn api_server() {
    let sim = Sim::demo();
    let mut system = sim.forwarding();
    let address = system.service("web").unwrap()["localIP"].clone();
    sim.runtime.block_on(sim.cluster.stop_api_server());
    system.stop_daemon();
    system.start_daemon();
    assert!(
        system.hosts_have("web"),
        "names are there before the cluster answers"
    );
    assert_eq!(system.service("web").unwrap()["localIP"], address);
    sim.runtime
        .block_on(sim.cluster.start_api_server())
        .unwrap();
    system.until("it answers again", |_| try_get("web", 80, "/").is_ok());
}

fn watches() {
    let sim = Sim::demo();
    let system = sim.forwarding();
    for n in 0..3_u16 {
        sim.cluster.cut_watches();
        sim.cluster.compact();
        let port = 9000 + n;
        sim.cluster.put_service(
            "demo",
            Service::new("web").port(ServicePort::tcp(port).target("http")),
        );
        system.until("the change arrives", |_| try_get("web", port, "/").is_ok());
    }
}

fn forbidden() {
    let sim = Sim::demo();
    sim.cluster.deny(Rule::new(["list"], ["services"]));
    let system = System::start(&sim.kubeconfig());
    let texts = ["list services"];
    let printed = system.ctl(&["ns", "add", "demo"]);
    printed.failed_with(printed.code, &texts);
    assert_ne!(printed.code, 0);
    system.ok(&["ns", "add", "demo", "--context", "sim", "--defer"]);
    system.until("the namespace says so too", |system| {
        system
            .namespace("demo")
            .is_some_and(|n| n.to_string().contains("cannot list services"))
    });
    sim.cluster.clear_denials();
    system.until("it came alive", |_| try_get("web", 80, "/").is_ok());
}

fn no_slices() {
    let sim = Sim::demo();
    sim.cluster
        .deny(Rule::new(["list", "watch", "get"], ["endpointslices"]));
    let system = System::start(&sim.kubeconfig());
    system.ok(&["ns", "add", "demo", "--wait"]);
    assert!(get("web", 80, "/").contains("pod: web-"));
    assert!(get("store-0.store.demo", 8080, "/").contains("pod: store-0"));
    let namespace = system.namespace("demo").unwrap().to_string();
    assert!(namespace.contains("endpointslices"), "{namespace}");
}
