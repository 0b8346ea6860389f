//! Whether a namespace exists.
//!
//! The API server answers a list or a watch in a namespace that does not exist with 200 and no items, so an empty
//! answer alone does not distinguish a quiet namespace from a misspelt one.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;

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
    name: String,
    update: mpsc::Sender<E>,
    wrap: fn(Existence) -> E,
) {
    let namespaces = Api::all(client);
    let mut backoff = Backoff::between(CHECK_INTERVAL.0, CHECK_INTERVAL.1);
    let mut reported = None;
    loop {
        // The watches report why the API server does not answer.
        let checked = timeout(ANSWER_TIMEOUT, check(&namespaces, &name)).await;
        if let Ok(Ok(existence)) = checked {
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

async fn check(namespaces: &Api<Namespace>, name: &str) -> kube::Result<Existence> {
    match namespaces.get(name).await {
        Ok(namespace) => {
            let phase = namespace.status.and_then(|status| status.phase);
            Ok(match phase.as_deref() {
                Some("Terminating") => Existence::Terminating,
                _ => Existence::Present,
            })
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Existence::Missing),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Existence::Present),
        Err(error) => Err(error),
    }
}
