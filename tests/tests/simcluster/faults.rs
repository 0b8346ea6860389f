//! Faults on demand: each has its effect, and ends when it is taken back.

use std::sync::Arc;
use std::time::Duration;

use kubefwd_tests::{
    Behaviour, Cluster, Namespace, NetworkFault, RequestEffect, RequestMatch, Scope, Workload,
    control,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::contract::upgrade_spdy;
use super::support::client::Client;
use super::support::spdy::{Frame, data, next_frame, pair};

async fn cluster() -> Cluster {
    Cluster::builder()
        .timing(|timing| timing.pod_step = Duration::from_millis(1))
        .namespace(
            Namespace::new("demo").workload(Workload::deployment("echo").listen(
                "echo",
                80,
                Behaviour::Echo,
            )),
        )
        .start()
        .await
        .unwrap()
}

async fn forward(cluster: &Cluster) -> Client {
    let mut client = Client::admin(cluster).await;
    let pod = cluster.pods("demo", "echo")[0].clone();
    upgrade_spdy(&mut client, "demo", &pod).await;
    client
}

/// The next DATA frame of the stream.
async fn received(client: &mut Client, stream: u32) -> Vec<u8> {
    loop {
        match next_frame(&mut client.buffer) {
            Some(Frame::Data { id, payload, .. }) if id == stream => return payload,
            Some(_) => {}
            None => assert!(client.fill().await, "the connection ended"),
        }
    }
}

#[tokio::test]
async fn requests_are_answered_with_injected_codes() {
    let cluster = cluster().await;
    let admin = &mut Client::admin(&cluster).await;
    let pods = "/api/v1/namespaces/demo/pods";
    for (code, reason) in [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ] {
        let matching = RequestMatch::any()
            .verb("list")
            .resource("pods")
            .user("admin");
        cluster.fail_requests(matching, RequestEffect::Answer(code), Some(1));
        let answer = admin.get(pods).await;
        assert_eq!(answer.head.code(), code);
        assert_eq!(answer.json()["reason"], reason);
        assert_eq!(admin.get(pods).await.head.code(), 200);
    }
    assert_eq!(cluster.counts().answers[&429], 1);
    cluster.fail_requests(RequestMatch::any(), RequestEffect::Close, None);
    admin
        .send(format!("GET {pods} HTTP/1.1\r\nHost: sim\r\n\r\n").as_bytes())
        .await;
    assert!(!admin.fill().await);
    cluster.clear_request_faults();
    let admin = &mut Client::admin(&cluster).await;
    assert_eq!(admin.get(pods).await.head.code(), 200);
}

#[tokio::test]
async fn a_stall_holds_both_directions_until_it_is_taken_back() {
    let cluster = cluster().await;
    let mut client = forward(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    client.send(&data(3, false, b"before")).await;
    assert_eq!(received(&mut client, 3).await, b"before");
    let stall = NetworkFault {
        stalled: true,
        ..NetworkFault::default()
    };
    cluster.set_network_fault(Scope::all().namespace("demo").port(80), stall);
    client.send(&data(3, false, b"during")).await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), received(&mut client, 3)).await;
    assert!(waiting.is_err(), "nothing moves");
    let up = cluster.counts().bytes_up;
    assert_eq!(up, 6, "nothing reached the application");
    cluster.clear_network_faults();
    assert_eq!(received(&mut client, 3).await, b"during");
}

#[tokio::test]
async fn refusals_and_resets() {
    let cluster = cluster().await;
    let mut client = forward(&cluster).await;
    let refuse = NetworkFault {
        refused: true,
        ..NetworkFault::default()
    };
    cluster.set_network_fault(Scope::all().pod("echo-*"), refuse);
    client.send(&pair(1, 80, true)).await;
    let text = String::from_utf8(received(&mut client, 1).await).unwrap();
    assert!(text.contains("connect: connection refused"), "{text}");
    cluster.clear_network_faults();
    client.send(&pair(5, 80, false)).await;
    client.send(&data(7, false, b"works")).await;
    assert_eq!(received(&mut client, 7).await, b"works");
    cluster.reset_connections(&Scope::all());
    let text = String::from_utf8(received(&mut client, 5).await).unwrap();
    assert!(text.contains("connection reset by peer"), "{text}");
    let counts = cluster.counts();
    assert_eq!(
        (counts.dials, counts.dial_failures, counts.streams),
        (2, 1, 4)
    );
}

#[tokio::test]
async fn a_slow_network_still_delivers() {
    let cluster = cluster().await;
    let slow = NetworkFault {
        delay: Duration::from_millis(5),
        rate: Some(1_000_000),
        ..NetworkFault::default()
    };
    cluster.set_network_fault(Scope::all(), slow);
    let mut client = forward(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    client.send(&data(3, false, &[7; 2000])).await;
    assert_eq!(received(&mut client, 3).await, [7; 2000]);
}

#[tokio::test]
async fn a_restart_of_the_api_server_cuts_forwards_and_keeps_the_address() {
    let cluster = cluster().await;
    let mut client = forward(&cluster).await;
    let address = cluster.address();
    cluster.stop_api_server().await;
    assert!(!client.fill().await);
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(cluster.counts().upgraded_open, 0);
    cluster.start_api_server().await.unwrap();
    let mut client = forward(&cluster).await;
    cluster.cut_connections();
    assert!(!client.fill().await);
    forward(&cluster).await;
}

#[tokio::test]
async fn a_dropped_cluster_leaves_nothing_behind() {
    let cluster = cluster().await;
    let address = cluster.address();
    let mut client = forward(&cluster).await;
    drop(cluster);
    assert!(!client.fill().await);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

async fn control_request(address: std::net::SocketAddr, method: &str, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_control_endpoint_does_what_the_handle_does() {
    let cluster = Arc::new(cluster().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(control::serve(Arc::clone(&cluster), listener));
    let post = async |path: &str| control_request(address, "POST", path).await;
    let before = cluster.pods("demo", "echo");
    assert!(
        post("/sim/rollout?ns=demo&deploy=echo")
            .await
            .ends_with("ok\n")
    );
    assert_ne!(cluster.pods("demo", "echo"), before);
    assert!(
        post("/sim/scale?ns=demo&deploy=echo&replicas=2")
            .await
            .ends_with("ok\n")
    );
    let pods = control_request(address, "GET", "/sim/pods?ns=demo&workload=echo").await;
    assert!(
        cluster
            .pods("demo", "echo")
            .iter()
            .all(|pod| pods.contains(pod)),
        "{pods}"
    );
    assert!(
        post("/sim/requests?resource=pods&code=503")
            .await
            .ends_with("ok\n")
    );
    let admin = &mut Client::admin(&cluster).await;
    assert_eq!(admin.get("/api/v1/pods").await.head.code(), 503);
    assert!(post("/sim/clear").await.ends_with("ok\n"));
    assert_eq!(admin.get("/api/v1/pods").await.head.code(), 200);
    assert!(post("/sim/flavour?tunnel=false").await.ends_with("ok\n"));
    assert!(!cluster.flavour().websocket_tunnel);
    assert!(post("/sim/api/restart").await.ends_with("ok\n"));
    assert!(
        post("/sim/rollout?ns=demo&deploy=nope")
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        post("/sim/rollout?ns=demo")
            .await
            .starts_with("HTTP/1.1 400")
    );
    assert!(post("/sim/nonsense").await.starts_with("HTTP/1.1 404"));
    let counts = control_request(address, "GET", "/sim/counts").await;
    assert!(counts.contains("\"503\": 1"), "{counts}");
    serving.abort();
}
