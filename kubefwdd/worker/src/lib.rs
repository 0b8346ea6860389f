//! The worker: runs as one user and holds everything that belongs to that user: kubeconfig, credentials, watches, tunnels
//! and the forwarded bytes. It talks to the daemon over one socketpair and gets nothing from root but listening sockets.

mod accept;
mod admission;
pub mod app;
pub mod auth;
mod capture;
pub mod cli;
pub mod cluster;
mod data_plane;
pub mod discovery;
mod event_loop;
mod forward;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod outbox;
pub mod sys;
mod watch;
