//! What the service manager is told: ready, stopping, and that the owner of the state still does its rounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::control::Control;
use crate::owner::OwnerHandle;

/// Everything is as it should be: names written, listeners open, sockets served.
pub(super) fn ready(control: &Control) {
    let counts = control.view().counts(|_| true);
    let status = format!("forwarding {} services", counts.services);
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The daemon is ending.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// The service manager's watchdog. It is fed by the owner of the state itself, not by a timer that would outlive a hang.
#[derive(Clone)]
pub(super) struct Watchdog {
    interval: Option<Duration>,
    last: Arc<std::sync::Mutex<Option<Instant>>>,
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

    /// Called by the owner after each round; tells the service manager once in a while.
    pub(super) fn owner_is_alive(&self) {
        let Some(interval) = self.interval else {
            return;
        };
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= interval) {
            *last = Some(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// Gives the owner a round to do when nothing else does.
    pub(super) async fn keep_asking(self, owner: OwnerHandle, stop: CancellationToken) {
        let Some(interval) = self.interval else {
            return;
        };
        let mut ticks = tokio::time::interval(interval);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if owner.report(|_, _| ()).await.is_err() {
                        return;
                    }
                }
                () = stop.cancelled() => return,
            }
        }
    }
}
