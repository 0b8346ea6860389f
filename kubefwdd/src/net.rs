//! Local addresses and listening ports.

mod fd_store;
mod listen;
pub(crate) mod loopback;
#[cfg(target_os = "linux")]
pub(crate) mod netlink;
mod port_owner;
#[cfg(target_os = "linux")]
pub(crate) mod proc_tcp;

pub use fd_store::{FdStore, FdStoreTask, fd_store};
pub use listen::{BindError, Listen, close};
pub use loopback::{Loopback, LoopbackError};
