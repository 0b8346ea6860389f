//! Questions to the operating system that more than one program or crate asks.

pub mod groups;
pub mod peer;
