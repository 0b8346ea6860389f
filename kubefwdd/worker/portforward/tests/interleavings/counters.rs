//! The counters of a forward.

#[path = "../../src/counters.rs"]
mod values;

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::explore;
use values::{Active, CounterValues, Counters};

#[test]
fn nothing_that_is_counted_gets_lost() {
    explore(|| {
        let counters = Arc::new(Counters::default());
        let carry = |counters: &Counters| {
            let _open = Active::new(counters);
            counters.received(3);
            counters.sent(2);
            counters.answered(Duration::from_micros(7));
        };
        let other = thread::spawn({
            let counters = Arc::clone(&counters);
            move || carry(&counters)
        });
        carry(&counters);
        let seen = counters.values();
        assert!(
            seen.active <= 1 && seen.opened <= 2 && seen.bytes_in >= 3,
            "{seen:?}"
        );
        other.join().unwrap();
        let expected = CounterValues {
            bytes_in: 6,
            bytes_out: 4,
            opened: 2,
            answered: 2,
            first_byte_total: Duration::from_micros(14),
            ..CounterValues::default()
        };
        assert_eq!(counters.values(), expected);
    });
}
