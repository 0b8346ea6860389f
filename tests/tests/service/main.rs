//! The daemon as a service: restarts, reloads, what it keeps on disk, several users, peers that mean harm. The real programs against the simulated
//! cluster, each test in a process and namespaces of its own; a service manager is played by the test where one is needed
//! (`scripts/systemd-test` has the real one).

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected failure is a panic, helpers included"
)]

mod access;
mod hostile_client;
mod hostile_cluster;
mod hostile_worker;
mod manager;
mod reload;
mod soak;
mod state;
mod support;
mod takeover;
mod trust;
mod upgrade;
mod users;
