//! Notices that the machine slept or that its network changed: connections may be dead without an error.

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::contexts::Event;
use super::network::Network;

/// How often the clocks are compared.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A network change comes as several events: how long to wait for the rest.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Clock corrections are smaller.
const MIN_SLEEP: Duration = Duration::from_secs(3);

/// Sends an event each time the machine woke up or its network changed, until the receiver is gone.
pub(super) async fn watch(events: mpsc::Sender<Event>) {
    let mut network = Network::new();
    let mut clocks = Clocks::now();
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let changed = tokio::select! {
            _ = ticks.tick() => {
                let before = std::mem::replace(&mut clocks, Clocks::now());
                before.slept_until(&clocks)
            }
            () = network.changed() => {
                sleep(DEBOUNCE).await;
                network.forget();
                true
            }
            () = events.closed() => return,
        };
        if changed {
            tracing::debug!("the machine slept, or its network changed");
            if events.send(Event::HostChanged).await.is_err() {
                return;
            }
        }
    }
}

/// The monotonic clock stands still while the machine sleeps (CLOCK_MONOTONIC on Linux, CLOCK_UPTIME_RAW on macOS), the
/// wall clock does not.
struct Clocks {
    running: Instant,
    wall: SystemTime,
}

impl Clocks {
    fn now() -> Self {
        Self {
            running: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn slept_until(&self, later: &Self) -> bool {
        let running = later.running.saturating_duration_since(self.running);
        // A wall clock that was set back proves nothing.
        let wall = later.wall.duration_since(self.wall).unwrap_or_default();
        wall > running + MIN_SLEEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_differs_from_waiting_and_from_small_corrections() {
        let before = Clocks::now();
        let later = |running: u64, wall: i64| Clocks {
            running: before.running + Duration::from_secs(running),
            wall: if wall < 0 {
                before.wall - Duration::from_secs(wall.unsigned_abs())
            } else {
                before.wall + Duration::from_secs(wall.unsigned_abs())
            },
        };
        assert!(!before.slept_until(&later(5, 5)));
        assert!(!before.slept_until(&later(5, 7)));
        assert!(!before.slept_until(&later(5, -100)));
        assert!(before.slept_until(&later(5, 3600)));
    }
}
