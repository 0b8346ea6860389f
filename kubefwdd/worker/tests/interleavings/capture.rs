//! The sniffers and what they may hold together.

#[path = "../../src/capture/allowance.rs"]
mod allowance;

use std::sync::Arc;

use loom::thread;

use super::explore;
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
