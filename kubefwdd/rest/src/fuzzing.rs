//! REST with any bytes on a connection, and its part of the configuration.

use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use kubefwd_model::Uid;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::identity::{Identity, Peer, SHORTEST_TOKEN, Tokens};
use super::openapi::Documents;
use super::router::{described, guarded};
use super::serve;
use super::server::address;
use super::settings::Settings;
use super::state::ApiState;

/// Streams and whatever waits for the cluster are cut off then.
const TIMEOUT: Duration = Duration::from_millis(20);
/// The names that a page of ours may be loaded from.
const OURS: [&str; 5] = [
    "kubefwd.internal",
    "127.2.27.1",
    "127.0.0.1",
    "[::1]",
    "localhost",
];

thread_local! {
    /// The same for every daemon, and expensive.
    static ROUTES: OnceCell<(Router<ApiState>, Arc<OnceLock<Documents>>)> = const { OnceCell::new() };
}

/// What a client sends on one connection; over TCP it counts as root's, too.
pub async fn connection(control: Arc<dyn Control>, over_tcp: bool, bytes: &[u8]) {
    let made = || (described().0, Arc::default());
    let (routes, documents) = ROUTES.with(|routes| routes.get_or_init(made).clone());
    let (_sender, identity) = watch::channel(Arc::new(Identity::Fixed(Uid::ROOT)));
    let stop = CancellationToken::new();
    let api = ApiState {
        control,
        identity,
        describe: || described().1,
        documents,
        stop: stop.clone(),
    };
    let answers = converse(guarded(routes, api), peer(over_tcp), stop, bytes).await;
    let answers = String::from_utf8_lossy(&answers).to_ascii_lowercase();
    assert!(!answers.contains("http/1.1 500"), "{answers}");
    assert!(!answers.contains("access-control-allow"), "{answers}");
    if over_tcp {
        let asked = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        let may_be_ours = OURS.iter().any(|name| asked.contains(name));
        assert!(may_be_ours || !answers.contains("http/1.1 2"), "{answers}");
    }
}

fn peer(over_tcp: bool) -> Peer {
    match over_tcp {
        true => Peer::Tcp {
            peer: ([127, 0, 0, 1], 5_000).into(),
            local: ([127, 2, 27, 1], 80).into(),
            accepted: Some(Uid::ROOT),
        },
        false => Peer::Unix {
            uid: Some(Uid::ROOT),
        },
    }
}

async fn converse(router: Router, peer: Peer, stop: CancellationToken, bytes: &[u8]) -> Vec<u8> {
    let (mut near, far) = duplex(64 * 1024);
    let mut answers = Vec::new();
    let client = async {
        // Whatever the server makes of it: it may hang up at any time.
        let _ = near.write_all(bytes).await;
        let _ = near.shutdown().await;
        let _ = near.read_to_end(&mut answers).await;
    };
    let server = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(far), serve::service(router, peer));
    let both = async { tokio::join!(client, server) };
    let _ = tokio::time::timeout(TIMEOUT, both).await;
    stop.cancel();
    answers
}

/// What the configuration says of REST.
pub fn settings(settings: Settings<'_>) {
    let _ = Identity::parse(Settings {
        token_file: None,
        ..settings
    });
    if let Ok(Some(address)) = address(settings.listen) {
        assert!(address.ip().is_loopback());
    }
}

/// A file of tokens: none of them is short, and each is somebody's.
pub fn tokens(text: &str) {
    let Ok(tokens) = Tokens::parse(text) else {
        return;
    };
    assert_eq!(tokens.owner(""), None);
    for (token, _) in &tokens.0 {
        assert!(token.len() >= SHORTEST_TOKEN && tokens.owner(token).is_some());
    }
}
