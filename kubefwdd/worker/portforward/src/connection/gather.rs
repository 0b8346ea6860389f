//! Payload of consecutive frames of one stream, so that it reaches the client in one system call.

use std::io::IoSlice;

const MOST: usize = 16;

/// Slices for one pair.
pub(super) struct Gather<'a> {
    pair: u32,
    slices: [IoSlice<'a>; MOST],
    used: usize,
}

impl Default for Gather<'_> {
    fn default() -> Self {
        Self {
            pair: 0,
            slices: [IoSlice::new(&[]); MOST],
            used: 0,
        }
    }
}

impl<'a> Gather<'a> {
    /// Whether there is room for a slice of this pair.
    pub(super) fn takes(&self, pair: u32) -> bool {
        self.used == 0 || (self.pair == pair && self.used < MOST)
    }

    pub(super) fn push(&mut self, pair: u32, bytes: &'a [u8]) {
        debug_assert!(self.takes(pair));
        if bytes.is_empty() {
            return;
        }
        self.pair = pair;
        self.slices[self.used] = IoSlice::new(bytes);
        self.used += 1;
    }

    /// What was gathered.
    pub(super) fn take(&self) -> (u32, &[IoSlice<'a>]) {
        (self.pair, &self.slices[..self.used])
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }
}
