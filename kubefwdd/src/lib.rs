//! The root daemon: control sockets, desired state, names, addresses, listeners, the hosts file and the workers.
//! It opens no user's file, runs no user's program, makes no outbound connection and touches no forwarded byte.

pub mod core;
