//! A simulated Kubernetes cluster, in one process and without a container runtime.
//!
//! It answers as a real cluster of version 1.36 with containerd does, byte for byte where clients can tell: the API over
//! TLS (lists, watches, Tables, Status bodies, RBAC), and `portforward` in all three transports with the server's real
//! contract: five workers per connection, the second of grace at the end, the error texts, the stalls. Pods are
//! applications inside the process. Faults are injected while it runs.
//!
//! ```no_run
//! use kubefwd_tests::{Behaviour, Cluster, Namespace, Scope, NetworkFault, Service, ServicePort, Workload};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder()
//!     .namespace(
//!         Namespace::new("demo")
//!             .workload(Workload::deployment("api").replicas(2).listen("http", 8080, Behaviour::Http))
//!             .service(Service::new("api").port(ServicePort::tcp(80).target("http"))),
//!     )
//!     .start()
//!     .await?;
//! cluster.kubeconfig("admin")?.write("/tmp/kubeconfig".as_ref())?;
//!
//! cluster.rollout("demo", "api").await;
//! cluster.set_network_fault(
//!     Scope::all().namespace("demo"),
//!     NetworkFault { stalled: true, ..NetworkFault::default() },
//! );
//! assert_eq!(cluster.counts().upgrades_spdy, 0);
//! # Ok(())
//! # }
//! ```
//!
//! [`Cluster::builder`] describes a cluster, [`Cluster`] is the handle of a running one, [`demo`] is the cluster that the
//! `simcluster` program shows, [`control`] the little HTTP interface by which other processes cause faults, [`stress`] what runs for hours.

mod api;
mod auth;
mod builder;
mod cluster;
pub mod control;
mod controller;
mod counters;
pub mod demo;
mod faults;
pub mod harness;
mod ids;
mod json;
mod kinds;
mod kubeconfig;
mod logs;
mod objects;
mod pki;
pub mod pods;
mod portforward;
mod selector;
mod server;
mod spec;
mod state;
mod status;
mod store;
pub mod stress;
mod world;

pub use auth::{Identity, Rule, User};
pub use builder::{ClusterBuilder, Namespace, StartError};
pub use cluster::{Cluster, Unknown};
pub use counters::Counts;
pub use faults::{NetworkFault, RequestEffect, RequestMatch, Scope};
pub use kinds::Kind;
pub use kubeconfig::{Credential, Kubeconfig, write_exec_plugin};
pub use pki::{ClientCertificate, PkiError};
pub use pods::behaviour::Behaviour;
pub use pods::pattern::{MAX_SLICE, Mismatch, PatternCheck, pattern};
pub use pods::tcp::serve_tcp;
pub use spec::{PodHealth, Service, ServicePort, TargetPort, Workload};
pub use state::{Flavour, Timing};
