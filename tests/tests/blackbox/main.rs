//! The black-box suite: the real daemon, worker and client against the simulated cluster or a real one, each test in a
//! process and namespaces of its own.
//!
//! A test says by its first line what it needs: `run_anywhere` any cluster, `run` the simulated one, `run_as_root` that
//! and several users. What cannot run says so by name. See `tests/README.md` for a run against a real cluster.

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected failure is a panic, helpers included"
)]

mod capture;
mod changes;
mod contexts;
mod endurance;
mod forwarding;
mod hosts;
mod integrity;
mod lifecycle;
mod options;
mod real;
mod refusals;
mod storage;
mod support;
mod trouble;
mod users;
mod views;
