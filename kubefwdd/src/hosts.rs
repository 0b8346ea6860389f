//! The hosts file: reading, writing, watching it, and the task that keeps our block right.
//!
//! What the block looks like is decided in [`kubefwd_core::hosts_block`].

mod actor;
mod file;
mod in_place;

pub(crate) use actor::{HostsActor, Wanted, cleanup};
pub(crate) use file::HostsFile;
