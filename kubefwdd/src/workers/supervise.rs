//! Keeps one user's worker running: starts it, speaks with it, starts it again after a growing pause.
//!
//! Its listeners stay open in the daemon, so that connections wait in their queues and are not refused.

use std::sync::Arc;
use std::time::Duration;

use kubefwd_core::state::Report;
use kubefwd_model::Uid;
use kubefwd_proto::worker::v1::{self as wire, to_worker::Frame};
use rand::RngExt as _;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{User, Workers, permission, session, spawn};
use crate::store_handle::Stopping;

const MIN_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A worker that ran for so long was healthy: the next pause is the first again.
const HEALTHY: Duration = Duration::from_secs(60);
/// A worker for questions only ends when none was asked for so long.
const IDLE: Duration = Duration::from_secs(60);
/// How long a worker may take to end its connections.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the standard error of a worker that has ended is read.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs until the daemon stops, or until nobody wants this worker.
pub(super) async fn supervise(workers: Arc<Workers>, user: Arc<User>) {
    let uid = user.uid;
    let mut backoff = MIN_BACKOFF;
    loop {
        let started = Instant::now();
        let end = tokio::select! {
            end = run_permitted(&workers, &user) => end,
            () = unused(&workers, &user) => None,
            () = workers.stop.cancelled() => None,
        };
        *user.queue.lock() = None;
        let Some(error) = end else {
            user.questions.fail_all("it is being stopped");
            let gone = gone(uid, String::new(), false);
            let _ = workers.store.report(gone, None).await;
            return;
        };
        tracing::warn!(uid = uid.get(), %error, backoff_ms = backoff.as_millis(), "worker exited; restarting it");
        if tell(&workers, &user, error).await.is_err() {
            return;
        }
        if started.elapsed() > HEALTHY {
            backoff = MIN_BACKOFF;
        }
        let jittered = backoff.mul_f64(rand::rng().random_range(0.8..1.2));
        tokio::select! {
            () = sleep(jittered) => {}
            () = workers.stop.cancelled() => {}
        }
        backoff = (backoff * 2).min(MAX_BACKOFF);
        user.start_error.send_replace(None);
    }
}

/// Tells whoever waits for the worker, and the store, why there is none.
async fn tell(workers: &Workers, user: &User, error: String) -> Result<(), Stopping> {
    user.questions.fail_all(&error);
    user.start_error.send_replace(Some(error.clone()));
    let gone = gone(user.uid, error, true);
    workers.store.report(gone, None).await
}

fn gone(uid: Uid, error: String, restarts: bool) -> Report {
    Report::WorkerGone {
        uid,
        error,
        restarts,
    }
}

/// One process from start to end, for as long as the user may have one.
async fn run_permitted(workers: &Arc<Workers>, user: &Arc<User>) -> Option<String> {
    let mut groups = workers.groups.subscribe();
    if let Some(why) = permission::denied(user.uid).await {
        tell(workers, user, why).await.ok()?;
        while permission::denied(user.uid).await.is_some() {
            permission::changed(&mut groups).await;
        }
        user.start_error.send_replace(None);
    }
    tokio::select! {
        end = run_once(workers, user) => end,
        why = permission::lost(&mut groups, user.uid) => Some(why),
    }
}

/// One process from start to end: why it died, or `None` when the daemon is stopping. Dropping it (the daemon stops, nobody
/// wants the worker) ends the process too.
async fn run_once(workers: &Arc<Workers>, user: &Arc<User>) -> Option<String> {
    let spawned = spawn::spawn(&workers.program, user.uid, &user.environment());
    let spawn::Spawned {
        mut child,
        socket,
        user: name,
    } = match spawned {
        Ok(spawned) => spawned,
        Err(error) => return Some(error.to_string()),
    };
    let (uid, pid) = (user.uid, child.id().unwrap_or_default());
    user.log.name(&name);
    let log = child.stderr.take().map(|stderr| {
        let user = user.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { user.log.copy(stderr).await }))
    });
    let mut process = Process {
        child: Some(child),
        workers: workers.clone(),
        user: user.clone(),
    };
    let started = Report::WorkerStarted {
        uid,
        pid,
        user: name,
    };
    if workers.store.report(started, None).await.is_err() {
        return None;
    }
    let Err(error) = session::run(workers, user, socket, pid).await;
    let status = process.kill().await;
    if let Some(log) = log {
        // Its last words; a child of it may hold the other end for ever.
        let _ = timeout(LAST_WORDS, log).await;
    }
    Some(match status {
        Some(status) if !status.success() => format!("{error}; {status}"),
        _ => error.to_string(),
    })
}

/// Ends when the worker was wanted for questions only, and none was open for a while.
async fn unused(workers: &Workers, user: &User) {
    let mut wanted = user.wanted.subscribe();
    loop {
        // Its sender lives as long as `user`.
        let _ = wanted.wait_for(|wanted| !wanted).await;
        let is_idle = timeout(IDLE, wanted.changed()).await.is_err();
        if is_idle && workers.forget(user) {
            return;
        }
    }
}

/// A running worker. However its supervision ends, the process is told to go, then killed.
struct Process {
    child: Option<Child>,
    workers: Arc<Workers>,
    user: Arc<User>,
}

// === impl Process ===

impl Process {
    /// The worker broke its session: nothing more is expected of it.
    async fn kill(&mut self) -> Option<std::process::ExitStatus> {
        let mut child = self.child.take()?;
        // A worker that ended by itself has a status of its own to tell.
        if let Ok(Ok(status)) = timeout(Duration::from_millis(100), child.wait()).await {
            return Some(status);
        }
        let _ = child.start_kill();
        child.wait().await.ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        self.user.send(Frame::Shutdown(wire::Shutdown {}), None);
        self.workers.tasks.spawn(async move {
            if timeout(SHUTDOWN_TIMEOUT, child.wait()).await.is_err() {
                let _ = child.start_kill();
                let _ = child.wait().await;
            }
        });
    }
}
