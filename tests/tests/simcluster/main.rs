//! The simulated cluster held against a real one: its answers against recorded answers of Kubernetes 1.36, its behaviour
//! against the real `kubectl`.

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected failure is a panic, helpers included"
)]

mod contract;
mod faults;
mod kubectl;
mod lists;
mod replay;
mod rest;
mod rollouts;
mod support;
mod watches;
