//! One connection over an in-memory pipe, with a far side that says whatever it likes.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::Counters;
use crate::transport::Transport;
use crate::upstream::Upstream;

fn config() -> ConnectionConfig {
    ConnectionConfig {
        settings: Arc::new(Settings {
            backlog_soft: 1000,
            backlog_hard: 10_000,
            idle_close: Duration::from_secs(60),
            ..Settings::default()
        }),
        budget: Arc::new(Budget::new(100_000)),
    }
}

fn connection(transport: Transport, config: &ConnectionConfig) -> (Connection, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    let upgraded = Upgraded {
        upstream: Upstream::plain(Box::new(ours)),
        transport,
        initial: Vec::new(),
        took: Duration::from_millis(1),
    };
    (Connection::spawn(upgraded, config, || {}), theirs)
}

async fn downstream() -> (TcpStream, Downstream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let downstream = Downstream {
        local: listener.accept().await.unwrap().0,
        accepted: Instant::now(),
        port: 80,
        replay: Some(Vec::new()),
        tap: None,
        counters: Arc::new(Counters::default()),
    };
    (client, downstream)
}

#[tokio::test]
async fn an_open_with_its_first_bytes_is_one_write() {
    let config = config();
    let (connection, mut far) = connection(Transport::Spdy, &config);
    let (mut client, downstream) = downstream().await;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    downstream.local.readable().await.unwrap();
    tokio::spawn(async move { connection.carry(downstream).await });
    let mut first = vec![0; 4096];
    let length = far.read(&mut first).await.unwrap();
    assert!(first[..length].starts_with(b"\x80\x03\x00\x01\x00\x00\x00\x55\x00\x00\x00\x01"));
    assert!(first[..length].ends_with(b"\0\0\0\x03\0\0\0\x12GET / HTTP/1.0\r\n\r\n"));
}

#[tokio::test]
async fn pod_gone_gives_back_only_what_was_not_answered() {
    let config = config();
    let (connection, mut far) = connection(Transport::Spdy, &config);
    let connection = Arc::new(connection);
    let (mut answered, one) = downstream().await;
    let (_silent, two) = downstream().await;
    let carry = |downstream| {
        let connection = Arc::clone(&connection);
        tokio::spawn(async move { connection.carry(downstream).await })
    };
    let one = carry(one);
    // The first pair is written before the second is opened, so it is stream 3.
    let mut sent = vec![0; 8192];
    let _ = far.read(&mut sent).await.unwrap();
    let two = carry(two);
    far.write_all(b"\0\0\0\x03\0\0\0\x02hi").await.unwrap();
    let mut hi = [0; 2];
    answered.read_exact(&mut hi).await.unwrap();
    connection.pod_gone();
    let End::Retry(_, Retry::Pod(_)) = two.await.unwrap() else {
        panic!("the silent one was not given back")
    };
    assert!(connection.load().is_none());
    far.write_all(b"\0\0\0\x03\x01\0\0\0\0\0\0\x01\x01\0\0\0")
        .await
        .unwrap();
    assert!(matches!(one.await.unwrap(), End::Closed));
}

/// A frame of any kind with small stream ids, so that it often meets an open one.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..3000);
    let data = (0u32..20, 0u8..3, payload.clone()).prop_map(|(stream, flags, payload)| {
        let [_, l0, l1, l2] = (payload.len() as u32).to_be_bytes();
        [&stream.to_be_bytes()[..], &[flags, l0, l1, l2], &payload].concat()
    });
    let control = (0u16..12, 0u32..20, 8usize..20).prop_map(|(kind, field, length)| {
        let mut payload = vec![0; length];
        payload[..4].copy_from_slice(&field.to_be_bytes());
        let [k0, k1] = kind.to_be_bytes();
        [&[0x80, 3, k0, k1, 0, 0, 0, length as u8][..], &payload].concat()
    });
    prop_oneof![3 => data, 1 => control, 1 => payload.prop_map(|bytes| bytes)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the far side says, every client gets an end, and nothing is kept.
    #[test]
    fn a_hostile_far_side_ends_clients_and_nothing_else(
        frames in prop::collection::vec(frame(), 0..40),
        wrapped: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = config();
            let transport = if wrapped { Transport::WebSocket } else { Transport::Spdy };
            let (connection, mut far) = connection(transport, &config);
            let connection = Arc::new(connection);
            let mut clients = Vec::new();
            let mut ends = Vec::new();
            for _ in 0..4 {
                let (client, downstream) = downstream().await;
                clients.push(client);
                let connection = Arc::clone(&connection);
                ends.push(tokio::spawn(async move { connection.carry(downstream).await }));
            }
            tokio::task::yield_now().await;
            for frame in frames {
                let message = if wrapped {
                    [&[0x82, 126][..], &(frame.len() as u16).to_be_bytes(), &frame].concat()
                } else {
                    frame
                };
                if far.write_all(&message).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(far);
            for mut client in clients {
                tokio::spawn(async move { while client.read(&mut [0; 512]).await.is_ok_and(|read| read > 0) {} });
            }
            for end in ends {
                let end = timeout(Duration::from_secs(20), end).await.expect("a client without an end").unwrap();
                if let End::Reset(why) = end {
                    assert!(!why.contains("task ended"), "the task panicked");
                }
            }
            assert_eq!(config.budget.used(), 0);
        });
    }
}
