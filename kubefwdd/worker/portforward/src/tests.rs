//! Whole tunnels over loopback sockets, against a fake cluster whose behaviour the tests choose.

pub(crate) mod corpus;
pub(crate) mod fake;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kubefwd_model::{Failure, Reason};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use fake::{Cluster, Pods};

/// A client's end of a local connection, and the forward that carries it.
struct Client {
    tcp: TcpStream,
    counters: Arc<Counters>,
    outcome: JoinHandle<Result<(), Failure>>,
}

async fn connect(tunnels: &Arc<Tunnels>, pods: &Arc<Pods>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (local, _) = listener.accept().await.unwrap();
    let counters = Arc::new(Counters::default());
    let (tunnels, pods, counted) = (Arc::clone(tunnels), Arc::clone(pods), Arc::clone(&counters));
    let outcome = tokio::spawn(async move { tunnels.forward(local, &*pods, &counted, None).await });
    Client {
        tcp,
        counters,
        outcome,
    }
}

impl Client {
    async fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.tcp.read_exact(&mut got).await.unwrap();
        assert!(got == bytes, "other bytes came back");
    }

    async fn echo(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).await.unwrap();
        self.expect(bytes).await;
    }

    async fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.tcp.read_to_end(&mut rest).await.map(|_| rest)
    }

    async fn failure(self) -> Failure {
        match self.outcome.await.unwrap() {
            Err(failure) => failure,
            Ok(()) => panic!("ended well"),
        }
    }
}

/// No test waits for ever.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), work)
        .await
        .expect("not in time")
}

async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn accept_all(_: &str) -> Option<&'static str> {
    None
}

#[tokio::test]
async fn connections_share_one_tunnel_and_are_counted() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["echo"]);
    for _ in 0..20 {
        let mut client = connect(&tunnels, &pods).await;
        soon(client.echo(b"hello")).await;
        client.tcp.shutdown().await.unwrap();
        drop(client.tcp);
        assert_eq!(soon(client.outcome).await.unwrap(), Ok(()));
        let values = client.counters.values();
        assert_eq!(
            (values.bytes_in, values.bytes_out, values.answered),
            (5, 5, 1)
        );
        assert_eq!((values.opened, values.active, values.failed), (1, 0, 0));
    }
    assert_eq!(cluster.upgrades.load(Ordering::SeqCst), 1);
    assert_eq!(tunnels.transport(), Some(Transport::Spdy));
    assert_eq!(tunnels.connections().len(), 1);
}

#[tokio::test]
async fn a_refused_dial_is_replayed_on_another_pod() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let mut client = connect(&tunnels, &Pods::new(&["refuse", "echo"])).await;
    soon(client.echo(b"first bytes")).await;
    soon(client.echo(b"and more")).await;
    assert_eq!(client.counters.values().replayed, 1);
}

#[tokio::test]
async fn what_no_pod_takes_is_reset_with_the_runtimes_words() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|settings| settings.no_backend_wait = Duration::from_millis(50));
    let mut client = connect(&tunnels, &Pods::new(&["refuse"])).await;
    client.tcp.write_all(b"x").await.unwrap();
    let error = soon(client.rest()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let failure = soon(client.failure()).await;
    assert!(failure.message.contains("connection refused"), "{failure}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_reset_and_never_replayed() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let mut client = connect(&tunnels, &Pods::new(&["break", "echo"])).await;
    client.tcp.write_all(b"x").await.unwrap();
    assert!(soon(client.rest()).await.is_err());
    assert_eq!(client.counters.values().replayed, 0);
    let failure = soon(client.failure()).await;
    assert!(
        failure.message.contains("connection reset by peer"),
        "{failure}"
    );
}

#[tokio::test]
async fn without_a_ready_pod_a_connection_waits_for_one() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&[]);
    let mut client = connect(&tunnels, &pods).await;
    client.tcp.write_all(b"early").await.unwrap();
    pods.set(&["echo"]);
    soon(client.expect(b"early")).await;
}

#[tokio::test]
async fn without_any_pod_in_time_a_connection_is_reset() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|settings| settings.no_backend_wait = Duration::from_millis(20));
    let mut client = connect(&tunnels, &Pods::new(&[])).await;
    assert!(soon(client.rest()).await.is_err());
    assert_eq!(soon(client.failure()).await.reason, Reason::Timeout);
}

#[tokio::test]
async fn a_server_without_spdy_gets_the_websocket_tunnel() {
    let cluster = Cluster::start(|head| {
        head.starts_with("POST")
            .then_some("HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n\r\nupgrade_failed")
    })
    .await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["echo"]);
    let large: Vec<u8> = (0..300_000u32).map(|i| (i % 253) as u8).collect();
    for _ in 0..2 {
        let mut client = connect(&tunnels, &pods).await;
        soon(client.echo(b"small")).await;
        let (mut read, mut write) = client.tcp.split();
        let mut back = vec![0; large.len()];
        let (sent, got) =
            soon(async { tokio::join!(write.write_all(&large), read.read_exact(&mut back)) }).await;
        sent.unwrap();
        got.unwrap();
        assert!(back == large);
    }
    assert_eq!(tunnels.transport(), Some(Transport::WebSocket));
    assert_eq!(cluster.saw("POST"), 1, "the choice is remembered");
}

#[tokio::test]
async fn what_a_server_accepted_is_known_to_the_next_run() {
    let cluster = Cluster::start(|head| {
        head.starts_with("POST")
            .then_some("HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n\r\nupgrade_failed")
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transports");
    for _ in 0..2 {
        let cache = Arc::new(TransportCache::at(path.clone()));
        let tunnels = cluster.tunnels(|settings| settings.transport_cache = Some(cache));
        let mut client = connect(&tunnels, &Pods::new(&["echo"])).await;
        soon(client.echo(b"hello")).await;
        until(|| path.exists()).await;
    }
    assert_eq!(cluster.saw("POST"), 1);
}

#[tokio::test]
async fn a_server_before_both_gets_one_websocket_per_connection() {
    let cluster = Cluster::start(|head| {
        (!head.contains("v4.channel")).then_some(
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 80\r\n\r\n{\"kind\":\"Status\",\"message\":\"query parameter \\\"port\\\" is required\",\"code\":400}     ",
        )
    })
    .await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["echo"]);
    let mut one = connect(&tunnels, &pods).await;
    soon(one.echo(b"one")).await;
    let mut two = connect(&tunnels, &pods).await;
    soon(two.echo(b"two")).await;
    soon(one.echo(b"one again")).await;
    assert_eq!(tunnels.transport(), Some(Transport::Channel));
    drop(one.tcp);
    assert_eq!(soon(one.outcome).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_missing_role_is_named() {
    let cluster = Cluster::start(|_| {
        Some("HTTP/1.1 403 Forbidden\r\n\r\n{\"kind\":\"Status\",\"message\":\"pods \\\"echo\\\" is forbidden: User \\\"u\\\" cannot create resource \\\"pods/portforward\\\"\"}")
    })
    .await;
    let tunnels = cluster.tunnels(|_| {});
    let failure = soon(connect(&tunnels, &Pods::new(&["echo"])).await.failure()).await;
    assert_eq!(failure.reason, Reason::ForbiddenByCluster);
    assert!(
        failure.hint.contains("`create` on `pods/portforward`"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_refused_credential_is_renewed_once() {
    let cluster = Cluster::start(|head| {
        (!head.contains("Bearer 1"))
            .then_some("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    let tunnels = cluster.tunnels(|_| {});
    let mut client = connect(&tunnels, &Pods::new(&["echo"])).await;
    soon(client.echo(b"hello")).await;
    assert_eq!(cluster.saw("POST"), 2);
}

#[tokio::test]
async fn a_pod_that_is_not_on_a_node_is_passed_over() {
    let cluster = Cluster::start(|head| {
        head.contains("/pods/pending/").then_some(
            "HTTP/1.1 400 Bad Request\r\n\r\n{\"kind\":\"Status\",\"message\":\"pod pending does not have a host assigned\"}",
        )
    })
    .await;
    let tunnels = cluster.tunnels(|_| {});
    let mut client = connect(&tunnels, &Pods::new(&["pending", "echo"])).await;
    soon(client.echo(b"hello")).await;
}

#[tokio::test]
async fn a_slow_reader_holds_up_only_itself() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|settings| settings.connections_per_pod = 1);
    let pods = Pods::new(&["source"]);
    let mut slow = connect(&tunnels, &pods).await;
    until(|| slow.counters.values().bytes_in > 0).await;
    let mut quick = connect(&tunnels, &pods).await;
    let block: Vec<u8> = (0..32 * 1024u32).map(|i| (i % 251) as u8).collect();
    let expected = block.repeat(128);
    assert!(soon(quick.rest()).await.unwrap() == expected);
    assert!(
        soon(slow.rest()).await.unwrap() == expected,
        "nothing is dropped"
    );
    assert_eq!(tunnels.config.budget.used(), 0);
}

#[tokio::test]
async fn bulk_of_one_client_gives_the_next_a_connection_of_its_own() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["source"]);
    soon(async {
        // How fast bytes move depends on the machine.
        while cluster.upgrades.load(Ordering::SeqCst) < 2 {
            connect(&tunnels, &pods).await.rest().await.unwrap();
        }
    })
    .await;
    until(|| tunnels.connections().len() == 2).await;
    assert_eq!(cluster.upgrades.load(Ordering::SeqCst), 2);
    // It moves bulk too, so a third connection may follow.
    let _next = connect(&tunnels, &pods).await;
    until(|| tunnels.connections()[1].streams == 1).await;
}

#[tokio::test]
async fn a_lone_slow_reader_costs_little_memory() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|settings| settings.backlog_soft = 1000);
    let mut slow = connect(&tunnels, &Pods::new(&["source"])).await;
    until(|| slow.counters.values().bytes_in > 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        tunnels.config.budget.used() <= 512 * 1024,
        "{} bytes wait",
        tunnels.config.budget.used()
    );
    assert_eq!(soon(slow.rest()).await.unwrap().len(), 4 * 1024 * 1024);
}

#[tokio::test]
async fn the_end_of_a_clients_side_waits_for_the_answer() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let mut client = connect(&tunnels, &Pods::new(&["hold"])).await;
    client.tcp.write_all(b"question").await.unwrap();
    client.tcp.shutdown().await.unwrap();
    until(|| cluster.saw("held question") == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.release.notify_one();
    assert_eq!(soon(client.rest()).await.unwrap(), b"answer to question");
    assert_eq!(cluster.saw("client end known: false"), 1);
    assert_eq!(soon(client.outcome).await.unwrap(), Ok(()));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_left_is_ended_at_once() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|settings| settings.half_close_grace = Duration::from_secs(3600));
    let mut client = connect(&tunnels, &Pods::new(&["mute"])).await;
    client.tcp.write_all(b"last words").await.unwrap();
    drop(client.tcp);
    assert_eq!(soon(client.outcome).await.unwrap(), Ok(()));
    until(|| cluster.saw("fin 3") == 1).await;
}

#[tokio::test]
async fn without_grace_the_pod_learns_at_once_that_the_client_ended() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|settings| settings.half_close_grace = Duration::ZERO);
    let mut client = connect(&tunnels, &Pods::new(&["echo"])).await;
    client.tcp.write_all(b"all").await.unwrap();
    client.tcp.shutdown().await.unwrap();
    assert_eq!(soon(client.rest()).await.unwrap(), b"all");
}

#[tokio::test]
async fn a_stuck_worker_is_found_and_its_streams_go_elsewhere() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["wedged"]);
    // The first data stream has the id 3: the stuck worker's.
    let mut client = connect(&tunnels, &pods).await;
    soon(client.echo(b"hello")).await;
    assert_eq!(cluster.upgrades.load(Ordering::SeqCst), 2);
    let mut next = connect(&tunnels, &pods).await;
    soon(next.echo(b"next")).await;
    assert_eq!(
        cluster.upgrades.load(Ordering::SeqCst),
        2,
        "the stuck connection is not used again"
    );
}

#[tokio::test]
async fn what_a_lost_pod_has_not_answered_goes_to_another() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["mute", "echo"]);
    let mut client = connect(&tunnels, &pods).await;
    client.tcp.write_all(b"hello").await.unwrap();
    until(|| client.counters.values().bytes_out == 5).await;
    pods.set(&["echo"]);
    tunnels.pod_gone("mute");
    soon(client.expect(b"hello")).await;
}

#[tokio::test]
async fn a_broken_tunnel_resets_what_was_answered_and_keeps_what_was_not() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["echo"]);
    let mut answered = connect(&tunnels, &pods).await;
    soon(answered.echo(b"hello")).await;
    let mut silent = connect(&tunnels, &pods).await;
    until(|| tunnels.connections()[0].streams == 2).await;
    cluster.kill.send_modify(|kills| *kills += 1);
    assert!(soon(answered.rest()).await.is_err());
    soon(silent.echo(b"after")).await;
    assert_eq!(cluster.upgrades.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn reconnect_moves_new_connections_and_leaves_the_old() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|_| {});
    let pods = Pods::new(&["echo"]);
    let mut old = connect(&tunnels, &pods).await;
    soon(old.echo(b"old")).await;
    soon(tunnels.reconnect(&["echo".to_owned()])).await.unwrap();
    let mut new = connect(&tunnels, &pods).await;
    soon(new.echo(b"new")).await;
    soon(old.echo(b"still old")).await;
    assert_eq!(cluster.upgrades.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_unused_tunnel_is_closed() {
    let cluster = Cluster::start(accept_all).await;
    let tunnels = cluster.tunnels(|settings| settings.idle_close = Duration::from_millis(50));
    let mut client = connect(&tunnels, &Pods::new(&["echo"])).await;
    soon(client.echo(b"hello")).await;
    drop(client.tcp);
    until(|| tunnels.connections().is_empty()).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The model of a tunnel is a wire: each client gets back exactly what it sent, in order, whatever the others do.
    #[test]
    fn every_client_gets_its_own_bytes(
        clients in prop::collection::vec(prop::collection::vec(1usize..120_000, 1..6), 1..8),
        websocket: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::start(accept_all).await;
            let tunnels = cluster.tunnels(|settings| {
                settings.transport = websocket.then_some(Transport::WebSocket);
            });
            let pods = Pods::new(&["echo"]);
            let mut tasks = Vec::new();
            for (number, sizes) in clients.into_iter().enumerate() {
                let client = connect(&tunnels, &pods).await;
                tasks.push(tokio::spawn(soon(async move {
                    let sent: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|i| (i * 7 + number) as u8).collect();
                    let expected = sent.clone();
                    let (mut read, mut write) = client.tcp.into_split();
                    let writer = tokio::spawn(async move {
                        let mut rest = &sent[..];
                        for size in sizes {
                            let (piece, next) = rest.split_at(size);
                            write.write_all(piece).await.unwrap();
                            tokio::task::yield_now().await;
                            rest = next;
                        }
                        write
                    });
                    let mut back = vec![0; expected.len()];
                    read.read_exact(&mut back).await.unwrap();
                    assert!(back == expected);
                    drop(writer.await.unwrap());
                })));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}
