//! How soon a cluster is tried again: at once the first time, then with growing, jittered pauses that all its tunnels share,
//! so that a thousand of them do not fall upon an API server that has just come back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The pause of one cluster.
#[derive(Default)]
pub(super) struct Pace {
    pause: Mutex<Option<Pause>>,
    ended: Notify,
}

struct Pause {
    length: Duration,
    until: Instant,
}

impl Pace {
    /// Waits until the pause is over.
    pub(super) async fn wait(&self) {
        loop {
            let ended = self.ended.notified();
            let until = self.lock().as_ref().map(|pause| pause.until);
            let Some(until) = until.filter(|until| *until > Instant::now()) else {
                return;
            };
            tokio::select! {
                () = sleep_until(until) => {}
                () = ended => {}
            }
        }
    }

    /// The cluster failed: the next pause is longer, by decorrelated jitter. Failures within a pause count once.
    pub(super) fn slow_down(&self) {
        let mut pause = self.lock();
        let now = Instant::now();
        let last = match pause.as_ref() {
            Some(pause) if pause.until > now => return,
            Some(pause) => pause.length,
            None => SHORTEST,
        };
        let longest = (last * 3).clamp(SHORTEST, LONGEST);
        let length = rand::rng().random_range(SHORTEST..=longest);
        *pause = Some(Pause {
            length,
            until: now + length,
        });
    }

    /// The cluster answered, or the network changed: no pause any more.
    pub(super) fn reset(&self) {
        if self.lock().take().is_some() {
            self.ended.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pause>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_their_bounds_and_count_once() {
        let pace = Pace::default();
        for _ in 0..50 {
            pace.slow_down();
            let first = pace
                .lock()
                .as_ref()
                .map(|pause| (pause.until, pause.length))
                .unwrap();
            pace.slow_down();
            let second = pace
                .lock()
                .as_ref()
                .map(|pause| (pause.until, pause.length))
                .unwrap();
            assert_eq!(first, second);
            assert!(first.1 >= SHORTEST && first.1 <= LONGEST);
            pace.lock().as_mut().unwrap().until = Instant::now();
        }
    }

    #[tokio::test]
    async fn a_reset_wakes_those_who_wait() {
        let pace = Pace::default();
        *pace.lock() = Some(Pause {
            length: LONGEST,
            until: Instant::now() + Duration::from_secs(3600),
        });
        let waiting = pace.wait();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            () = &mut waiting => panic!("did not wait"),
            () = tokio::task::yield_now() => {}
        }
        pace.reset();
        waiting.await;
    }
}
