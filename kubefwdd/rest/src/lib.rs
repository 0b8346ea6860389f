//! REST: the daemon's interface for CI jobs, dashboards and browsers on this machine.
//!
//! The same router answers on `kubefwd.internal` (127.2.27.1:80) and on a unix socket. In front of it stands the guard
//! (`guard`), which keeps other pages and other users out; behind it a handler decodes, calls [`Control`] or reads a
//! snapshot, and encodes. The interface describes itself at `/openapi.yaml`, for people at `/docs`.

mod compat;
pub mod control;
mod docs;
mod envelope;
mod error;
mod extract;
#[cfg(test)]
mod fake;
mod filter;
#[cfg(any(test, fuzzing, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod identity;
mod keys;
mod list;
mod openapi;
mod prometheus;
mod rewrite;
mod router;
mod routes;
mod serve;
mod server;
mod settings;
mod sse;
mod state;
#[cfg(test)]
mod tests;
mod types;
mod wait;

pub use control::{Cluster, Control};
pub use identity::IdentityError;
pub use server::{Identification, RestError, Server};
pub use settings::Settings;
pub(crate) use state::ApiState;
