//! Keeps the index of one namespace in sync with its cluster, and the daemon in sync with the index.
//!
//! Each namespace has one task that owns its [`NamespaceIndex`](crate::index::NamespaceIndex) ([`namespace`]) and two or
//! three tasks that watch one resource each (`stream`) and only decode, compact and pass on.

pub(crate) mod backoff;
mod decode;
mod existence;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod namespace;
mod phase;
mod report;
mod stream;

pub(crate) use namespace::{Namespace, Spec, run};
