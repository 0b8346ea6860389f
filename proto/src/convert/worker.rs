//! The worker of a user, as the control protocol shows it.

use kubefwd_model::{Uid, Worker, WorkerState};

use super::{Malformed, words};
use crate::control::v1 as pb;

words!(
    pb::WorkerState,
    WorkerState {
        Starting,
        Running,
        Backoff
    }
);

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

impl TryFrom<pb::Worker> for Worker {
    type Error = Malformed;

    fn try_from(worker: pb::Worker) -> Result<Self, Malformed> {
        Ok(Self {
            state: worker.state().try_into()?,
            uid: Uid::new(worker.uid),
            user: worker.user,
            pid: worker.pid,
            restarts: worker.restarts,
            error: worker.error,
        })
    }
}
