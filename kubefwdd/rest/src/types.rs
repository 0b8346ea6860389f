//! The shapes of the contract, and how they are made from what the daemon knows.
//!
//! Names are camelCase. What may be absent is left out, lists are `[]` and never null.

pub(crate) mod adding;
pub(crate) mod analysis;
pub(crate) mod diagnostics;
pub(crate) mod errors;
pub(crate) mod forwards;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod kubernetes;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod namespaces;
pub(crate) mod pods;
pub(crate) mod server;
pub(crate) mod services;

/// A text that may be absent.
pub(crate) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
