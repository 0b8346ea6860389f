//! Long runs over the real programs, each from a seed: crashes at random moments ([`crash`]), hours of ordinary trouble
//! ([`soak`]), and thousands of connections with everything that clients do ([`integrity`]). The programs `soak` and `bench`
//! run them for as long as anyone likes, the black-box suite for seconds.
//!
//! The seed decides what is done and in which order; the machine decides how far the programs have come when it happens.
//! A run that finds something wrong ends in a panic that says what, and with which seed.

pub mod block;
pub mod clients;
pub mod crash;
pub mod integrity;
pub mod kernel;
pub mod soak;
pub mod traffic;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::harness::PATIENCE;

/// Looks again until `look` finds nothing wrong.
///
/// # Panics
/// With what is still wrong when [`PATIENCE`] has passed.
pub fn converges(what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(wrong) = look() {
        assert!(Instant::now() < deadline, "{what}: {wrong}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Tells the threads of a run to end, also where a panic ends it.
#[derive(Debug, Default)]
struct Over(AtomicBool);

impl Over {
    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whoever holds this keeps the threads going.
    fn on_drop(&self) -> OnDrop<'_> {
        OnDrop(self)
    }
}

struct OnDrop<'a>(&'a Over);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
