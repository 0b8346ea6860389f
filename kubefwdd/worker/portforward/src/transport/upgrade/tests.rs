//! Answers to an upgrade.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn ask(headers: &HeaderMap) -> (Uri, &HeaderMap) {
    (
        "https://api.example:6443/k8s/clusters/c-1/"
            .parse()
            .unwrap(),
        headers,
    )
}

async fn answered(
    transport: Transport,
    answer: &'static [u8],
) -> (Result<Upgraded, UpgradeError>, String) {
    let (ours, mut theirs) = duplex(8192);
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, "Bearer t".parse().unwrap());
    let (server, headers) = ask(&headers);
    let pod = Backend {
        namespace: "demo".to_owned(),
        pod: "db-0".to_owned(),
        pod_uid: String::new(),
        port: 5432,
    };
    let request = Request {
        server: &server,
        pod: &pod,
        port: 5432,
        headers,
    };
    tokio::join!(
        upgrade(Upstream::plain(Box::new(ours)), transport, &request),
        async {
            let mut seen = vec![0; 8192];
            let length = theirs.read(&mut seen).await.unwrap();
            theirs.write_all(answer).await.unwrap();
            seen.truncate(length);
            String::from_utf8(seen).unwrap()
        }
    )
}

#[tokio::test]
async fn classic_upgrade_keeps_the_prefix_and_the_first_frames() {
    let (result, seen) = answered(
        Transport::Spdy,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\nabc",
    )
    .await;
    assert_eq!(result.unwrap().initial, b"abc");
    assert!(seen.starts_with(
        "POST /k8s/clusters/c-1/api/v1/namespaces/demo/pods/db-0/portforward HTTP/1.1\r\nHost: api.example:6443\r\n"
    ));
    for line in [
        "authorization: Bearer t",
        "Upgrade: SPDY/3.1",
        "X-Stream-Protocol-Version: portforward.k8s.io",
        "Content-Length: 0",
    ] {
        assert!(
            seen.contains(&format!("\r\n{line}\r\n")),
            "{line} in {seen}"
        );
    }
}

#[tokio::test]
async fn a_websocket_that_does_not_prove_the_key_is_refused() {
    let (result, seen) = answered(
        Transport::Channel,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
    )
    .await;
    assert!(matches!(result, Err(UpgradeError::Unconfirmed)));
    assert!(seen.contains("/portforward?ports=5432 HTTP/1.1"));
}

#[tokio::test]
async fn a_refusal_keeps_the_servers_words() {
    let (result, _) = answered(
        Transport::Spdy,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\npod does not exist",
    )
    .await;
    let Err(UpgradeError::Refused { status, reason }) = result else {
        panic!("upgraded")
    };
    assert_eq!(
        (status.as_u16(), reason.message.as_str()),
        (404, "pod does not exist")
    );
    assert!(!reason.is_status);
}
