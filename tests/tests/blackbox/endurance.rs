//! The long run of `make crash-test`, for seconds.

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::stress::crash;

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
