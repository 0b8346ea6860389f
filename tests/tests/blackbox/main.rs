//! What people meet after the main job works: options, several contexts, trouble in pods and cluster, what the client
//! shows. The real programs against the simulated cluster, each test in a process and namespaces of its own.

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected failure is a panic, helpers included"
)]

mod contexts;
mod hosts;
mod options;
mod refusals;
mod support;
mod trouble;
mod views;
