//! The simulated cluster held against a real one: its answers against recorded answers of Kubernetes 1.36, its behaviour
//! against the real `kubectl`.

mod contract;
mod faults;
mod kubectl;
mod lists;
mod replay;
mod rest;
mod rollouts;
mod support;
mod watches;
