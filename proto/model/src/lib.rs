//! The public model: what a service, a forward or a namespace is, and the words for it.
//!
//! Every concept is stated here once. The daemon's state publishes these types, REST and `kubefwdctl -o json` write them
//! (with [`entry`]'s sums and rates beside them), and gRPC converts them field by field. Pure: serde and nothing of any
//! framework or operating system; the feature `openapi` adds the schemas of the REST interface.

mod context;
mod counts;
pub mod discovery;
pub mod duration;
pub mod entry;
mod event;
mod failure;
mod finding;
mod forward;
mod keys;
mod names;
mod namespace;
mod options;
mod reconnection;
mod service;
pub mod text;
mod time;
mod uid;
mod words;
mod worker;

pub use context::ContextName;
pub use counts::Counts;
pub use event::{Event, EventKind};
pub use failure::{Component, Failure, Reason};
pub use finding::{Finding, Health, Severity};
pub use forward::{FirstByte, Forward, ForwardStatus, ListenerId, Traffic};
pub use keys::{DottedKey, KeyMatch, NamespaceKey, ServiceKey, UnitKey};
pub use names::{DnsLabel, HostName, NameError, NamespaceName, PodName, ServiceName};
pub use namespace::{Namespace, NamespaceStatus, Selection};
pub use options::{Balance, Options};
pub use reconnection::Trigger;
pub use service::{RefusedName, Service, ServiceStatus};
pub use time::Time;
pub use uid::Uid;
pub use words::UnknownWord;
pub use worker::{Worker, WorkerState};
