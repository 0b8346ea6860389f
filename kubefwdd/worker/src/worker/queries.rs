//! Questions of the user that the daemon passes on: each in a task of its own, a limited number at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{Answer, Query, answer};
use kubefwd_proto::{Failure, Reason};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Clusters;
use crate::discovery;
use crate::link::Outbox;

/// Questions under way at once; each may hold a connection to the cluster.
const AT_ONCE: usize = 32;

pub(super) struct Queries {
    clusters: Arc<Clusters>,
    outbox: Outbox,
    tasks: TaskTracker,
    running: Arc<Mutex<HashMap<u64, CancellationToken>>>,
}

impl Queries {
    pub(super) fn new(clusters: Arc<Clusters>, outbox: Outbox, tasks: TaskTracker) -> Self {
        Self {
            clusters,
            outbox,
            tasks,
            running: Arc::default(),
        }
    }

    /// Starts to answer.
    pub(super) fn ask(&self, query: Query) {
        let id = query.id;
        let cancelled = CancellationToken::new();
        let admitted = {
            let mut all = lock(&self.running);
            all.len() < AT_ONCE && all.insert(id, cancelled.clone()).is_none()
        };
        let (clusters, outbox) = (self.clusters.clone(), self.outbox.clone());
        if !admitted {
            self.tasks.spawn(async move {
                // A daemon that is gone needs no answer.
                let _ = outbox.send(Frame::Answer(refusal(id))).await;
            });
            return;
        }
        let running = Running { id, all: self.running.clone() };
        self.tasks.spawn(async move {
            let _running = running;
            let mut answers = discovery::answer(clusters, query);
            loop {
                let answer = tokio::select! {
                    () = cancelled.cancelled() => return,
                    answer = answers.next() => answer,
                };
                let Some(answer) = answer else { return };
                if outbox.send(Frame::Answer(answer)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Nobody waits for the answer any more.
    pub(super) fn cancel(&self, id: u64) {
        if let Some(query) = lock(&self.running).remove(&id) {
            query.cancel();
        }
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        for (_, query) in lock(&self.running).drain() {
            query.cancel();
        }
    }
}

struct Running {
    id: u64,
    all: Arc<Mutex<HashMap<u64, CancellationToken>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.id);
    }
}

fn refusal(id: u64) -> Answer {
    let message = format!("{AT_ONCE} questions to clusters are under way already");
    let failure = Failure::new(Reason::LimitExceeded, message).hint("try again in a moment");
    Answer { id, last: true, answer: Some(answer::Answer::Failure(failure.into())) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
