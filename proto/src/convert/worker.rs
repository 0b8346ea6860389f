//! The worker of a user, as the control protocol shows it.

use kubefwd_model::{Worker, WorkerState};

use super::words;
use crate::control::v1 as pb;

words!(pb::WorkerState, WorkerState, Starting, Running, Backoff);

impl From<&Worker> for pb::Worker {
    fn from(worker: &Worker) -> Self {
        Self {
            uid: worker.uid.get(),
            user: worker.user.clone(),
            pid: worker.pid,
            state: pb::WorkerState::from(worker.state).into(),
            restarts: worker.restarts,
            error: worker.error.clone(),
        }
    }
}
