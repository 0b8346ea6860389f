//! Names: what a service asks for, and who gets which.
//!
//! - [`ContextLabels`] gives each context of each user the one DNS label that stands for it in names.
//! - [`candidates()`] lists every name of a service, or of a pod of a headless service.
//! - [`NameRules`] says which names nobody may have; [`Refusal`] says why and what allows it.
//! - [`NameRegistry`] decides between claimants, incrementally and independent of the order in
//!   which claims arrive.

mod candidates;
mod context_labels;
mod registry;
mod rules;

pub use candidates::{Candidate, NameOptions, candidates};
pub use context_labels::ContextLabels;
pub use registry::{Lost, NameChange, NameRegistry, Outcome, Rank, Why};
pub use rules::{ALLOW, API_NAME, NameRules, Refusal, RefusalReason};
