//! What one worker may make the daemon keep or do. A worker that asks for more is cut short, never the daemon.

use std::time::{Duration, Instant};

/// The longest text that is kept of a message, bytes.
pub(super) const TEXT: usize = 4096;
/// The longest of a name of a port, container or protocol, bytes.
pub(super) const NAME: usize = 256;
/// Ports of one service.
pub(super) const PORTS: usize = 256;
/// Ready pods of one headless service that get an address each.
pub(super) const PODS: usize = 2_000;
/// Notes on one namespace.
pub(super) const NOTES: usize = 16;
/// Listings that may be under way at a time.
pub(super) const LISTINGS: usize = 1_024;
/// Services in all the listings that are under way.
pub(super) const LISTED: usize = 400_000;
/// Reports that may wait for the owner of the state, KiB of frames. Decoded they are larger; more than two of the largest
/// would be needed by nobody.
pub(super) const REPORTS_KIB: usize = 2 * 1024;
/// Answers that may wait for their askers, KiB of frames; a list waits until all of it has come. Decoded they are larger,
/// ten to twenty times when a worker makes them so.
pub(super) const ANSWERS_KIB: usize = 16 * 1024;
/// Questions that may be open at a time.
pub(super) const QUESTIONS: usize = 64;
/// Frames a second, over any ten seconds: a listing of 100,000 services is about a thousand.
const FRAMES_PER_SECOND: u32 = 20_000;
const BURST: u32 = 10 * FRAMES_PER_SECOND;
/// Lines of one worker in the log, a second, over any twenty seconds.
const LINES_PER_SECOND: u32 = 10;
const LINES: u32 = 20 * LINES_PER_SECOND;

/// A token bucket over the frames of one worker.
pub(super) struct FrameBudget {
    per_second: u32,
    burst: u32,
    left: f64,
    last: Instant,
}

/// What one worker may put into the log, which belongs to all.
pub(super) struct LineBudget {
    budget: FrameBudget,
    left_out: u64,
}

// === impl FrameBudget ===

impl FrameBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self::of(FRAMES_PER_SECOND, BURST, now)
    }

    fn of(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            per_second,
            burst,
            left: f64::from(burst),
            last: now,
        }
    }

    /// Takes one frame; how long to wait before the next is read, when the budget is used up.
    pub(super) fn take(&mut self, now: Instant) -> Option<Duration> {
        let per_second = f64::from(self.per_second);
        let earned = now.duration_since(self.last).as_secs_f64() * per_second;
        self.left = (self.left + earned).min(f64::from(self.burst)) - 1.0;
        self.last = now;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / per_second))
    }
}

// === impl LineBudget ===

impl LineBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            budget: FrameBudget::of(LINES_PER_SECOND, LINES, now),
            left_out: 0,
        }
    }

    /// Whether a line may be written: how many were left out before it, or `None` when it is left out too.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        if self.budget.take(now).is_some() {
            // Nothing is owed for what was not written, and nothing lost that was earned.
            self.budget.left += 1.0;
            self.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_waits() {
        let start = Instant::now();
        let mut budget = FrameBudget::new(start);
        assert!((0..BURST).all(|_| budget.take(start).is_none()));
        let pause = budget.take(start).unwrap();
        assert!(
            budget
                .take(start + pause + Duration::from_secs(1))
                .is_none()
        );
    }

    #[test]
    fn a_flood_of_lines_is_left_out_and_counted() {
        let start = Instant::now();
        let mut budget = LineBudget::new(start);
        assert!((0..LINES).all(|_| budget.take(start) == Some(0)));
        assert!((0..1_000).all(|_| budget.take(start).is_none()));
        let later = start + Duration::from_secs(1);
        assert_eq!(budget.take(later), Some(1_000));
        assert_eq!(budget.take(later), Some(0));
    }

    #[test]
    fn of_a_steady_stream_that_is_too_fast_a_part_is_written() {
        let start = Instant::now();
        let mut budget = LineBudget::new(start);
        assert!((0..LINES).all(|_| budget.take(start) == Some(0)));
        // For ten seconds, four times as fast as is allowed.
        let pause = Duration::from_secs(1) / (4 * LINES_PER_SECOND);
        let lines = (1..=40 * LINES_PER_SECOND).map(|n| budget.take(start + n * pause));
        let written: Vec<u64> = lines.flatten().collect();
        assert!((99..=100).contains(&written.len()), "{written:?}");
        assert!(written.iter().all(|left_out| *left_out == 3), "{written:?}");
    }
}
