//! The commands, one file for each noun.

mod add;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod doctor;
pub(crate) mod events;
mod failures;
pub(crate) mod fwd;
pub(crate) mod hosts;
mod list;
pub(crate) mod names;
pub(crate) mod ns;
mod remove;
pub(crate) mod reserve;
pub(crate) mod status;
pub(crate) mod svc;
pub(crate) mod version;
