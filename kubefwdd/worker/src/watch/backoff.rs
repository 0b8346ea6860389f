//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt as _;

/// Decorrelated jitter: every wait is random between the floor and three times the one before, up to a ceiling, so that
/// many watches that failed together do not retry together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    floor: Duration,
    ceiling: Duration,
    last: Duration,
}

impl Backoff {
    /// For requests to an API server: 0.2 s to 30 s.
    pub(crate) fn new() -> Self {
        Self::between(Duration::from_millis(200), Duration::from_secs(30))
    }

    /// Waits between `floor` and `ceiling`.
    pub(crate) fn between(floor: Duration, ceiling: Duration) -> Self {
        Self {
            floor,
            ceiling,
            last: floor,
        }
    }

    /// The next wait.
    pub(crate) fn pause(&mut self) -> Duration {
        let longest = (self.last * 3).min(self.ceiling);
        self.last = rand::rng().random_range(self.floor..=longest.max(self.floor));
        self.last
    }

    /// After a success: the next wait is short.
    pub(crate) fn reset(&mut self) {
        self.last = self.floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_bounds_and_start_short_again() {
        let (floor, ceiling) = (Duration::from_millis(200), Duration::from_secs(30));
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..200).map(|_| backoff.pause()).collect();
        assert!(waits.iter().all(|wait| (floor..=ceiling).contains(wait)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(3)));
        backoff.reset();
        assert!(backoff.pause() <= floor * 3);
    }
}
