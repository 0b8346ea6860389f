//! What a user's worker may write into the daemon's log, which belongs to all: so much and no more, and always as the
//! word of that user's worker.

use std::time::Instant;

use kubefwd_model::Uid;
use kubefwd_model::text::clean;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::ChildStderr;
use tracing::Level;

use super::limits::{self, LineBudget};

/// One user's part of the log, over all runs of the worker.
pub(super) struct WorkerLog {
    uid: Uid,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The user's name; the number until it is known.
    user: String,
    budget: LineBudget,
}

// === impl WorkerLog ===

impl WorkerLog {
    pub(super) fn new(uid: Uid) -> Self {
        let inner = Inner {
            user: format!("uid {uid}"),
            budget: LineBudget::new(Instant::now()),
        };
        Self {
            uid,
            inner: Mutex::new(inner),
        }
    }

    /// The user's name, as it is in the database now.
    pub(super) fn name(&self, user: &str) {
        user.clone_into(&mut self.inner.lock().user);
    }

    /// Writes a line that the worker caused, if it may still write one.
    pub(super) fn write(&self, level: Level, service: Option<&str>, message: &str) {
        let (user, left_out) = {
            let mut inner = self.inner.lock();
            let Some(left_out) = inner.budget.take(Instant::now()) else {
                return;
            };
            (inner.user.clone(), left_out)
        };
        let uid = self.uid.get();
        if left_out > 0 {
            tracing::warn!(target: "worker", uid, left_out, "{user}'s worker: it logs too much; lines were dropped");
        }
        let message = clean(message, limits::TEXT);
        match level {
            Level::ERROR => {
                tracing::error!(target: "worker", uid, service, "{user}'s worker says: {message}");
            }
            Level::WARN => {
                tracing::warn!(target: "worker", uid, service, "{user}'s worker says: {message}");
            }
            Level::INFO => {
                tracing::info!(target: "worker", uid, service, "{user}'s worker says: {message}");
            }
            _ => tracing::debug!(target: "worker", uid, service, "{user}'s worker says: {message}"),
        }
    }

    /// Writes what comes from the worker's standard error until it is closed: what it says before it can speak, and when
    /// it can no longer.
    pub(super) async fn copy(&self, stderr: ChildStderr) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A longer line comes in parts.
            let mut part = (&mut stderr).take(limits::TEXT as u64);
            match part.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.write(Level::WARN, None, String::from_utf8_lossy(&line).trim_end()),
            }
        }
    }
}
