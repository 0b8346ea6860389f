//! Queries of the user that the daemon passes on: each runs in its own task, a limited number at once.

use std::collections::HashMap;
use std::sync::Arc;

use kubefwd_model::failure;
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{Answer, Query};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::cluster::Clusters;
use crate::discovery;
use crate::outbox::Outbox;

/// Queries running at once; each may hold a connection to the cluster.
const MAX_RUNNING: usize = 32;

/// The queries that are being answered; dropping it cancels them.
pub(super) struct Queries {
    clusters: Arc<Clusters>,
    outbox: Outbox,
    tasks: TaskTracker,
    running: HashMap<u64, AbortOnDropHandle<()>>,
}

impl Queries {
    pub(super) fn new(clusters: Arc<Clusters>, outbox: Outbox, tasks: TaskTracker) -> Self {
        Self {
            clusters,
            outbox,
            tasks,
            running: HashMap::new(),
        }
    }

    /// Starts answering; returns a refusal if too many queries are running, or this one is.
    pub(super) fn ask(&mut self, query: Query) -> Option<Frame> {
        let id = query.id;
        self.running.retain(|_, query| !query.is_finished());
        if self.running.len() >= MAX_RUNNING || self.running.contains_key(&id) {
            return Some(refusal(id));
        }
        let (clusters, frames) = (self.clusters.clone(), self.outbox.0.clone());
        let task = async move { discovery::answer(&clusters, query, frames).await };
        let task = self.tasks.spawn(task);
        self.running.insert(id, AbortOnDropHandle::new(task));
        None
    }

    /// Nobody waits for the answer.
    pub(super) fn cancel(&mut self, id: u64) {
        self.running.remove(&id);
    }
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
