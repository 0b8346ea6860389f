//! The REST API against the running daemon: every route with traffic flowing, every refusal, everyone who may not call.
//! The real programs against the simulated cluster, each test in a process and namespaces of its own.

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected failure is a panic, helpers included"
)]

mod browser;
mod client;
mod contexts;
mod contract;
mod devtools;
mod diagnostics;
mod discovery;
mod forwards;
mod history;
mod identity;
mod judges;
mod metrics;
mod mistakes;
mod namespaces;
mod page;
mod server;
mod services;
mod streams;
mod support;
