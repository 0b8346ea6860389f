//! Bytes from a granted listener to a pod and back.

use std::net::SocketAddr;
use std::time::Duration;

use kubefwd_proto::worker::v1::{ForwardPhase, Tuning};
use kubefwd_tests::{
    Behaviour, Cluster, Namespace, RequestEffect, RequestMatch, Service, ServicePort, Workload,
    demo, pattern,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::daemon::Daemon;

/// Sends bytes to an echo service and expects them back.
pub(crate) async fn echo(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange(&mut stream, bytes).await;
}

async fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
    let (mut reader, mut writer) = stream.split();
    let mut back = vec![0; bytes.len()];
    let (sent, received) = tokio::join!(writer.write_all(bytes), reader.read_exact(&mut back));
    sent.unwrap();
    received.unwrap();
    assert!(back == bytes, "other bytes came back");
}

#[tokio::test]
async fn bytes_flow_and_are_counted() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let db = daemon.grant("demo", "db", "", 5432).await;
    let active = daemon
        .until(|known| {
            let report = known.forwards.get(&db.id)?;
            (report.phase() == ForwardPhase::Active).then(|| report.clone())
        })
        .await;
    assert_eq!(active.pod, cluster.pods("demo", "db")[0]);
    assert_eq!((active.pod_port, active.transport.as_str()), (5432, ""));

    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut stream = TcpStream::connect(db.address).await.unwrap();
    exchange(&mut stream, &bytes[..1000]).await;
    exchange(&mut stream, &bytes[1000..]).await;
    drop(stream);
    let total = bytes.len() as u64;
    let traffic = daemon
        .until(|known| {
            let traffic = known.traffic.get(&db.id)?;
            (traffic.bytes_in == total && traffic.bytes_out == total && traffic.active == 0)
                .then_some(*traffic)
        })
        .await;
    assert_eq!((traffic.opened, traffic.failed), (1, 0));
    assert!(traffic.last_active.is_some());
    assert_eq!(traffic.first_byte_count, 1);
    daemon
        .until(|known| (known.forwards.get(&db.id)?.transport == "spdy").then_some(()))
        .await;

    // All ports and services of a pod share one upgraded connection.
    for _ in 0..20 {
        echo(db.address, b"again").await;
    }
    assert_eq!(cluster.counts().upgrades_spdy, 1);
}

#[tokio::test]
async fn every_pod_of_a_headless_service_answers_alone() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let store = daemon.known.service("demo", "store").unwrap();
    assert!(store.headless);
    assert_eq!(store.pods, ["store-0", "store-1", "store-2"]);
    let second = daemon.grant("demo", "store", "store-1", 6379).await;
    let any = daemon.grant("demo", "store", "", 6379).await;
    echo(second.address, b"second").await;
    echo(any.address, b"any").await;
    for (id, pod) in [(second.id, "store-1"), (any.id, "store-0")] {
        daemon
            .until(|known| (known.forwards.get(&id)?.pod == pod).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn a_listener_that_comes_before_the_cluster_is_known_waits_for_it() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    let db = daemon.grant("demo", "db", "", 5432).await;
    let mut early = TcpStream::connect(db.address).await.unwrap();
    daemon.want("demo").await;
    exchange(&mut early, b"patience").await;
}

#[tokio::test]
async fn unknown_pods_are_not_missing_pods() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let lists = RequestMatch::any().verb("list").resource("endpointslices");
    let late = RequestEffect::Delay(Duration::from_millis(500));
    cluster.fail_requests(lists, late, None);
    let tuning = Tuning {
        no_backend_wait_ms: 1,
        ..Tuning::default()
    };
    let mut daemon = Daemon::start_with(&cluster.kubeconfig("admin").unwrap(), tuning).await;
    daemon.want("demo").await;
    let db = daemon.grant("demo", "db", "", 5432).await;
    echo(db.address, b"patience").await;
}

#[tokio::test]
async fn a_connection_without_a_backend_is_reset_and_the_reason_reported() {
    let cluster = Cluster::builder()
        .namespace(
            Namespace::new("demo").service(
                Service::new("ghost")
                    .selects("app", "ghost")
                    .port(ServicePort::tcp(80)),
            ),
        )
        .start()
        .await
        .unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let ghost = daemon.grant("demo", "ghost", "", 80).await;
    let pending = daemon
        .until(|known| known.forwards.get(&ghost.id).cloned())
        .await;
    assert_eq!(pending.phase(), ForwardPhase::Pending);
    let mut stream = TcpStream::connect(ghost.address).await.unwrap();
    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    daemon
        .until(|known| (known.traffic.get(&ghost.id)?.failed == 1).then_some(()))
        .await;
}

#[tokio::test]
async fn a_rollout_goes_unnoticed() {
    let cluster = Cluster::builder()
        .namespace(
            Namespace::new("demo")
                .workload(Workload::deployment("echo").replicas(2).listen(
                    "echo",
                    7000,
                    Behaviour::Echo,
                ))
                .service(Service::new("echo").port(ServicePort::tcp(7).target("echo"))),
        )
        .start()
        .await
        .unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let granted = daemon.grant("demo", "echo", "", 7).await;
    echo(granted.address, b"before").await;
    let before = cluster.pods("demo", "echo");
    let rollout = async {
        assert!(cluster.rollout("demo", "echo").await);
    };
    let mut rollout = std::pin::pin!(rollout);
    loop {
        tokio::select! {
            () = &mut rollout => break,
            () = echo(granted.address, b"during") => {}
        }
    }
    let after = cluster.pods("demo", "echo");
    assert!(before.iter().all(|pod| !after.contains(pod)));
    echo(granted.address, b"after").await;
    daemon
        .until(|known| {
            let report = known.forwards.get(&granted.id)?;
            after.contains(&report.pod).then_some(())
        })
        .await;
}

#[tokio::test]
async fn removing_a_service_keeps_the_pods_that_others_share() {
    let service = |name| Service::new(name).port(ServicePort::tcp(9).target("sink"));
    let namespace = Namespace::new("demo")
        .workload(Workload::deployment("app").listen("sink", 9000, Behaviour::Sink))
        .service(service("stays").selects("app", "app"))
        .service(service("goes").selects("app", "app"));
    let cluster = Cluster::builder().namespace(namespace).start().await;
    let cluster = cluster.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let stays = daemon.grant("demo", "stays", "", 9).await;
    let goes = daemon.grant("demo", "goes", "", 9).await;
    // The pod has the question and not yet answered it.
    let mut asking = TcpStream::connect(stays.address).await.unwrap();
    let (first, rest) = (pattern(0, 1000), pattern(1000, 1000));
    asking.write_all(&2000u64.to_be_bytes()).await.unwrap();
    asking.write_all(&first).await.unwrap();
    daemon
        .until(|known| (known.traffic.get(&stays.id)?.bytes_out == 1008).then_some(()))
        .await;
    assert!(cluster.delete_service("demo", "goes"));
    daemon
        .until(|known| {
            let report = known.forwards.get(&goes.id)?;
            (report.phase() == ForwardPhase::Pending).then_some(())
        })
        .await;
    // After this whatever it did to the pod's tunnel is done.
    let mut other = TcpStream::connect(stays.address).await.unwrap();
    let mut answer = [0; 5];
    other.write_all(&0u64.to_be_bytes()).await.unwrap();
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ok 0\n");
    asking.write_all(&rest).await.unwrap();
    let mut answer = [0; 8];
    asking.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ok 2000\n");
    assert_eq!(cluster.counts().dials, 2, "nothing was sent twice");
}

#[tokio::test]
async fn a_revoked_listener_is_left_alone() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    let first = daemon.grant("demo", "db", "", 5432).await;
    let second = daemon.grant("demo", "db", "", 5432).await;
    echo(first.address, b"first").await;
    daemon.revoke(&first).await;
    // Frames are obeyed in order: once this one is held, the first is revoked.
    let third = daemon.grant("demo", "db", "", 5432).await;
    let mut waiting = TcpStream::connect(first.address).await.unwrap();
    waiting.write_all(b"nobody").await.unwrap();
    for granted in [&second, &third] {
        echo(granted.address, b"still here").await;
    }
    let nothing = waiting.try_read(&mut [0; 8]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}
