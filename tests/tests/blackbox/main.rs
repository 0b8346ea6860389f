//! The real programs, end to end: daemon, worker and client in namespaces of their own, against the simulated cluster
//! or a real one (see README.md of this package).

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected failure is a panic, helpers included"
)]

mod main_job;
mod support;
