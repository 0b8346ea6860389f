//! Deadlines by two clocks: the wall clock, by which credentials expire and which runs while the machine sleeps, and the
//! monotonic one, which nobody sets.
//!
//! A deadline has passed when either clock says so. A wall clock that is set back delays nothing, and a machine that slept
//! notices at once; a wall clock that is set forward only causes one refresh too many.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) running: Instant,
}

/// A time in the future.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    wall: Timestamp,
    /// `None` where it is further away than that clock counts.
    running: Option<Instant>,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            wall: Timestamp::now(),
            running: Instant::now(),
        }
    }
}

impl Deadline {
    /// When the wall clock will show this.
    pub(super) fn at(wall: Timestamp, now: Moment) -> Self {
        // A past time has nothing left.
        let left = std::time::Duration::try_from(wall.duration_since(now.wall));
        Self {
            wall,
            running: now.running.checked_add(left.unwrap_or_default()),
        }
    }

    /// After this duration; never, if that is too long to count.
    pub(super) fn after(pause: SignedDuration, now: Moment) -> Self {
        let wall = now.wall.checked_add(pause).unwrap_or(Timestamp::MAX);
        Self::at(wall, now)
    }

    pub(super) fn has_passed(&self, now: Moment) -> bool {
        now.wall >= self.wall || self.running.is_some_and(|at| now.running >= at)
    }

    pub(super) fn earlier(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            running: match (self.running, other.running) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
        }
    }

    /// Makes it look as if this much time had passed already.
    #[cfg(test)]
    pub(super) fn brought_forward(mut self, by: SignedDuration) -> Self {
        self.wall -= by;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// So many seconds later by each clock.
    fn later(start: Moment, wall: i64, running: u64) -> Moment {
        Moment {
            wall: start.wall + SignedDuration::from_secs(wall),
            running: start.running + Duration::from_secs(running),
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_delays_nothing() {
        let start = Moment::now();
        let deadline = Deadline::after(SignedDuration::from_secs(60), start);
        assert!(!deadline.has_passed(later(start, 59, 59)));
        assert!(deadline.has_passed(later(start, 60, 60)));
        assert!(!deadline.has_passed(later(start, -86_400, 59)), "set back");
        assert!(deadline.has_passed(later(start, -86_400, 60)), "set back");
    }

    #[test]
    fn a_machine_that_slept_is_late_at_once() {
        let start = Moment::now();
        let deadline = Deadline::after(SignedDuration::from_secs(60), start);
        assert!(deadline.has_passed(later(start, 3_600, 1)));
    }

    #[test]
    fn the_earlier_of_two_counts_by_each_clock() {
        let start = Moment::now();
        let one = Deadline::after(SignedDuration::from_secs(60), start);
        let never = Deadline::at(Timestamp::MAX, start);
        for both in [one.earlier(never), never.earlier(one)] {
            assert!(!both.has_passed(later(start, 59, 59)));
            assert!(both.has_passed(later(start, 60, 0)));
            assert!(both.has_passed(later(start, 0, 60)));
        }
        let over = Deadline::at(start.wall - SignedDuration::from_secs(1), start);
        assert!(over.has_passed(start));
    }
}
