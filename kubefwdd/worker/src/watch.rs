//! Keeps the index of one namespace in step with its cluster, and the daemon in step with the index.
//!
//! Each namespace has one task that owns its [`NamespaceIndex`](crate::index::NamespaceIndex) ([`namespace`]) and two or
//! three tasks that watch one kind of objects each (`stream`); those only decode, shrink and pass on.

pub mod backoff;
mod check;
pub(crate) mod fuzzing;
pub mod namespace;
mod phase;
mod stream;
mod trouble;
mod wire;

pub use namespace::{Namespace, Spec, run};
