//! Names: the types that hold them, the names a service asks for, and who gets which.
//!
//! - [`HostName`], [`DnsLabel`], [`Namespace`], [`ServiceName`], [`PodName`], [`ContextName`] are
//!   parsed once at the edge and cannot hold nonsense afterwards; [`UnitKey`] is made of them.
//! - [`ContextLabels`] gives each context the one DNS label that stands for it in names.
//! - [`candidates()`] lists every name of a service, or of a pod of a headless service.
//! - [`NameRules`] says which names nobody may have; [`Refusal`] says why and what allows it.
//! - [`NameRegistry`] decides between claimants, incrementally and independent of the order in
//!   which claims arrive.

mod candidates;
mod context;
mod registry;
mod rules;
mod text;
mod unit;

pub use candidates::{Candidate, Candidates, NameClass, NameOptions, candidates};
pub use context::{ContextLabels, ContextName};
pub use registry::{Lost, NameChange, NameRegistry, Outcome, Rank, SavedClaim};
pub use rules::{ALLOW_SUFFIXES_SETTING, API_NAME, NameRules, Refusal, RefusalReason};
pub use text::{DnsLabel, HostName, NameError, Namespace, PodName, ServiceName};
pub use unit::UnitKey;
