//! Questions to the operating system that more than one program or crate asks.

pub mod groups;
#[cfg(target_os = "linux")]
pub mod netlink;
pub mod peer;
