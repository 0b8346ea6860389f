//! The pure core: what the daemon decides, without any framework or operating system in it.
//!
//! Only `std`, `serde` and the public suffix list are used here. Adapters (`hosts`, `net`, `peer`,
//! …) carry the decisions out.

pub mod addresses;
pub mod hosts_block;
pub mod limiter;
pub mod names;
pub mod policy;
pub mod requests;
#[cfg(feature = "samples")]
pub mod samples;
pub mod state;
pub mod status;
