//! Whether a namespace exists.
//!
//! The API server answers a list or a watch in a namespace that does not exist with 200 and no items, so an empty
//! answer alone does not distinguish a quiet namespace from a misspelt one.

use std::time::Duration;

use kube::Client;
use kube::core::Request;
use kube::core::params::GetParams;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::failure::WatchError;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a missing namespace is looked for.
const CHECK_INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// What is known of a namespace itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existence {
    /// It exists, or the user may not ask.
    Present,
    Terminating,
    /// It does not exist.
    Missing,
}

/// Sends the state, and every change of it, until the namespace exists and is not being deleted.
pub(super) async fn run<E: Send + 'static>(
    client: Client,
    namespace: String,
    update: mpsc::Sender<E>,
    wrap: fn(Existence) -> E,
) {
    let mut backoff = Backoff::between(CHECK_INTERVAL.0, CHECK_INTERVAL.1);
    let mut reported = None;
    loop {
        // The watches report why the API server does not answer.
        if let Ok(existence) = check(&client, &namespace).await {
            if reported != Some(existence) && update.send(wrap(existence)).await.is_err() {
                return;
            }
            if existence == Existence::Present {
                return;
            }
            reported = Some(existence);
        }
        tokio::select! {
            () = sleep(backoff.pause()) => {}
            () = update.closed() => return,
        }
    }
}

async fn check(client: &Client, namespace: &str) -> Result<Existence, WatchError> {
    let request = Request::new("/api/v1/namespaces")
        .get(namespace, &GetParams::default())
        .map_err(kube::Error::BuildRequest)?;
    let answer = timeout(ANSWER_TIMEOUT, client.request_text(request)).await;
    match answer.map_err(|_| WatchError::Timeout)? {
        Ok(text) => {
            let object: Object = serde_json::from_str(&text)?;
            Ok(match object.status.phase.as_str() {
                "Terminating" => Existence::Terminating,
                _ => Existence::Present,
            })
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Existence::Missing),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Existence::Present),
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}
