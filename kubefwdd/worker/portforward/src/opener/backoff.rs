//! Backoff after failures: the first retry is immediate, then pauses grow with jitter. All tunnels of a cluster share them,
//! so that a thousand tunnels do not overload an API server that has just come back.

use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The backoff of one cluster.
#[derive(Default)]
pub(super) struct Backoff {
    pause: Mutex<Option<Pause>>,
    ended: Notify,
}

struct Pause {
    length: Duration,
    until: Instant,
}

impl Backoff {
    /// Waits until the pause is over.
    pub(super) async fn wait(&self) {
        loop {
            let ended = self.ended.notified();
            let until = self.pause.lock().as_ref().map(|pause| pause.until);
            let Some(until) = until.filter(|until| *until > Instant::now()) else {
                return;
            };
            tokio::select! {
                () = sleep_until(until) => {}
                () = ended => {}
            }
        }
    }

    /// The cluster failed: the next pause is longer (decorrelated jitter). Failures within a pause count once.
    pub(super) fn failed(&self) {
        let mut pause = self.pause.lock();
        let now = Instant::now();
        let last = match pause.as_ref() {
            Some(pause) if pause.until > now => return,
            Some(pause) => pause.length,
            None => MIN_PAUSE,
        };
        let longest = (last * 3).clamp(MIN_PAUSE, MAX_PAUSE);
        let length = rand::rng().random_range(MIN_PAUSE..=longest);
        *pause = Some(Pause {
            length,
            until: now + length,
        });
    }

    /// The cluster answered, or the network changed: the pause ends.
    pub(super) fn reset(&self) {
        if self.pause.lock().take().is_some() {
            self.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_their_bounds_and_count_once() {
        let backoff = Backoff::default();
        for _ in 0..50 {
            backoff.failed();
            let first = backoff
                .pause
                .lock()
                .as_ref()
                .map(|pause| (pause.until, pause.length))
                .unwrap();
            backoff.failed();
            let second = backoff
                .pause
                .lock()
                .as_ref()
                .map(|pause| (pause.until, pause.length))
                .unwrap();
            assert_eq!(first, second);
            assert!(first.1 >= MIN_PAUSE && first.1 <= MAX_PAUSE);
            backoff.pause.lock().as_mut().unwrap().until = Instant::now();
        }
    }

    #[tokio::test]
    async fn a_reset_wakes_those_who_wait() {
        let backoff = Backoff::default();
        *backoff.pause.lock() = Some(Pause {
            length: MAX_PAUSE,
            until: Instant::now() + Duration::from_secs(3600),
        });
        let waiting = backoff.wait();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            () = &mut waiting => panic!("did not wait"),
            () = tokio::task::yield_now() => {}
        }
        backoff.reset();
        waiting.await;
    }
}
