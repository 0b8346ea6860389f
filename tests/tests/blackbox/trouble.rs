//! Pods, kubelet and API server misbehave; what is forwarded stays or comes back.

use std::io::Read as _;
use std::time::Duration;

use kubefwd_tests::harness::net::{connect, echo, get, pod, resolve};
use kubefwd_tests::harness::sandbox::{run, run_anywhere};
use kubefwd_tests::harness::system::signal;
use kubefwd_tests::harness::{System, eventually};
use kubefwd_tests::{
    Cluster, Kind, RequestEffect, RequestMatch, Rule, Scope, Service, ServicePort, User,
    write_exec_plugin,
};
use nix::sys::signal::Signal;

use crate::support::{
    add, answers, config, configured, content, demo, http, name_gone, ready, ready_with, until,
};

#[test]
fn a_killed_container_is_passed_over() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        let first = pod("web", 80);
        cluster.kill_container("demo", &first);
        // The first bytes are kept until a pod answers, so not even the next connection fails.
        assert_ne!(pod("web", 80), first);
    });
}

#[test]
fn tunnels_are_opened_anew_when_kubelet_or_runtime_restart() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        echo(&mut connect("echo", 7000), b"before");
        cluster.restart_kubelet();
        eventually("the echo works after the kubelet's restart", || {
            echoes().then_some(())
        });
        cluster.lose_runtime();
        eventually("the echo works after the runtime's restart", || {
            echoes().then_some(())
        });
        cluster.cut_connections();
        eventually("the echo works after all connections were cut", || {
            echoes().then_some(())
        });
    });
}

#[test]
fn a_reset_in_the_pod_ends_that_connection_alone() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        let mut open = connect("echo", 7000);
        echo(&mut open, b"hello");
        cluster.reset_connections(&Scope::all().namespace("demo"));
        let mut rest = Vec::new();
        let _reset = open.read_to_end(&mut rest);
        assert!(rest.is_empty(), "nothing more comes");
        echo(&mut connect("echo", 7000), b"again");
    });
}

#[test]
fn without_a_ready_pod_a_connection_ends_and_the_name_stays() {
    run(async |sandbox| {
        let options = config("[forwarding]\nno_backend_wait = 0.2\n");
        let (cluster, system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
        let address = resolve("echo");
        let only = cluster.pods("demo", "echo").remove(0);
        cluster.set_ready("demo", &only, false);
        let idle = eventually("the service says that no pod is ready", || {
            system
                .service("echo.demo.sim")
                .filter(|service| service["readyPods"] == 0)
        });
        assert_ne!(idle["status"], "active", "{idle}");
        let mut open = connect("echo", 7000);
        let mut rest = Vec::new();
        let _reset = open.read_to_end(&mut rest);
        assert!(rest.is_empty(), "it was accepted, and ended without a byte");
        assert_eq!(resolve("echo"), address);
        cluster.set_ready("demo", &only, true);
        let _active = system.service_in("echo.demo.sim", "active");
        echo(&mut connect("echo", 7000), b"hello");
    });
}

#[test]
fn a_connection_waits_for_the_next_ready_pod() {
    run(async |sandbox| {
        let options = config("[forwarding]\nno_backend_wait = 60\n");
        let (cluster, system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
        let only = cluster.pods("demo", "echo").remove(0);
        cluster.set_ready("demo", &only, false);
        eventually("no pod is ready", || {
            system
                .service("echo.demo.sim")
                .filter(|service| service["readyPods"] == 0)
        });
        let mut open = connect("echo", 7000);
        cluster.set_ready("demo", &only, true);
        echo(&mut open, b"hello");
    });
}

#[test]
fn a_deleted_pod_ends_what_it_carries_and_its_successor_takes_the_rest() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        let mut open = connect("echo", 7000);
        echo(&mut open, b"before");
        let only = cluster.pods("demo", "echo").remove(0);
        assert!(cluster.delete_pod("demo", &only).await);
        let mut rest = Vec::new();
        let _end = open.read_to_end(&mut rest);
        assert!(rest.is_empty(), "nothing more comes");
        echo(&mut connect("echo", 7000), b"after");
    });
}

#[test]
fn a_machine_that_slept_through_a_rollout_forwards_to_the_new_pods() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        echo(&mut connect("echo", 7000), b"before");
        let sleepers = system.workers();
        for sleeper in &sleepers {
            signal(*sleeper, Signal::SIGSTOP);
        }
        assert!(cluster.rollout("demo", "echo").await);
        cluster.cut_connections();
        let mut waiting = connect("echo", 7000);
        for sleeper in &sleepers {
            signal(*sleeper, Signal::SIGCONT);
        }
        echo(&mut waiting, b"after");
        assert_eq!(system.workers(), sleepers, "they are the same processes");
    });
}

#[test]
fn lists_that_fail_are_repeated() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        let lists = RequestMatch::any().verb("list").resource("endpointslices");
        cluster.fail_requests(lists.clone(), RequestEffect::Answer(500), Some(2));
        cluster.fail_requests(lists.clone(), RequestEffect::Answer(429), Some(1));
        cluster.fail_requests(lists, RequestEffect::Close, Some(1));
        add(&system);
        assert!(get("web", 80).contains("pod: web-"));
    });
}

#[test]
fn what_happened_while_watches_hung_is_found_out() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        cluster.stop_api_server().await;
        let mut seen = cluster.changes(Kind::Service);
        cluster.put_service(
            "demo",
            Service::new("late").selects("app", "web").port(http(80)),
        );
        assert!(cluster.delete_service("demo", "echo"));
        seen.changed().await.unwrap();
        cluster.compact();
        cluster.start_api_server().await.unwrap();
        let _late = system.service_in("late.demo.sim", "active");
        system.service_gone("echo.demo.sim");
        assert!(get("late", 80).contains("pod: web-"));
        name_gone("echo");
    });
}

#[test]
fn a_plugin_is_asked_again_when_its_token_is_refused() {
    run(async |sandbox| {
        let cluster = Cluster::builder()
            .namespace(content("demo"))
            .start()
            .await
            .unwrap();
        let (first, second) = (
            cluster.token("admin", None).unwrap(),
            cluster.token("admin", None).unwrap(),
        );
        let script = sandbox.path("plugin");
        let credential = write_exec_plugin(&script, &first, None).unwrap();
        let system = System::start(&sandbox, &cluster.kubeconfig_with(credential));
        add(&system);
        write_exec_plugin(&script, &second, None).unwrap();
        cluster.revoke_token(&first);
        cluster.cut_connections();
        cluster.put_service(
            "demo",
            Service::new("late").selects("app", "web").port(http(80)),
        );
        let _late = system.service_in("late.demo.sim", "active");
        assert!(get("late", 80).contains("pod: web-"));
    });
}

#[test]
fn a_token_with_an_end_is_renewed() {
    run(async |sandbox| {
        let cluster = Cluster::builder()
            .namespace(content("demo"))
            .start()
            .await
            .unwrap();
        let token = cluster.token("admin", None).unwrap();
        let script = sandbox.path("plugin");
        let credential = write_exec_plugin(&script, &token, Some(Duration::from_secs(1))).unwrap();
        let system = System::start(&sandbox, &cluster.kubeconfig_with(credential));
        add(&system);
        let log = sandbox.path("plugin.log");
        eventually("the plugin runs again", || {
            // Only a new request needs a new token.
            cluster.cut_connections();
            let runs = std::fs::read_to_string(&log).unwrap_or_default();
            (runs.lines().count() >= 2).then_some(())
        });
        assert!(get("web", 80).contains("pod: web-"));
    });
}

#[test]
fn who_may_not_forward_is_told_which_right_is_missing() {
    run(async |sandbox| {
        let viewer = "system:serviceaccount:demo:viewer";
        let cluster = Cluster::builder()
            .namespace(content("demo"))
            .start()
            .await
            .unwrap();
        let system = System::start(&sandbox, &cluster.kubeconfig(viewer).unwrap());
        let answer = system.ctl(&["ns", "add", "demo", "--wait=10s"]);
        assert_ne!(answer.code, 0, "{answer}");
        assert!(answer.err.contains("pods/portforward"), "{answer}");
    });
}

#[test]
fn a_right_that_is_given_later_heals() {
    run(async |sandbox| {
        let user = User::new("dev").allow(Rule::new(
            ["get", "list", "watch"],
            ["namespaces", "pods", "endpointslices"],
        ));
        let cluster = Cluster::builder()
            .namespace(content("demo"))
            .user(user)
            .start()
            .await
            .unwrap();
        let system = System::start(&sandbox, &cluster.kubeconfig("dev").unwrap());
        let refused = system.ctl(&["ns", "add", "demo"]).fails(4);
        assert!(refused.contains("services"), "{refused}");
        cluster.set_rules("dev", [Rule::everything()]);
        add(&system);
        assert!(get("web", 80).contains("pod: web-"));
    });
}

#[test]
fn watches_may_be_cut_and_history_lost() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        add(&system);
        for port in 9000..9003 {
            cluster.cut_watches();
            cluster.compact();
            cluster.put_service("demo", Service::new("web").port(http(port)));
            answers("web", port);
        }
    });
}

#[test]
fn forbidden_verbs_are_named() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        cluster.deny(Rule::new(["list"], ["services"]));
        let refused = system.ctl(&["ns", "add", "demo"]);
        assert_ne!(refused.code, 0, "{refused}");
        assert!(refused.err.contains("list services"), "{refused}");
        let _said = system
            .ctl(&["ns", "add", "demo", "--context", "sim", "--defer"])
            .ok();
        until("the namespace says so too", || {
            system
                .namespace("demo")
                .is_some_and(|n| n.to_string().contains("cannot list services"))
        });
        cluster.clear_denials();
        answers("web", 80);
    });
}

#[test]
fn pods_are_watched_where_endpointslices_are_forbidden() {
    run(async |sandbox| {
        let (cluster, system) = demo(&sandbox).await;
        cluster.deny(Rule::new(["list", "watch", "get"], ["endpointslices"]));
        add(&system);
        assert!(pod("web", 80).starts_with("web-"));
        assert_eq!(pod("store-0.store.demo", 8080), "store-0");
        let namespace = system.namespace("demo").unwrap().to_string();
        assert!(namespace.contains("endpointslices"), "{namespace}");
    });
}

#[test]
fn a_port_that_is_taken_is_opened_when_it_is_free() {
    run_anywhere(async |sandbox| {
        let (target, system) = ready(&sandbox).await;
        let taken = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
        let _said = system.ctl(&["ns", "add", target.namespace()]).ok();
        let key = target.key("echo");
        let failed = system.service_in(&key, "error");
        assert!(failed.to_string().contains("is taken by"), "{failed}");
        drop(taken);
        let _said = system.ctl(&["fwd", "reconnect", &key]).ok();
        let _active = system.service_in(&key, "active");
        echo(&mut connect("echo", 7000), b"hello");
    });
}

#[test]
fn a_named_port_that_no_pod_has_is_said() {
    run_anywhere(async |sandbox| {
        let port = ServicePort::tcp(81).name("bad").target("no-such-port");
        let namespace =
            content("demo").service(Service::new("odd").selects("app", "web").port(port));
        let (target, system) = ready_with(&sandbox, namespace, Default::default()).await;
        let _said = system.ctl(&["ns", "add", target.namespace()]).ok();
        let _web = system.service_in(&target.key("web"), "active");
        let odd = eventually("the odd service is listed", || {
            system.service(&target.key("odd"))
        });
        assert_ne!(odd["status"], "active", "{odd}");
    });
}

fn echoes() -> bool {
    use std::io::Write as _;
    let Ok(mut stream) = kubefwd_tests::harness::net::try_connect("echo", 7000) else {
        return false;
    };
    let mut back = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"hello"
}
