//! The server contract of port-forwards beyond the recordings: stalls, wedges, pings, old runtimes, hidden death.

use std::collections::BTreeSet;

use bytes::BytesMut;
use kubefwd_tests::{
    Behaviour, Cluster, Flavour, Namespace, NetworkFault, PatternCheck, Scope, Workload,
};

use super::support::client::Client;
use super::support::spdy::{Frame, data, masked, next_frame, next_message, pair, ping, rst};

/// Upgrades to classic SPDY.
pub(crate) async fn upgrade_spdy(client: &mut Client, namespace: &str, pod: &str) {
    let request = format!(
        "POST /api/v1/namespaces/{namespace}/pods/{pod}/portforward HTTP/1.1\r\nHost: sim\r\nUpgrade: SPDY/3.1\r\n\
         Connection: Upgrade\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\nContent-Length: 0\r\n\r\n"
    );
    client.send(request.as_bytes()).await;
    assert_eq!(client.head().await.code(), 101);
}

/// Asks for a WebSocket upgrade and gives the status code.
async fn upgrade_websocket(client: &mut Client, pod: &str, protocol: &str) -> u16 {
    let request = format!(
        "GET /api/v1/namespaces/demo/pods/{pod}/portforward HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    client.send(request.as_bytes()).await;
    client.head().await.code()
}

async fn cluster(behaviour: Behaviour, flavour: Flavour) -> Cluster {
    Cluster::builder()
        .flavour(flavour)
        .timing(|timing| timing.close_grace = std::time::Duration::from_millis(30))
        .namespace(
            Namespace::new("demo").workload(
                Workload::pod("app").listen("app", 80, behaviour).listen(
                    "echo",
                    81,
                    Behaviour::Echo,
                ),
            ),
        )
        .start()
        .await
        .unwrap()
}

async fn spdy(cluster: &Cluster) -> Client {
    let mut client = Client::admin(cluster).await;
    upgrade_spdy(&mut client, "demo", "app").await;
    client
}

async fn next(client: &mut Client) -> Frame {
    loop {
        if let Some(frame) = next_frame(&mut client.buffer) {
            return frame;
        }
        assert!(client.fill().await, "the connection ended");
    }
}

/// Waits for a frame, passing over others.
async fn wait_for(client: &mut Client, wanted: &Frame) {
    while next(client).await != *wanted {}
}

fn fin(id: u32) -> Frame {
    Frame::Data {
        id,
        fin: true,
        payload: Vec::new(),
    }
}

fn chunk(id: u32, payload: &[u8]) -> Frame {
    Frame::Data {
        id,
        fin: false,
        payload: payload.to_vec(),
    }
}

/// Five pings, one to each worker, and which of them are answered before an echo through a healthy stream that avoids the
/// partition of `avoid`.
async fn answered(client: &mut Client, first: u32, echo_stream: u32) -> BTreeSet<u32> {
    let ids: Vec<u32> = (0..5).map(|n| first + 2 * n).collect();
    let mut out: Vec<u8> = ids.iter().flat_map(|id| ping(*id)).collect();
    out.extend(data(echo_stream, false, b"barrier"));
    client.send(&out).await;
    let mut seen = BTreeSet::new();
    loop {
        match next(client).await {
            Frame::Ping(id) => {
                seen.insert(id);
            }
            Frame::Data { payload, .. } if payload == b"barrier" => return seen,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn two_late_frames_wedge_their_worker_for_good() {
    let cluster = cluster(Behaviour::Bye("bye".into()), Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    wait_for(&mut client, &fin(1)).await;
    // An echo on streams 7 and 9, whose workers are 2 and 4; the dead stream 3 belongs to worker 3.
    client.send(&pair(7, 81, false)).await;
    wait_for(&mut client, &Frame::Accepted(9)).await;
    assert_eq!(answered(&mut client, 1, 9).await.len(), 5);
    client.send(&data(3, false, b"late")).await;
    assert_eq!(answered(&mut client, 11, 9).await.len(), 5, "one is taken");
    client.send(&data(3, false, b"late")).await;
    // An RST does not heal it.
    client.send(&rst(3)).await;
    assert_eq!(answered(&mut client, 21, 9).await.len(), 4);
    assert_eq!(cluster.counts().wedged_workers, 1);
}

#[tokio::test]
async fn an_answered_fin_keeps_late_frames_from_wedging() {
    let cluster = cluster(Behaviour::Bye("bye".into()), Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    wait_for(&mut client, &fin(1)).await;
    client.send(&rst(3)).await;
    for _ in 0..5 {
        client.send(&data(3, false, b"late")).await;
    }
    client.send(&pair(7, 81, false)).await;
    wait_for(&mut client, &Frame::Accepted(9)).await;
    assert_eq!(answered(&mut client, 1, 9).await.len(), 5);
}

#[tokio::test]
async fn an_application_that_does_not_read_stalls_one_worker_only() {
    let cluster = cluster(Behaviour::NeverRead, Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    for _ in 0..20 {
        client.send(&data(3, false, &[0; 32 * 1024])).await;
    }
    client.send(&pair(7, 81, false)).await;
    wait_for(&mut client, &Frame::Accepted(9)).await;
    assert_eq!(answered(&mut client, 1, 9).await.len(), 4);
}

#[tokio::test]
async fn a_stalled_partition_is_a_fault_that_can_be_taken_back() {
    let cluster = cluster(Behaviour::Echo, Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(7, 81, true)).await;
    wait_for(&mut client, &Frame::Accepted(9)).await;
    let fault = NetworkFault {
        stalled_partitions: 0b0_0001,
        ..NetworkFault::default()
    };
    cluster.set_network_fault(Scope::all().pod("app"), fault);
    assert_eq!(answered(&mut client, 1, 9).await.len(), 4);
    cluster.clear_network_faults();
    wait_for(&mut client, &Frame::Ping(1)).await;
}

#[tokio::test]
async fn an_old_runtime_ends_failed_streams_without_a_reset_and_leaves_data_unread() {
    let cluster = cluster(Behaviour::Echo, Flavour::kubernetes(31)).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(1, 9999, true)).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        match next(&mut client).await {
            Frame::Data { id, fin: true, .. } => {
                seen.insert(id);
            }
            Frame::Rst(..) => panic!("an old runtime resets nothing"),
            _ => {}
        }
    }
    client.send(&pair(7, 81, false)).await;
    wait_for(&mut client, &Frame::Accepted(9)).await;
    client.send(&data(3, false, b"optimistic")).await;
    assert_eq!(answered(&mut client, 1, 9).await.len(), 4);
}

#[tokio::test]
async fn a_reset_by_the_application_is_an_error_text_with_resets() {
    let cluster = cluster(Behaviour::ResetAfter(1), Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    client.send(&data(3, false, b"x")).await;
    loop {
        if let Frame::Data { id: 1, payload, .. } = next(&mut client).await {
            let text = String::from_utf8(payload).unwrap();
            assert!(text.ends_with("read: connection reset by peer"), "{text}");
            break;
        }
    }
    wait_for(&mut client, &Frame::Rst(1, 5)).await;
}

#[tokio::test]
async fn downloads_come_in_frames_of_32_kib_and_are_whole() {
    let cluster = cluster(Behaviour::Source(Some(3_000_000)), Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    let mut check = PatternCheck::default();
    loop {
        match next(&mut client).await {
            Frame::Data {
                id: 3,
                fin: false,
                payload,
            } => {
                assert!(payload.len() <= 32 * 1024);
                check.check(&payload).unwrap();
            }
            Frame::Data {
                id: 3, fin: true, ..
            } => break,
            _ => {}
        }
    }
    assert_eq!(check.offset(), 3_000_000);
}

#[tokio::test]
async fn two_downloads_share_a_connection() {
    let cluster = cluster(Behaviour::Source(Some(500_000)), Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(1, 80, true)).await;
    client.send(&pair(5, 80, false)).await;
    let mut checks = [PatternCheck::default(), PatternCheck::default()];
    let mut open = 2;
    while open > 0 {
        if let Frame::Data {
            id: id @ (3 | 7),
            fin,
            payload,
        } = next(&mut client).await
        {
            checks[usize::from(id == 7)].check(&payload).unwrap();
            open -= usize::from(fin);
        }
    }
    assert!(checks.iter().all(|check| check.offset() == 500_000));
}

#[tokio::test]
async fn a_broken_frame_ends_the_connection() {
    let cluster = cluster(Behaviour::Echo, Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&[0x80, 3, 0, 5, 0, 0, 0, 0]).await;
    assert!(!client.fill().await);
}

#[tokio::test]
async fn stream_ids_that_go_back_are_a_protocol_error() {
    let cluster = cluster(Behaviour::Echo, Flavour::default()).await;
    let mut client = spdy(&cluster).await;
    client.send(&pair(5, 80, true)).await;
    client.send(&pair(1, 80, false)).await;
    wait_for(&mut client, &Frame::Rst(1, 1)).await;
}

#[tokio::test]
async fn a_tunnel_needs_a_server_of_1_31_and_create_rights_since_1_35() {
    let tunnel = "SPDY/3.1+portforward.k8s.io";
    let old = cluster(Behaviour::Echo, Flavour::kubernetes(30)).await;
    let mut client = Client::admin(&old).await;
    assert_eq!(upgrade_websocket(&mut client, "app", tunnel).await, 400);
    let new = cluster(Behaviour::Echo, Flavour::kubernetes(34)).await;
    new.deny(kubefwd_tests::Rule::new(["create"], ["pods/portforward"]));
    let mut client = Client::admin(&new).await;
    assert_eq!(upgrade_websocket(&mut client, "app", tunnel).await, 101);
    let newer = cluster(Behaviour::Echo, Flavour::kubernetes(35)).await;
    newer.deny(kubefwd_tests::Rule::new(["create"], ["pods/portforward"]));
    let mut client = Client::admin(&newer).await;
    assert_eq!(upgrade_websocket(&mut client, "app", tunnel).await, 403);
}

#[tokio::test]
async fn proxies_that_pass_only_one_kind_of_upgrade() {
    let cluster = cluster(Behaviour::Echo, Flavour::default()).await;
    cluster.change_flavour(|flavour| flavour.classic_spdy = false);
    let mut client = Client::admin(&cluster).await;
    let request = "POST /api/v1/namespaces/demo/pods/app/portforward HTTP/1.1\r\nHost: sim\r\nUpgrade: SPDY/3.1\r\n\
                   Connection: Upgrade\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\nContent-Length: 0\r\n\r\n";
    client.send(request.as_bytes()).await;
    assert_eq!(client.answer().await.head.code(), 403);
    let tunnel = "SPDY/3.1+portforward.k8s.io";
    assert_eq!(upgrade_websocket(&mut client, "app", tunnel).await, 101);
}

/// A tunnel, spoken through whole SPDY frames.
struct Tunnel {
    client: Client,
    spdy: BytesMut,
}

impl Tunnel {
    async fn open(cluster: &Cluster) -> Self {
        let mut client = Client::admin(cluster).await;
        let tunnel = "SPDY/3.1+portforward.k8s.io";
        assert_eq!(upgrade_websocket(&mut client, "app", tunnel).await, 101);
        Self {
            client,
            spdy: BytesMut::new(),
        }
    }

    async fn send(&mut self, spdy: &[u8]) {
        self.client.send(&masked(2, spdy)).await;
    }

    /// The next SPDY frame, or the opcode of a control frame.
    async fn next(&mut self) -> Result<Frame, u8> {
        loop {
            if let Some(frame) = next_frame(&mut self.spdy) {
                return Ok(frame);
            }
            while let Some((opcode, _, payload)) = next_message(&mut self.client.buffer) {
                if opcode > 2 {
                    return Err(opcode);
                }
                self.spdy.extend_from_slice(&payload);
            }
            if self.spdy.len() < 8 {
                assert!(self.client.fill().await, "the connection ended");
            } else if let Some(frame) = next_frame(&mut self.spdy) {
                return Ok(frame);
            } else {
                assert!(self.client.fill().await, "the connection ended");
            }
        }
    }
}

#[tokio::test]
async fn a_tunnel_whose_runtime_is_gone_is_silent_until_data_comes() {
    let cluster = cluster(Behaviour::Echo, Flavour::default()).await;
    let mut tunnel = Tunnel::open(&cluster).await;
    tunnel.send(&pair(1, 80, true)).await;
    tunnel.send(&data(3, false, b"hello")).await;
    while tunnel.next().await != Ok(chunk(3, b"hello")) {}
    cluster.lose_runtime();
    // WebSocket pings are still answered.
    tunnel.client.send(&masked(9, b"ping")).await;
    assert_eq!(tunnel.next().await, Err(10));
    // Data is not: the server only now finds its upstream gone.
    tunnel.send(&ping(1)).await;
    assert_eq!(tunnel.next().await, Err(8));
}

#[tokio::test]
async fn fragmented_tunnels_carry_bulk_data_whole() {
    for fragments in [false, true] {
        let cluster = cluster(Behaviour::Source(Some(1_000_000)), Flavour::default()).await;
        cluster.change_flavour(|flavour| flavour.tunnel_fragments = fragments);
        let mut tunnel = Tunnel::open(&cluster).await;
        tunnel.send(&pair(1, 80, true)).await;
        let mut check = PatternCheck::default();
        loop {
            if let Frame::Data {
                id: 3,
                fin,
                payload,
            } = tunnel.next().await.unwrap()
            {
                check.check(&payload).unwrap();
                if fin {
                    break;
                }
            }
        }
        assert_eq!(check.offset(), 1_000_000);
    }
}
