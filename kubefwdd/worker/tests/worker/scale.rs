//! Many services: what one costs while nobody uses it.

use std::time::Instant;

use kubefwd_proto::worker::v1::ForwardPhase;
use kubefwd_tests::demo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::daemon::Daemon;

const SERVICES: usize = 10_000;
/// Half for the worker's copies, half for the daemon's: more than most systems allow without asking.
const LISTENERS: usize = 5_000;
/// What one service and its listener may cost in the worker, bytes.
const EACH: usize = 8 * 1024;

#[tokio::test]
async fn ten_thousand_services_cost_a_few_kilobytes_each() {
    let _ = kubefwd_worker::sys::raise_descriptor_limit();
    let cluster = demo::cluster(SERVICES).start().await.unwrap();
    let mut daemon = Daemon::start(&cluster.kubeconfig("admin").unwrap()).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let before = daemon.resident();
    let began = Instant::now();
    daemon.want("many").await;
    daemon.watching("many").await;
    assert_eq!(daemon.known.names("many").len(), SERVICES);
    let (listed, told) = (daemon.resident(), began.elapsed());

    let mut granted = Vec::new();
    for number in 0..LISTENERS {
        let service = format!("svc-{number:05}");
        granted.push(daemon.offer("many", &service, "", 80).await);
    }
    daemon
        .until(|known| {
            let phases = known.forwards.values().map(|report| report.phase());
            let active = phases.filter(|phase| *phase == ForwardPhase::Active);
            (active.count() == LISTENERS).then_some(())
        })
        .await;
    let (held, all) = (daemon.resident(), began.elapsed());
    println!(
        "resident: {before} KiB, {listed} KiB with {SERVICES} services after {told:?}, \
         {held} KiB with {LISTENERS} listeners after {all:?}"
    );
    assert!(
        (held - before) * 1024 < SERVICES * EACH,
        "{before} KiB, then {held} KiB"
    );

    for granted in [&granted[0], &granted[LISTENERS - 1]] {
        let mut stream = TcpStream::connect(granted.address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(cluster.counts().upgrades_spdy, 2);
}
