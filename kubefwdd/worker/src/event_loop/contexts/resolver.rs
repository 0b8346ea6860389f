//! Resolves a kubeconfig context to its cluster, and follows changes of the kubeconfig.

use std::sync::Arc;
use std::time::Duration;

use kubefwd_model::Failure;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::Event;
use crate::cluster::{Cluster, Clusters};
use crate::watch::backoff::Backoff;

/// How often a kubeconfig is reloaded while it cannot be used or its cluster does not answer.
const RELOAD_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Resolves a context to its cluster, and notices changes of the kubeconfig.
pub(super) struct ContextResolver {
    pub(super) id: u64,
    pub(super) context: String,
    pub(super) kubeconfig: Vec<String>,
    pub(super) clusters: Arc<Clusters>,
    pub(super) reload: Arc<Notify>,
    pub(super) request_failed: Arc<Notify>,
    pub(super) events: mpsc::Sender<Event>,
}

impl ContextResolver {
    pub(super) async fn run(self) {
        let mut backoff = Backoff::between(RELOAD_INTERVAL.0, RELOAD_INTERVAL.1);
        let mut known: Option<Arc<Cluster>> = None;
        let mut reported: Option<Failure> = None;
        loop {
            let event = match self.clusters.get(&self.context, &self.kubeconfig).await {
                Ok(cluster) if known.as_ref().is_some_and(|k| Arc::ptr_eq(k, &cluster)) => None,
                Ok(cluster) => {
                    known = Some(cluster.clone());
                    backoff.reset();
                    let id = self.id;
                    Some(Event::Resolved { id, cluster })
                }
                Err(failure) if reported.as_ref() == Some(&failure) => None,
                Err(failure) if known.is_some() => {
                    tracing::warn!(
                        context = self.context,
                        %failure,
                        "the kubeconfig can no longer be used; the earlier one stays in use"
                    );
                    reported = Some(failure);
                    None
                }
                Err(failure) => {
                    reported = Some(failure.clone());
                    let id = self.id;
                    Some(Event::Failed { id, failure })
                }
            };
            if let Some(event) = event
                && self.events.send(event).await.is_err()
            {
                return;
            }
            if known.is_some() {
                tokio::select! {
                    () = self.reload.notified() => continue,
                    () = self.request_failed.notified() => {}
                }
            }
            tokio::select! {
                () = self.reload.notified() => {}
                () = sleep(backoff.pause()) => {}
            }
        }
    }
}
