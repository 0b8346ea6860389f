//! Every recorded port-forward is played again, with the same bytes from the client; the server must answer as the real
//! one did.

use std::collections::BTreeSet;

use bytes::BytesMut;
use kubefwd_tests::{Cluster, Flavour};

use super::support::capture::{Step, Transcript, directory};
use super::support::client::{Client, Head};
use super::support::recorded_cluster;
use super::support::spdy::{Frame, next_frame, next_message};

/// Recordings that are no dialogue of frames, or of a component that is not simulated.
const NOT_REPLAYED: [&str; 5] = [
    // Sizes without bytes; the shapes are tested where they are made.
    "pf-spdy-1MiB-frames.txt",
    "pf-ws-tunnel-1MiB-frames.txt",
    // A graceful end of the API server, 60 s long.
    "pf-spdy-restart-kapi.txt",
    "pf-ws-tunnel-restart-kapi.txt",
    // Its text is compared by a test of its own.
    "pf-ws-tunnel-closed-port-fulltext.txt",
];

fn recordings(prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(prefix) && name.ends_with(".txt"))
        .filter(|name| !NOT_REPLAYED.contains(&name.as_str()))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no recording begins with {prefix}");
    names
}

async fn replay_all(prefix: &str) {
    for name in recordings(prefix) {
        let cluster = recorded_cluster().await;
        replay(&cluster, &name).await;
    }
}

#[tokio::test]
async fn classic_spdy() {
    replay_all("pf-spdy-").await;
}

#[tokio::test]
async fn the_websocket_tunnel() {
    replay_all("pf-ws-tunnel-").await;
}

#[tokio::test]
async fn the_websocket_tunnel_in_fragments() {
    for name in recordings("pf-ws-tunnel-") {
        let cluster = recorded_cluster().await;
        cluster.change_flavour(|flavour| flavour.tunnel_fragments = true);
        replay(&cluster, &name).await;
    }
}

#[tokio::test]
async fn version_4_channels() {
    replay_all("pf-ws-v4-").await;
}

#[tokio::test]
async fn negotiation() {
    replay_all("pf-ws-offer-").await;
    replay_all("pf-no-upgrade-").await;
    replay_all("pf-tunnel-post").await;
}

async fn replay(cluster: &Cluster, name: &str) {
    let transcript = Transcript::load(name);
    let mut client = if name.contains("anonymous") {
        Client::anonymous(cluster).await
    } else if name.contains("forbidden") {
        Client::of(cluster, "nobody-user").await
    } else {
        Client::admin(cluster).await
    };
    if name.contains("kubelet-just-restarted") {
        cluster.change_flavour(|flavour: &mut Flavour| flavour.kubelet_syncing = true);
    }
    client.send(transcript.request.as_bytes()).await;
    if transcript.head.code() == 101 {
        let head = client.head().await;
        assert_eq!(comparable(&head), comparable(&transcript.head), "{name}");
    } else {
        let answer = client.answer().await;
        let got = comparable(&answer.head);
        assert_eq!(got, comparable(&transcript.head), "{name}");
        assert_eq!(answer.text().trim(), transcript.body, "{name}");
        return;
    }
    let tunnel = transcript.request.contains("SPDY/3.1+");
    let mut steps = transcript.steps.as_slice();
    let mut player = Player {
        client,
        spdy: BytesMut::new(),
        tunnel,
        websocket: transcript.request.contains("websocket"),
        context: format!("{name} ({})", transcript.title),
    };
    while let Some((step, rest)) = steps.split_first() {
        match step {
            Step::Send(bytes) => {
                if greeted_next(rest) {
                    // In one recording the killed container is up again by now.
                    cluster.start_container("demo", "db-2");
                }
                player.client.send(bytes).await;
                steps = rest;
            }
            Step::Event(event) => {
                happen(cluster, name, event);
                steps = rest;
            }
            _ => {
                let is_answer = |step: &&Step| !matches!(step, Step::Send(_) | Step::Event(_));
                let count = steps.iter().take_while(is_answer).count();
                player.expect(&steps[..count]).await;
                steps = &steps[count..];
            }
        }
    }
}

/// Whether the next answers have the greeting of the pod whose container is killed.
fn greeted_next(steps: &[Step]) -> bool {
    let steps = steps
        .iter()
        .skip_while(|step| matches!(step, Step::Send(_)));
    let mut answers = steps.take_while(|step| !matches!(step, Step::Send(_) | Step::Event(_)));
    answers.any(|step| matches!(step, Step::Spdy { text, .. } if text.contains("hello from db-2")))
}

/// Does to the cluster what was done to the real one.
fn happen(cluster: &Cluster, name: &str, event: &str) {
    if event.starts_with("kill 1") {
        cluster.kill_container("demo", "db-2");
    } else if event == "delete" {
        let victim = ["victim-spdy", "victim-ws-tunnel", "victim-ws-v4"]
            .into_iter()
            .find(|victim| name.contains(&victim["victim-".len()..]))
            .unwrap();
        assert!(cluster.remove_pod("edge", victim));
    } else if event == "SIGTERM to containerd" {
        cluster.lose_runtime();
    } else if event == "SIGTERM to klet" {
        cluster.restart_kubelet();
    } else {
        let remark = ["the ", "up again", "27 s after", "20 s after", "closed="];
        let known = remark.iter().any(|start| event.starts_with(start));
        assert!(known, "{name}: an event without a meaning here: {event}");
    }
}

/// Status and headers, without what differs between any two answers.
fn comparable(head: &Head) -> (String, Vec<(String, String)>) {
    let headers = head.headers.iter().map(|(name, value)| {
        let value = match name.as_str() {
            "audit-id" | "date" => "…",
            name if name.starts_with("x-kubernetes-pf-") => "…",
            _ => value,
        };
        (name.clone(), value.to_owned())
    });
    // An empty body is announced here and not there.
    let headers = headers.filter(|(name, value)| name != "content-length" || value != "0");
    (head.status.clone(), headers.collect())
}

/// An answer of the server with what may differ taken out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Spdy(Frame),
    Message(u8, bool, Vec<u8>),
    Closed,
}

struct Player {
    client: Client,
    spdy: BytesMut,
    tunnel: bool,
    websocket: bool,
    context: String,
}

impl Player {
    /// Reads until all expected answers have come; their order between streams is free. Others are a failure.
    async fn expect(&mut self, steps: &[Step]) {
        let mut expected: BTreeSet<Seen> = steps.iter().filter_map(|s| self.expected(s)).collect();
        let all = expected.clone();
        while !expected.is_empty() {
            let Some(seen) = self.next().await else {
                assert!(
                    expected.remove(&Seen::Closed) && expected.is_empty(),
                    "{}: the connection ended, missing {expected:?}",
                    self.context
                );
                return;
            };
            // A large answer may come in several frames.
            let again = all.contains(&seen);
            assert!(
                expected.remove(&seen) || again,
                "{}: got {seen:?}, expected {expected:?}",
                self.context
            );
        }
    }

    fn expected(&self, step: &Step) -> Option<Seen> {
        match step {
            Step::Send(_) | Step::Event(_) => None,
            Step::Closed => Some(Seen::Closed),
            Step::Spdy { bytes, text } => {
                let mut buffer = BytesMut::from(&bytes[..]);
                let frame = next_frame(&mut buffer).unwrap_or_else(|| shortened(bytes, text));
                Some(Seen::Spdy(normal_frame(frame)))
            }
            // The tunnel's messages are cut anywhere; what is in them follows as frames.
            Step::Message { opcode: 0 | 2, .. } if self.tunnel => None,
            Step::Message {
                opcode,
                fin,
                bytes,
                length,
            } => {
                let mut buffer = BytesMut::from(&bytes[..]);
                let payload = next_message(&mut buffer).map_or_else(
                    || bytes[bytes.len().min(4)..].to_vec(),
                    |(_, _, payload)| payload,
                );
                assert!(*length >= payload.len());
                Some(Seen::Message(*opcode, *fin, normal_message(payload)))
            }
        }
    }

    async fn next(&mut self) -> Option<Seen> {
        loop {
            if self.websocket {
                while let Some((opcode, fin, payload)) = next_message(&mut self.client.buffer) {
                    if self.tunnel && matches!(opcode, 0 | 2) {
                        self.spdy.extend_from_slice(&payload);
                    } else {
                        return Some(Seen::Message(opcode, fin, normal_message(payload)));
                    }
                    if let Some(frame) = next_frame(&mut self.spdy) {
                        return Some(Seen::Spdy(normal_frame(frame)));
                    }
                }
                if let Some(frame) = next_frame(&mut self.spdy) {
                    return Some(Seen::Spdy(normal_frame(frame)));
                }
            } else if let Some(frame) = next_frame(&mut self.client.buffer) {
                return Some(Seen::Spdy(normal_frame(frame)));
            }
            if !self.client.fill().await {
                return None;
            }
        }
    }
}

/// A DATA frame of which the recording has only the beginning.
fn shortened(bytes: &[u8], text: &str) -> Frame {
    assert!(text.starts_with("type=DATA"), "{text}");
    let id = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Frame::Data {
        id,
        fin: bytes[4] & 1 == 1,
        payload: bytes[8..].to_vec(),
    }
}

fn normal_frame(frame: Frame) -> Frame {
    match frame {
        Frame::Data { id, fin, payload } => Frame::Data {
            id,
            fin,
            payload: normal(payload),
        },
        other => other,
    }
}

/// A message of a channel: its first byte is the channel.
fn normal_message(payload: Vec<u8>) -> Vec<u8> {
    match payload.split_first() {
        Some((channel, rest)) if payload.len() > 3 => {
            let mut out = vec![*channel];
            out.extend(normal(rest.to_vec()));
            out
        }
        _ => payload,
    }
}

/// HTTP answers are those of another program, and error texts name ids; their kind is compared.
fn normal(payload: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&payload);
    if text.starts_with("HTTP/1.") {
        return b"an HTTP answer".to_vec();
    }
    if let Some(rest) = text.strip_prefix("error forwarding port ") {
        let port = rest.split(' ').next().unwrap();
        return format!("an error of port {port}").into_bytes();
    }
    if let Some(rest) = text.strip_prefix("(conn=") {
        return rest.split_once(", ").unwrap().1.as_bytes().to_vec();
    }
    payload
}

#[tokio::test]
async fn the_whole_text_of_a_refused_port() {
    let recorded = super::support::capture::read("pf-ws-tunnel-closed-port-fulltext.txt");
    let line = recorded
        .lines()
        .find_map(|line| line.strip_prefix("TEXT: "));
    let cluster = recorded_cluster().await;
    let mut client = Client::admin(&cluster).await;
    super::contract::upgrade_spdy(&mut client, "demo", super::support::WEB).await;
    client
        .send(&super::support::spdy::pair(1, 9999, true))
        .await;
    let text = loop {
        match next_frame(&mut client.buffer) {
            Some(Frame::Data { id: 1, payload, .. }) => break String::from_utf8(payload).unwrap(),
            Some(_) => {}
            None => assert!(client.fill().await),
        }
    };
    assert_eq!(without_ids(&text), without_ids(line.unwrap()));
}

/// Replaces hexadecimal ids of 64 digits and UUIDs.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let is_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.find(|c| !is_id(c)).unwrap_or(rest.len());
        if length >= 36 {
            out.push_str("ID");
            rest = &rest[length..];
        } else {
            let next = rest[length..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..length + next]);
            rest = &rest[length + next..];
        }
    }
    out
}
