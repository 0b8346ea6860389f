//! The bytes that a service moved, second by second for an hour and minute by minute for a day, in fixed memory.
//!
//! Only minutes and hours in which something moved take memory, so a service that is used now and then costs a few
//! kilobytes, and one that is always busy 52.

use std::array;

/// How far back seconds are kept, seconds.
pub const SECONDS_KEPT: u64 = 3_600;
/// How far back minutes are kept, seconds.
pub const MINUTES_KEPT: u64 = 86_400;

/// The history of one service.
pub struct History {
    /// By minute of the hour.
    seconds: [Option<Box<Chunk<u32>>>; 60],
    /// By hour of the day.
    minutes: [Option<Box<Chunk<u64>>>; 24],
}

/// Sixty neighbouring cells; `id` tells which sixty.
struct Chunk<N> {
    id: u64,
    cells: [(N, N); 60],
}

/// What moved in one step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its start, seconds since 1970.
    pub start: u64,
    /// Bytes from pods.
    pub bytes_in: u64,
    /// Bytes to pods.
    pub bytes_out: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            seconds: array::from_fn(|_| None),
            minutes: array::from_fn(|_| None),
        }
    }
}

// === impl History ===

impl History {
    /// Counts bytes into a second (since 1970).
    pub fn add(&mut self, second: u64, bytes_in: u64, bytes_out: u64) {
        let (minute, hour) = (second / 60, second / 3_600);
        let chunk = current(&mut self.seconds[index(minute, 60)], minute);
        let cell = &mut chunk.cells[index(second, 60)];
        cell.0 = cell
            .0
            .saturating_add(u32::try_from(bytes_in).unwrap_or(u32::MAX));
        cell.1 = cell
            .1
            .saturating_add(u32::try_from(bytes_out).unwrap_or(u32::MAX));
        let chunk = current(&mut self.minutes[index(hour, 24)], hour);
        let cell = &mut chunk.cells[index(minute, 60)];
        cell.0 = cell.0.saturating_add(bytes_in);
        cell.1 = cell.1.saturating_add(bytes_out);
    }

    /// The `count` steps of `step` seconds that end with the one that holds `now`, oldest first; every one is there, also
    /// those in which nothing moved. Steps of whole minutes reach back a day, others an hour.
    pub fn read(&self, now: u64, step: u64, count: u64) -> Vec<Bucket> {
        let step = step.max(1);
        let last = now / step;
        let first = last.saturating_sub(count.saturating_sub(1));
        let mut buckets: Vec<Bucket> = (first..=last)
            .map(|n| Bucket {
                start: n * step,
                bytes_in: 0,
                bytes_out: 0,
            })
            .collect();
        let mut put = |time: u64, bytes_in: u64, bytes_out: u64| {
            let slot = (time / step)
                .checked_sub(first)
                .and_then(|n| usize::try_from(n).ok());
            if let Some(bucket) = slot.and_then(|slot| buckets.get_mut(slot)) {
                bucket.bytes_in = bucket.bytes_in.saturating_add(bytes_in);
                bucket.bytes_out = bucket.bytes_out.saturating_add(bytes_out);
            }
        };
        if step.is_multiple_of(60) {
            for (minute, bytes_in, bytes_out) in cells(&self.minutes, now / 3_600) {
                put(minute * 60, bytes_in, bytes_out);
            }
        } else {
            for (second, bytes_in, bytes_out) in cells(&self.seconds, now / 60) {
                put(second, bytes_in, bytes_out);
            }
        }
        buckets
    }

    /// Gives back the memory of what is too old to be read.
    pub fn prune(&mut self, now: u64) {
        for chunk in &mut self.seconds {
            chunk.take_if(|chunk| chunk.id + 60 <= now / 60);
        }
        for chunk in &mut self.minutes {
            chunk.take_if(|chunk| chunk.id + 24 <= now / 3_600);
        }
    }
}

/// The chunk with this id, which may take the place of an older one.
fn current<N: Copy + Default>(slot: &mut Option<Box<Chunk<N>>>, id: u64) -> &mut Chunk<N> {
    slot.take_if(|chunk| chunk.id != id);
    slot.get_or_insert_with(|| {
        Box::new(Chunk {
            id,
            cells: [(N::default(), N::default()); 60],
        })
    })
}

/// The cells of the chunks that are not too old, each with its number.
fn cells<N: Copy + Into<u64>>(
    chunks: &[Option<Box<Chunk<N>>>],
    now: u64,
) -> impl Iterator<Item = (u64, u64, u64)> {
    let kept = chunks.len() as u64;
    let chunks = chunks.iter().flatten();
    let chunks = chunks.filter(move |chunk| now < chunk.id + kept);
    let numbered = chunks.flat_map(|chunk| (chunk.id * 60..).zip(chunk.cells));
    numbered.map(|(n, (bytes_in, bytes_out))| (n, bytes_in.into(), bytes_out.into()))
}

fn index(n: u64, size: u64) -> usize {
    // Less than `size`, which is a small constant.
    (n % size) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn quiet_steps_are_there_too() {
        let mut history = History::default();
        history.add(NOW - 2, 5, 1);
        history.add(NOW, 7, 0);
        let read: Vec<_> = history
            .read(NOW, 1, 4)
            .iter()
            .map(|b| (b.start, b.bytes_in))
            .collect();
        assert_eq!(read, [(NOW - 3, 0), (NOW - 2, 5), (NOW - 1, 0), (NOW, 7)]);
    }

    #[test]
    fn what_is_too_old_is_not_shown_as_new() {
        let mut history = History::default();
        history.add(NOW - SECONDS_KEPT, 5, 5);
        history.add(NOW - MINUTES_KEPT, 9, 9);
        let sum = |buckets: Vec<Bucket>| buckets.iter().map(|b| b.bytes_in).sum::<u64>();
        assert_eq!(sum(history.read(NOW, 1, 3_600)), 0);
        assert_eq!(sum(history.read(NOW, 60, 1_440)), 5);
        history.prune(NOW);
        assert_eq!(history.seconds.iter().flatten().count(), 0);
        assert_eq!(history.minutes.iter().flatten().count(), 1);
    }

    proptest! {
        #[test]
        fn every_byte_of_the_time_asked_for_is_counted_once(
            moves in proptest::collection::vec((0..3_000_u64, 0..1_000_u64), 0..50), step in 1..200_u64,
        ) {
            let mut history = History::default();
            for (ago, bytes) in &moves {
                history.add(NOW - ago, *bytes, 2 * bytes);
            }
            let buckets = history.read(NOW, step, 3_600 / step + 1);
            let sum: u64 = moves.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(buckets.iter().map(|b| b.bytes_in).sum::<u64>(), sum);
            prop_assert_eq!(buckets.iter().map(|b| b.bytes_out).sum::<u64>(), 2 * sum);
        }
    }
}
