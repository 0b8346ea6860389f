//! What the sniffers may hold together, with every interleaving of their threads.
//!
//! The source is the crate's own. Only `sync` is different: [loom](https://docs.rs/loom) runs the model again and again, and
//! each time lets the threads meet in another way, old values that a processor may still show included.

#[path = "../src/budget.rs"]
mod budget;

/// Loom's types in place of those that the crate uses.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
}

use std::sync::Arc;

use loom::thread;

use budget::Budget;

const MOST: usize = 10;

/// Grows in two steps, and lets go of everything if that is too much. What it holds then.
fn grow(budget: &Budget) -> usize {
    let mut held = 0;
    for next in [2, 6] {
        let fits = budget.change(held, next);
        held = next;
        if !fits {
            assert!(budget.change(held, 0));
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
        let budget = Arc::new(Budget::new(MOST));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let budget = Arc::clone(&budget);
                thread::spawn(move || grow(&budget))
            })
            .collect();
        let mut held = vec![grow(&budget)];
        held.extend(others.into_iter().map(|other| other.join().unwrap()));
        let all: usize = held.iter().sum();
        assert_eq!(budget.held(), all);
        assert!(all <= MOST, "{held:?}");
        held.into_iter().for_each(|held| budget.give_back(held));
        assert_eq!(budget.held(), 0);
    });
}
