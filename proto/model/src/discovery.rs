//! What a cluster and a kubeconfig contain: a worker reads it with its user's credentials and sends it as JSON, and REST
//! writes the same types with what the daemon knows beside them.
//!
//! The daemon decodes them from a process that it does not trust. Every text that can be cut is a [`Text`](crate::text::Text),
//! and what must be there has no default, so that a few bytes cannot stand for a large object.

mod container;
mod context;
mod endpoints;
mod event;
mod log;
mod namespace;
mod pod;
mod service;

pub use container::{Container, ContainerPort, Resources};
pub use context::{Context, Contexts};
pub use endpoints::{EndpointAddress, EndpointPort, EndpointSubset};
pub use event::Event;
pub use log::LogPart;
pub use namespace::Namespace;
pub use pod::{Condition, Pod, PodDetail};
pub use service::{Service, ServicePort};

#[cfg(test)]
mod tests;
