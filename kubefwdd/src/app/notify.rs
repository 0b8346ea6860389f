//! What the service manager is told: ready, reloading, stopping, how it goes, and that the store still does its rounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kubefwd_core::state::{Command, View};
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::store_handle::StoreHandle;

/// The least time between two lines of status.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// Everything is as it should be: names written, listeners open, sockets served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read; [`ready`] follows.
pub(super) fn reloading() {
    // The time tells the service manager that this is newer than its own request (Type=notify-reload).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon is ending.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Keeps the line that `systemctl status` shows true, until `stop`.
pub(super) async fn keep_status(mut view: watch::Receiver<Arc<View>>, stop: CancellationToken) {
    let mut last = String::new();
    loop {
        let status = status(&view.borrow_and_update());
        if status != last {
            tell(&[NotifyState::Status(&status)]);
            last = status;
        }
        let next = async {
            sleep(STATUS_PAUSE).await;
            view.changed().await
        };
        tokio::select! {
            changed = next => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

fn status(view: &View) -> String {
    let counts = view.counts(|_| true);
    let many = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let users: std::collections::BTreeSet<kubefwd_model::Uid> =
        view.namespaces.keys().map(|key| key.uid).collect();
    if users.is_empty() {
        return "nothing is forwarded".to_owned();
    }
    let mut text = format!(
        "forwarding {} in {} for {}",
        many(counts.services_active, "service"),
        many(counts.namespaces, "namespace"),
        many(users.len(), "user")
    );
    if counts.errors > 0 {
        text.push_str(&format!(
            ", {} (see kubefwdctl doctor)",
            many(counts.errors, "error")
        ));
    }
    if !view.warnings.is_empty() {
        text.push_str(&format!("; {}", view.warnings[0]));
    }
    text
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}

/// The service manager's watchdog. It is fed by the store itself, not by a timer that would outlive a hang.
#[derive(Clone)]
pub(super) struct Watchdog {
    interval: Option<Duration>,
    last: Arc<parking_lot::Mutex<Option<Instant>>>,
}

// === impl Watchdog ===

impl Watchdog {
    /// As `WATCHDOG_USEC` says.
    pub(super) fn from_environment() -> Self {
        Self {
            interval: sd_notify::watchdog_enabled().map(|limit| limit / 4),
            last: Arc::default(),
        }
    }

    /// Called by the store after each round; tells the service manager once in a while.
    pub(super) fn store_is_alive(&self) {
        let Some(interval) = self.interval else {
            return;
        };
        let mut last = self.last.lock();
        if last.is_none_or(|last| last.elapsed() >= interval) {
            *last = Some(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// Gives the store a round to do when nothing else does.
    pub(super) async fn keep_asking(self, store: StoreHandle, stop: CancellationToken) {
        let Some(interval) = self.interval else {
            return;
        };
        let mut ticks = tokio::time::interval(interval);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if store.apply(Command::Ping).await.is_err() {
                        return;
                    }
                }
                () = stop.cancelled() => return,
            }
        }
    }
}
