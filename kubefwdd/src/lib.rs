//! The root daemon: control sockets, desired state, names, addresses, listeners, the hosts file and the workers.
//! It opens no user's file, runs no user's program, makes no outbound connection and touches no forwarded byte.

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod grpc;
pub mod hosts;
pub mod net;
pub mod paths;
pub mod peer;
pub mod persist;
pub mod rest_control;
pub mod storage;
pub mod store;
pub mod store_handle;
pub mod sys;
pub mod workers;
