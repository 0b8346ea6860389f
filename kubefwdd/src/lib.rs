//! The root daemon: control sockets, desired state, names, addresses, listeners, the hosts file and the workers.
//! It opens no user's file, runs no user's program, makes no outbound connection and touches no forwarded byte.

pub mod app;
pub mod cli;
pub mod config;
pub(crate) mod control;
pub(crate) mod file_watch;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod grpc;
pub(crate) mod hosts;
pub(crate) mod net;
pub mod paths;
pub(crate) mod peer;
pub(crate) mod persist;
pub(crate) mod rest_control;
pub(crate) mod storage;
pub(crate) mod store;
pub(crate) mod store_handle;
pub(crate) mod sys;
pub(crate) mod workers;
