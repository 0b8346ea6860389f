//! The black-box suite: the real daemon, worker and client, against the simulated cluster or a real one.
//!
//! This program enters namespaces of its own before it starts a thread, so that no test touches the machine's hosts file
//! or ports. What a test needs and what is missing decides whether it runs; one that cannot is listed as ignored, by name.
//! See `tests/README.md` for a run against a real cluster.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by a panic and says why"
)]

mod changes;
mod forwarding;
mod lifecycle;
mod net;
mod refusals;
mod sandbox;
mod system;
mod target;
mod users;

use libtest_mimic::{Arguments, Trial};
use sandbox::Sandbox;

/// One test.
pub(crate) struct Case {
    name: &'static str,
    needs: Needs,
    run: fn(),
}

/// What a test needs beyond the programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Any cluster.
    AnyCluster,
    /// The simulated cluster: faults are injected, or it is described by the test.
    Simulated,
    /// The simulated cluster, and root, to be more than one user.
    Users,
}

pub(crate) const fn case(name: &'static str, needs: Needs, run: fn()) -> Case {
    Case { name, needs, run }
}

fn main() {
    let mut arguments = Arguments::from_args();
    let real = target::is_real();
    let sandbox = if arguments.list {
        Sandbox::none()
    } else {
        Sandbox::enter(real)
    };
    // All tests of one process share its namespaces: one at a time.
    arguments.test_threads = Some(1);
    let cases = [
        forwarding::CASES,
        changes::CASES,
        lifecycle::CASES,
        refusals::CASES,
        users::CASES,
        target::CASES,
    ];
    let trials = cases.into_iter().flatten().map(|case| {
        let runs = match case.needs {
            Needs::AnyCluster => true,
            Needs::Simulated => !real,
            Needs::Users => !real && sandbox.is_root,
        };
        let run = case.run;
        Trial::test(case.name, move || {
            run();
            Ok(())
        })
        .with_ignored_flag(!runs && !arguments.list)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
