//! The memory that all sniffers together may hold.

use crate::sync::{AtomicUsize, Relaxed};

/// Bytes in use, and their limit.
#[derive(Debug)]
pub(super) struct Budget {
    held: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        let held = AtomicUsize::new(0);
        Self { held, most }
    }

    /// One sniffer's memory changed. False if it has grown and the limit is exceeded: it has to free its memory then.
    #[must_use]
    pub(super) fn change(&self, before: usize, now: usize) -> bool {
        // Wraps around when it shrinks, as it should.
        let all = self.held.fetch_add(now.wrapping_sub(before), Relaxed);
        now <= before || all.saturating_add(now) <= self.most
    }

    /// One of them is gone.
    pub(super) fn give_back(&self, held: usize) {
        self.held.fetch_sub(held, Relaxed);
    }

    /// What they hold now.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}
