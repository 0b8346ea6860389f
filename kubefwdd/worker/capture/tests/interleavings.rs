//! What the sniffers may hold together, with every interleaving of their threads.
//!
//! The source is the crate's own. Only `sync` is different: [loom](https://docs.rs/loom) runs the model again and again, and
//! each time lets the threads meet in another way, old values that a processor may still show included.

#[path = "../src/allowance.rs"]
mod allowance;

/// Loom's types in place of those that the crate uses.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
}

use std::sync::Arc;

use loom::thread;

use allowance::Allowance;

const MOST: usize = 10;

/// Grows in two steps, and lets go of everything if that is too much. What it holds then.
fn grow(allowance: &Allowance) -> usize {
    let mut held = 0;
    for next in [2, 6] {
        let fits = allowance.change(held, next);
        held = next;
        if !fits {
            assert!(allowance.change(held, 0));
            return 0;
        }
    }
    held
}

/// Runs a model in all interleavings in which no thread is interrupted more than a few times.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn sniffers_together_hold_no_more_than_they_may() {
    explore(|| {
        let allowance = Arc::new(Allowance::new(MOST));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let allowance = Arc::clone(&allowance);
                thread::spawn(move || grow(&allowance))
            })
            .collect();
        let mut held = vec![grow(&allowance)];
        held.extend(others.into_iter().map(|other| other.join().unwrap()));
        let all: usize = held.iter().sum();
        assert_eq!(allowance.held(), all);
        assert!(all <= MOST, "{held:?}");
        held.into_iter().for_each(|held| allowance.give_back(held));
        assert_eq!(allowance.held(), 0);
    });
}
