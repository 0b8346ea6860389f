//! The session with a worker, where the other end of the channel belongs to the caller.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use kubefwd_model::Uid;
use kubefwd_telemetry::Telemetry;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::log::WorkerLog;
use super::questions::Questions;
use super::session;
use super::{User, Workers};
use crate::store_handle::StoreHandle;

/// A registry that starts no process.
pub(crate) fn workers(store: StoreHandle, telemetry: Arc<Telemetry>) -> Arc<Workers> {
    let settings = ("/nonexistent".into(), Default::default());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    Workers::new(settings, store, telemetry, stop, tasks)
}

impl Workers {
    /// Speaks with the worker of this user over `socket` until the session ends; says why it did.
    pub(crate) async fn converse(&self, uid: Uid, socket: UnixStream) -> String {
        let user = Arc::new(User {
            uid,
            wanted: watch::Sender::new(true),
            environment: Mutex::new(BTreeMap::new()),
            queue: Mutex::default(),
            questions: Questions::default(),
            start_error: watch::Sender::new(None),
            log: WorkerLog::new(uid),
        });
        self.users.lock().insert(uid, user.clone());
        let Err(error) = session::run(self, &user, socket, 1).await;
        error.to_string()
    }
}
