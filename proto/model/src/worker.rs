//! The process that forwards for one user.

use serde::Serialize;

use crate::Uid;
use crate::words::words;

words! {
    /// Whether a worker runs.
    pub enum WorkerState {
        /// Started, has not said hello.
        Starting = "starting",
        /// Running.
        Running = "running",
        /// Died; started again after a pause.
        Backoff = "backoff",
    }
}

/// The process that forwards for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Worker {
    /// The user's number.
    pub uid: Uid,
    /// The user's name, or the number where the user database has none.
    pub user: String,
    /// 0 while it does not run.
    pub pid: u32,
    /// Whether it runs.
    pub state: WorkerState,
    /// How often it had to be restarted.
    pub restarts: u32,
    /// Why it last exited; empty if it never did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}
