//! A short soak: minutes of what `make soak` does for hours.

use std::time::Duration;

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::stress::soak::{self, Plan};

/// It takes as long as it says: `.config/nextest.toml` starts it first, so that the other tests run beside it.
#[test]
fn three_minutes_of_trouble_leave_no_wrong_byte_and_no_leak() {
    run(async |sandbox| {
        // So few that it holds up nobody on two cores.
        let plan = Plan {
            seed: 1,
            time: Duration::from_secs(180),
            services: 100,
            connections: 20,
            csv: None,
        };
        let figures = soak::run(&sandbox, plan).await;
        print(&figures);
    });
}

#[expect(clippy::print_stderr, reason = "the figures of a run are its result")]
fn print(figures: &soak::Figures) {
    eprintln!("{figures}");
}
