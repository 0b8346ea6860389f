//! The worker: runs as one user and holds everything that is that user's: kubeconfig, credentials, watches, tunnels and
//! the forwarded bytes. It talks to the daemon over one socketpair and asks root for nothing but listening sockets.

pub mod accept;
pub mod access;
pub mod admission;
pub mod capture;
pub mod carrier;
pub mod cli;
pub mod cluster;
pub mod discovery;
pub mod endpoint;
pub mod forward;
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
pub mod link;
mod sync;
pub mod sys;
pub mod tunnel;
pub mod watch;
pub mod worker;
