//! Lists of what a cluster has, with what the daemon knows of it.

use kubefwd_model::discovery::{EndpointSubset, Namespace, Service};
use serde::Serialize;
use utoipa::ToSchema;

/// The namespaces of a cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct KubeNamespaces {
    /// Sorted by name.
    pub(crate) namespaces: Vec<ListedNamespace>,
}

/// A namespace of a cluster, and whether it is forwarded.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListedNamespace {
    #[serde(flatten)]
    pub(crate) namespace: Namespace,
    /// Whether the caller forwards it.
    pub(crate) forwarded: bool,
}

/// The services of a namespace in a cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct KubeServices {
    /// Sorted by name.
    pub(crate) services: Vec<ListedService>,
}

/// A service of a cluster, and whether it is forwarded.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedService {
    #[serde(flatten)]
    pub(crate) service: Service,
    /// Whether the caller forwards it.
    forwarded: bool,
    /// Under this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_key: Option<String>,
}

/// The endpoints of a service.
#[derive(Serialize, ToSchema)]
pub(crate) struct Endpoints {
    /// The service.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Addresses grouped by ports.
    pub(crate) subsets: Vec<EndpointSubset>,
}

// === impl ListedService ===

impl ListedService {
    /// The service, and the key under which the caller forwards it.
    pub(crate) fn new(service: Service, forward_key: Option<String>) -> Self {
        Self {
            service,
            forwarded: forward_key.is_some(),
            forward_key,
        }
    }
}
