//! Tunnels against the simulated cluster, which keeps the server's contract: what breaks, when it breaks, and what clients
//! of a forward see of it.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod proxies;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kubefwd_model::Reason;
use kubefwd_portforward::Transport;
use kubefwd_tests::{
    Flavour, NetworkFault, PatternCheck, RequestEffect, RequestMatch, Rule, Scope, pattern,
};
use rand::RngExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::{
    BYE, CLOSED, Client, ENDLESS, NEVER_READS, RESETS, SINK, SOURCE, SOURCE_BYTES, Site, cluster,
    pod, soon, until,
};

fn over(transport: Transport) -> impl FnOnce(&mut kubefwd_portforward::Settings) {
    move |settings| settings.transport = Some(transport)
}

const ALL: [Transport; 3] = [Transport::Spdy, Transport::WebSocket, Transport::Channel];
const SHARED: [Transport; 2] = [Transport::Spdy, Transport::WebSocket];

#[tokio::test]
async fn every_transport_carries_both_ways() {
    for transport in ALL {
        let site = Site::start(cluster(), over(transport)).await;
        let mut client = site.good().await;
        client.echo(&pattern(0, 100_000)).await;
        let bytes = site.connect(SOURCE).await.rest().await.unwrap();
        assert_eq!(bytes.len() as u64, SOURCE_BYTES, "{transport}");
        PatternCheck::default().check(&bytes).unwrap();
        assert_eq!(site.tunnels.transport(), Some(transport));
    }
}

#[tokio::test]
async fn connections_to_all_ports_share_one_upgrade_and_leave_nothing_behind() {
    let site = Site::start(cluster(), |_| {}).await;
    for _ in 0..10 {
        drop(site.good().await);
        assert_eq!(site.connect(BYE).await.rest().await.unwrap(), b"bye\n");
    }
    assert_eq!(site.cluster.counts().upgrades_spdy, 1);
    until(|| site.cluster.counts().dials_open == 0).await;
}

#[tokio::test]
async fn a_closed_port_is_reported_and_harms_nothing_else() {
    for transport in ALL {
        let site = Site::start(cluster(), over(transport)).await;
        let mut other = site.good().await;
        let mut client = site.connect(CLOSED).await;
        client.tcp.write_all(b"hello?").await.unwrap();
        assert!(client.rest().await.is_err(), "{transport}");
        let failure = client.failure().await;
        assert!(
            failure
                .message
                .contains("does not accept connections on port 7999"),
            "{failure}"
        );
        other.echo(b"still here").await;
    }
}

#[tokio::test]
async fn a_runtime_that_does_not_reset_after_errors_is_left_alone_after_one() {
    let site = Site::start(cluster().flavour(Flavour::kubernetes(31)), |_| {}).await;
    let mut other = site.good().await;
    let mut client = site.connect(CLOSED).await;
    client.tcp.write_all(b"hello?").await.unwrap();
    assert!(client.rest().await.is_err());
    site.good().await;
    other.echo(b"still here").await;
    assert_eq!(
        site.cluster.counts().upgrades_spdy,
        2,
        "the connection is not trusted any more"
    );
}

#[tokio::test]
async fn an_application_that_resets_is_passed_on_as_a_reset() {
    let site = Site::start(cluster(), |_| {}).await;
    let mut client = site.connect(RESETS).await;
    client.tcp.write_all(b"more than ten bytes").await.unwrap();
    assert!(client.rest().await.is_err());
}

#[tokio::test]
async fn a_pod_that_is_removed_is_followed_by_the_next() {
    for transport in SHARED {
        let site = Site::start(cluster(), over(transport)).await;
        let mut old = site.good().await;
        assert!(site.cluster.remove_pod("demo", "one"));
        let _ = old.rest().await;
        // The watches have not told yet: the first pod is still the preferred one.
        site.pods.set(&["one", "two"]);
        site.good().await;
        site.tunnels.pod_gone("one");
        site.pods.set(&["two"]);
        site.good().await;
    }
}

/// A client in the middle of an answer.
async fn in_the_middle(site: &Site) -> Client {
    let mut client = site.connect(ENDLESS).await;
    soon(client.tcp.read_exact(&mut [0; 1000])).await.unwrap();
    client
}

#[tokio::test]
async fn an_answer_that_its_pod_breaks_off_is_reset_and_counted() {
    for transport in ALL {
        let site = Site::start(cluster(), over(transport)).await;
        let mut client = in_the_middle(&site).await;
        site.cluster.reset_connections(&Scope::all().pod("one"));
        let error = client.rest().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        until(|| client.counters.values().active == 0).await;
        let values = client.counters.values();
        assert_eq!((values.failed, values.replayed), (1, 0), "{transport}");
        let failure = client.failure().await;
        assert!(
            failure.message.contains("reset by peer"),
            "{transport}: {failure}"
        );
    }
}

#[tokio::test]
async fn an_answer_ends_with_the_pod_that_is_deleted_in_its_middle() {
    for transport in ALL {
        let site = Site::start(cluster(), over(transport)).await;
        let mut client = in_the_middle(&site).await;
        assert!(site.cluster.remove_pod("demo", "one"));
        // How it ends is up to the pod: its process is killed, the system closes what it had open.
        let _end = client.rest().await;
        until(|| client.counters.values().active == 0).await;
        assert_eq!(client.counters.values().replayed, 0, "{transport}");
        site.pods.set(&["two"]);
        site.good().await;
    }
}

#[tokio::test]
async fn what_a_silent_pod_has_not_answered_is_sent_whole_to_its_successor() {
    for transport in SHARED {
        let site = Site::start(cluster(), over(transport)).await;
        let mut client = site.connect(SINK).await;
        client
            .tcp
            .write_all(&20_000u64.to_be_bytes())
            .await
            .unwrap();
        client.tcp.write_all(&pattern(0, 10_000)).await.unwrap();
        until(|| client.counters.values().bytes_out == 10_008).await;
        // Its node is lost, so that nothing ends; then it is deleted by force.
        let silent = NetworkFault {
            stalled: true,
            ..NetworkFault::default()
        };
        site.cluster
            .set_network_fault(Scope::all().pod("one"), silent);
        site.pods.set(&["two"]);
        site.tunnels.pod_gone("one");
        client
            .tcp
            .write_all(&pattern(10_000, 10_000))
            .await
            .unwrap();
        let mut answer = [0; 9];
        soon(client.tcp.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"ok 20000\n", "{transport}");
        assert_eq!(client.counters.values().replayed, 1, "{transport}");
    }
}

#[tokio::test]
async fn a_pod_whose_node_cannot_be_reached_is_passed_over() {
    for effect in [
        RequestEffect::Answer(502),
        RequestEffect::Close,
        RequestEffect::Hang,
    ] {
        let site = Site::start(cluster(), |settings| {
            settings.open_timeout = Duration::from_millis(500);
            settings.no_backend_wait = Duration::ZERO;
        })
        .await;
        let to_one = RequestMatch::any().path_prefix("/api/v1/namespaces/demo/pods/one/");
        site.cluster.fail_requests(to_one, effect, None);
        site.pods.set(&["one", "two"]);
        site.good().await;
    }
}

#[tokio::test]
async fn a_lone_pod_whose_node_cannot_be_reached_is_tried_again() {
    let site = Site::start(cluster(), |_| {}).await;
    let to_one = RequestMatch::any().path_prefix("/api/v1/namespaces/demo/pods/one/");
    site.cluster
        .fail_requests(to_one, RequestEffect::Answer(502), Some(3));
    site.good().await;
}

#[tokio::test]
async fn a_container_that_restarts_costs_no_connection() {
    let site = Site::start(cluster(), |_| {}).await;
    drop(site.good().await);
    site.cluster.kill_container("demo", "one");
    let mut waiting = site.connect(support::ECHO).await;
    waiting.tcp.write_all(b"first").await.unwrap();
    until(|| site.cluster.counts().dial_failures > 0).await;
    site.pods.set(&[]);
    site.cluster.start_container("demo", "one");
    site.pods.set(&["one"]);
    let mut first = [0; 5];
    soon(waiting.tcp.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"first");
}

#[tokio::test]
async fn a_runtime_that_dies_is_noticed_on_every_transport() {
    for transport in SHARED {
        let site = Site::start(cluster(), |settings| {
            settings.transport = Some(transport);
            settings.ping_busy = Duration::from_millis(200);
            settings.ping_timeout = Duration::from_millis(300);
        })
        .await;
        let mut old = site.good().await;
        site.cluster.lose_runtime();
        let _ = old.rest().await;
        site.good().await;
    }
}

#[tokio::test]
async fn a_kubelet_that_restarts_is_tried_again() {
    let site = Site::start(cluster(), |_| {}).await;
    let mut old = site.good().await;
    site.cluster.restart_kubelet();
    site.cluster
        .change_flavour(|flavour| flavour.kubelet_syncing = true);
    let _ = old.rest().await;
    let mut waiting = site.connect(support::ECHO).await;
    until(|| site.cluster.counts().answers.contains_key(&404)).await;
    site.cluster
        .change_flavour(|flavour| flavour.kubelet_syncing = false);
    waiting.echo(b"hello").await;
    assert_eq!(
        site.tunnels.transport(),
        Some(Transport::Spdy),
        "a 404 of the kubelet says nothing about transports"
    );
}

#[tokio::test]
async fn connections_wait_while_the_api_server_restarts() {
    let site = Site::start(cluster(), |_| {}).await;
    let mut old = site.good().await;
    site.cluster.stop_api_server().await;
    let _ = old.rest().await;
    let mut waiting = site.connect(support::ECHO).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    site.cluster.start_api_server().await.unwrap();
    waiting.echo(b"hello").await;
    site.cluster.cut_connections();
    let _ = waiting.rest().await;
    site.good().await;
}

#[tokio::test]
async fn an_api_server_that_stays_away_ends_in_a_reset_with_its_reason() {
    let site = Site::start(cluster(), |settings| {
        settings.no_backend_wait = Duration::from_millis(300)
    })
    .await;
    site.cluster.stop_api_server().await;
    let mut client = site.connect(support::ECHO).await;
    assert!(client.rest().await.is_err());
    assert_eq!(client.failure().await.reason, Reason::ClusterUnreachable);
}

#[tokio::test]
async fn a_stalled_partition_is_left_for_a_new_connection() {
    for transport in SHARED {
        let site = Site::start(cluster(), over(transport)).await;
        let mut old = site.good().await;
        let stalled = NetworkFault {
            stalled_partitions: 0b01000,
            ..NetworkFault::default()
        };
        site.cluster
            .set_network_fault(Scope::all().pod("one"), stalled);
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let mut client = site.connect(support::ECHO).await;
            client.tcp.write_all(b"hello").await.unwrap();
            waiting.push(client);
        }
        until(|| {
            site.tunnels
                .connections()
                .iter()
                .any(|connection| !connection.usable)
        })
        .await;
        site.cluster.clear_network_faults();
        for mut client in waiting {
            let mut hello = [0; 5];
            soon(client.tcp.read_exact(&mut hello)).await.unwrap();
        }
        drop(old.rest());
    }
}

#[tokio::test]
async fn an_upload_that_nobody_reads_does_not_stop_others() {
    let site = Site::start(cluster(), |_| {}).await;
    let mut stuck = site.connect(NEVER_READS).await;
    let upload = tokio::spawn(async move {
        let block = vec![0; 256 * 1024];
        while stuck.tcp.write_all(&block).await.is_ok() {}
    });
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        site.good().await;
    }
    upload.abort();
}

#[tokio::test]
async fn a_token_that_is_revoked_is_replaced() {
    let site = Site::start(cluster(), |_| {}).await;
    let mut old = site.good().await;
    site.cluster.revoke_token(&site.token);
    site.cluster.cut_connections();
    let _ = old.rest().await;
    site.good().await;
}

#[tokio::test]
async fn the_verb_that_is_missing_is_named_and_the_other_transport_is_tried() {
    let site = Site::start(cluster().flavour(Flavour::kubernetes(34)), |_| {}).await;
    site.cluster
        .deny(Rule::new(["create"], ["pods/portforward"]));
    site.good().await;
    assert_eq!(site.tunnels.transport(), Some(Transport::WebSocket));
    let site = Site::start(cluster(), |_| {}).await;
    site.cluster
        .deny(Rule::new(["create"], ["pods/portforward"]));
    let failure = site.connect(support::ECHO).await.failure().await;
    assert_eq!(failure.reason, Reason::ForbiddenByCluster);
    assert!(
        failure.hint.contains("`create` on `pods/portforward`"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_stands_in_the_way_decides_the_transport() {
    let no_spdy = |minor| {
        let mut flavour = Flavour::kubernetes(minor);
        flavour.classic_spdy = false;
        flavour
    };
    let mut no_websocket = Flavour::default();
    no_websocket.websocket = false;
    let mut balancer = Flavour::default();
    balancer.strips_upgrades = true;
    let cases = [
        (no_spdy(36), Transport::WebSocket),
        (balancer, Transport::WebSocket),
        (no_websocket, Transport::Spdy),
        (no_spdy(30), Transport::Channel),
        (Flavour::kubernetes(30), Transport::Spdy),
    ];
    for (flavour, expected) in cases {
        let site = Site::start(cluster().flavour(flavour), |_| {}).await;
        site.good().await;
        assert_eq!(site.tunnels.transport(), Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_new_connections_fails_none() {
    let site = Arc::new(Site::start(cluster(), |_| {}).await);
    let done = Arc::new(AtomicUsize::new(0));
    let load = {
        let (site, done) = (Arc::clone(&site), Arc::clone(&done));
        tokio::spawn(async move {
            while done.load(Ordering::Relaxed) < 1000 {
                site.good().await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let mut old = "one".to_owned();
    let mut round = 0;
    while !load.is_finished() {
        round += 1;
        let new = format!("pod-{round}");
        site.cluster.create_workload("demo", pod(&new));
        // Pods are removed before the watches say so, and new ones preferred late.
        site.pods.set(&[&old, &new]);
        site.cluster.kill_container("demo", &old);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(site.cluster.remove_pod("demo", &old));
        site.tunnels.pod_gone(&old);
        site.pods.set(&[&new]);
        tokio::time::sleep(Duration::from_millis(80)).await;
        old = new;
    }
    soon(load).await.unwrap();
    assert!(round > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_changed_whatever_clients_do() {
    for transport in SHARED {
        let site = Arc::new(Site::start(cluster(), over(transport)).await);
        let mut tasks = Vec::new();
        for worker in 0..16 {
            let site = Arc::clone(&site);
            tasks.push(tokio::spawn(async move {
                for round in 0..10 {
                    match (worker + round) % 4 {
                        0 => upload(&site).await,
                        1 => download(&site, true).await,
                        2 => download(&site, false).await,
                        _ => leave(&site).await,
                    }
                }
            }));
        }
        for task in tasks {
            soon(task).await.unwrap();
        }
        until(|| site.cluster.counts().dials_open == 0).await;
    }
}

async fn upload(site: &Site) {
    let length = rand::rng().random_range(1..2_000_000u64);
    let mut client = site.connect(SINK).await;
    client.tcp.write_all(&length.to_be_bytes()).await.unwrap();
    let mut offset = 0;
    while offset < length {
        let most = rand::rng().random_range(1..100_000);
        let bytes = pattern(offset, most.min((length - offset) as usize));
        client.tcp.write_all(&bytes).await.unwrap();
        offset += bytes.len() as u64;
    }
    let expected = format!("ok {length}\n");
    let mut answer = vec![0; expected.len()];
    soon(client.tcp.read_exact(&mut answer)).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
}

async fn download(site: &Site, slow: bool) {
    let mut client = site.connect(SOURCE).await;
    let mut check = PatternCheck::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = soon(client.tcp.read(&mut buffer)).await.unwrap();
        if read == 0 {
            break;
        }
        check.check(&buffer[..read]).unwrap();
        if slow && check.offset() % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(check.offset(), SOURCE_BYTES);
}

/// Reads a little and goes.
async fn leave(site: &Site) {
    let mut client = site.connect(SOURCE).await;
    let mut some = vec![0; rand::rng().random_range(1..50_000)];
    soon(client.tcp.read_exact(&mut some)).await.unwrap();
    PatternCheck::default().check(&some).unwrap();
    drop(client.tcp);
}
