//! The long runs of the program `soak`, for seconds: what `make crash-test` and `make soak` do for as long as anyone likes.

use std::time::Duration;

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::stress::{crash, soak};

#[test]
fn crashes_lose_nothing_and_leave_nothing() {
    run(async |sandbox| {
        let plan = crash::Plan {
            seed: rand::random(),
            kills: 20,
        };
        let figures = crash::run(&sandbox, plan, |_| {}).await;
        assert!(figures.kills() >= plan.kills, "{figures}");
    });
}

#[test]
fn trouble_all_day_leaks_nothing_and_changes_no_byte() {
    run(async |sandbox| {
        let plan = soak::Plan {
            seed: rand::random(),
            time: Duration::from_secs(40),
            services: 100,
            connections: 20,
            csv: None,
        };
        let _figures = soak::run(&sandbox, plan).await;
    });
}
