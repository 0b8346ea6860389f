//! Local addresses and listening ports.

mod fd_store;
mod listen;
pub(crate) mod loopback;
mod port_owner;
#[cfg(target_os = "linux")]
pub(crate) mod proc_tcp;

pub(crate) use fd_store::FdStore;
pub(crate) use listen::{Listen, close};
pub(crate) use loopback::Loopback;
