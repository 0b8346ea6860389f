//! Local addresses and listening ports.

mod keep;
mod listen;
pub(crate) mod loopback;
#[cfg(target_os = "linux")]
pub(crate) mod netlink;
mod port_owner;
#[cfg(target_os = "linux")]
pub(crate) mod proc_tcp;

pub use keep::{Keeper, Storekeeper, keeper};
pub use listen::{BindError, Listen, close};
pub use loopback::{Loopback, LoopbackError};
pub use port_owner::PortOwner;
