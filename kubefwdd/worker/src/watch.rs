//! Keeps the index of one namespace in step with its cluster, and the daemon in step with the index.
//!
//! Each namespace has one task that owns its [`NamespaceIndex`](crate::index::NamespaceIndex) ([`namespace`]) and two or
//! three tasks that watch one kind of objects each (`stream`); those only decode, shrink and pass on.

pub(crate) mod backoff;
mod existence;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod namespace;
mod phase;
mod report;
mod stream;
mod failure;
mod decode;

pub(crate) use namespace::{Namespace, Spec, run};
