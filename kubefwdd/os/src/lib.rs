//! Questions to the operating system that more than one program or crate asks.

pub mod group;
pub mod peer;
