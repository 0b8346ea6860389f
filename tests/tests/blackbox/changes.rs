//! What is in the cluster changes; names, addresses and listeners follow, or stay as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kubefwd_tests::harness::System;
use kubefwd_tests::harness::net::{echo_pattern, get, pod, resolve, try_connect, try_get};
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::{Behaviour, Namespace, Service, ServicePort, Workload};

use crate::support::{
    add, answers, content, demo, forward, forwarded, http, name_gone, ready, ready_with, until,
};

#[test]
fn a_replaced_pod_keeps_name_and_address() {
    run_anywhere(async |sandbox| {
        let (target, system) = forwarded(&sandbox).await;
        let key = target.key("echo");
        let before = system.service(&key).unwrap();
        let pod = before["forwards"][0]["podName"].as_str().unwrap();
        target.delete_pod(pod).await;
        until("another pod serves", || {
            let now = system.service(&key).unwrap();
            now["status"] == "active" && now["forwards"][0]["podName"] != pod
        });
        echo_pattern("echo", 7000, 1000);
        let after = system.service(&key).unwrap();
        assert_eq!(after["localIP"], before["localIP"]);
        assert_eq!(after["hostnames"], before["hostnames"]);
        let events = system.ctl(&["events"]).ok();
        assert!(
            events.contains("pod.removed") && events.contains("pod.added"),
            "{events}"
        );
    });
}

#[test]
fn a_rollout_fails_no_new_connection() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        let done = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU32::new(0));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
                std::thread::spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let _body = get("web", 80);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            assert!(cluster.rollout("demo", "web").await);
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        assert!(answered.load(Ordering::Relaxed) > 0);
    });
}

#[test]
fn services_come_change_and_go() {
    run_anywhere(async |sandbox| {
        let (target, system) = forwarded(&sandbox).await;
        let changed = ServicePort::tcp(8081).name("http").target("http");
        target.put_service(Service::new("web").port(changed));
        answers("web", 8081);
        until("the old port is closed", || try_connect("web", 80).is_err());
        let late = Workload::deployment("late").listen("http", 8080, Behaviour::Http);
        target.create_workload(late);
        target.put_service(Service::new("late").port(ServicePort::tcp(80).target(8080)));
        answers("late", 80);
        assert!(pod("late", 80).starts_with("late-"));
        target.delete_service("web");
        until("its names are gone", || {
            !system.hosts_have(&target.host("web"))
        });
        assert!(system.service(&target.key("web")).is_none());
    });
}

#[test]
fn ports_and_selectors_change_live() {
    run_anywhere(async |sandbox| {
        let next = Workload::deployment("next").listen("http", 8080, Behaviour::Http);
        let namespace = content("demo").workload(next);
        let (target, system) = ready_with(&sandbox, namespace, Default::default()).await;
        forward(&target, &system);
        let address = resolve("web");
        target.put_service(Service::new("web").port(http(8088)));
        answers("web", 8088);
        until("the old port is closed", || try_connect("web", 80).is_err());
        target.put_service(Service::new("web").selects("app", "next").port(http(8088)));
        until("the other pods answer", || {
            try_get("web", 8088, "/").is_ok_and(|body| body.contains("pod: next-"))
        });
        assert_eq!(resolve("web"), address);
    });
}

#[test]
fn pods_of_a_headless_service_come_and_go_and_keep_their_addresses() {
    run_anywhere(async |sandbox| {
        let peers = Workload::stateful_set("peers").replicas(2);
        let namespace = Namespace::new("demo")
            .workload(peers.listen("http", 8080, Behaviour::Http))
            .service(Service::new("peers").headless().port(http(8080)));
        let (target, system) = ready_with(&sandbox, namespace, Default::default()).await;
        forward(&target, &system);
        assert_eq!(pod("peers-0.peers", 8080), "peers-0");
        assert_eq!(pod("peers-1.peers", 8080), "peers-1");
        let addresses = (resolve("peers-0.peers"), resolve("peers-1.peers"));
        assert_ne!(addresses.0, addresses.1);
        target.scale("peers", 1).await;
        name_gone("peers-1.peers");
        assert_eq!(pod("peers-0.peers", 8080), "peers-0");
        target.scale("peers", 3).await;
        answers("peers-2.peers", 8080);
        answers("peers-1.peers", 8080);
        target.delete_pod("peers-0").await;
        answers("peers-0.peers", 8080);
        assert_eq!(resolve("peers-0.peers"), addresses.0);
    });
}

#[test]
fn a_namespace_may_come_later() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let later = target.beside("later");
        let name = later.namespace();
        system
            .ctl(&["ns", "add", name])
            .says(6, &[&format!("namespace \"{name}\" does not exist")]);
        let args = ["ns", "add", name, "--context", "sim", "--defer"];
        let _said = system.ctl(&args).ok();
        is_missing(&system, name);
        let api = Workload::deployment("api").listen("http", 8080, Behaviour::Http);
        later.create(
            Namespace::new("later")
                .workload(api)
                .service(Service::new("api").port(ServicePort::tcp(80).target(8080))),
        );
        answers(&later.host("api"), 80);
    });
}

#[test]
fn a_deleted_namespace_is_said_and_comes_back() {
    run_anywhere(async |sandbox| {
        let (target, system) = forwarded(&sandbox).await;
        target.delete();
        is_missing(&system, target.namespace());
        until("no name leads nowhere", || !system.hosts_have("web"));
        target.create(content("demo"));
        answers("web", 80);
    });
}

fn is_missing(system: &System, namespace: &str) {
    until("it is said to be missing", || {
        system
            .namespace(namespace)
            .is_some_and(|n| n.to_string().contains("has no namespace with this name"))
    });
}
