//! Queries of the user that the daemon passes on: each runs in its own task, a limited number at once.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use kubefwd_model::failure;
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{Answer, Query};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Clusters;
use crate::discovery;
use crate::outbox::{Closed, Outbox};

/// Queries running at once; each may hold a connection to the cluster.
const MAX_RUNNING: usize = 32;

pub(super) struct Queries {
    clusters: Arc<Clusters>,
    outbox: Outbox,
    tasks: TaskTracker,
    running: Running,
}

type Running = Arc<Mutex<HashMap<u64, CancellationToken>>>;

impl Queries {
    pub(super) fn new(clusters: Arc<Clusters>, outbox: Outbox, tasks: TaskTracker) -> Self {
        Self {
            clusters,
            outbox,
            tasks,
            running: Running::default(),
        }
    }

    /// Starts answering; returns a refusal if too many queries are running.
    pub(super) fn ask(&self, query: Query) -> Option<Frame> {
        let id = query.id;
        let Some(entry) = Entry::new(&self.running, id) else {
            return Some(refusal(id));
        };
        let (clusters, outbox) = (self.clusters.clone(), self.outbox.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = entry.cancelled.cancelled() => {}
                // A daemon that is gone needs no answer.
                _ = answer(clusters, query, &outbox) => {}
            }
        });
        None
    }

    /// Nobody waits for the answer.
    pub(super) fn cancel(&self, id: u64) {
        if let Some(query) = self.running.lock().get(&id) {
            query.cancel();
        }
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        for query in self.running.lock().values() {
            query.cancel();
        }
    }
}

async fn answer(clusters: Arc<Clusters>, query: Query, outbox: &Outbox) -> Result<(), Closed> {
    let mut answers = discovery::answer(clusters, query);
    while let Some(answer) = answers.next().await {
        outbox.send(Frame::Answer(answer)).await?;
    }
    Ok(())
}

fn refusal(id: u64) -> Frame {
    let failure = failure!(
        LimitExceeded,
        "{MAX_RUNNING} questions about clusters are being answered already"
    )
    .hint("try again in a moment");
    Frame::Answer(Answer {
        id,
        last: true,
        answer: Some(Content::Failure(failure.into())),
    })
}

/// A running query.
struct Entry {
    id: u64,
    running: Running,
    cancelled: CancellationToken,
}

impl Entry {
    /// `None` if too many are running, or this one is.
    fn new(running: &Running, id: u64) -> Option<Self> {
        let mut all = running.lock();
        if all.len() >= MAX_RUNNING || all.contains_key(&id) {
            return None;
        }
        let cancelled = CancellationToken::new();
        all.insert(id, cancelled.clone());
        drop(all);
        Some(Self {
            id,
            running: running.clone(),
            cancelled,
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}
