//! The contexts of a kubeconfig.

use serde::{Deserialize, Serialize};

use crate::text::Text;

// From a worker: all, or those that fit one frame, in the order of the kubeconfig.
/// The contexts of the caller's kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ContextList))]
pub struct Contexts {
    /// Sorted by name.
    pub contexts: Vec<Context>,
    /// The current context; may be empty.
    pub current_context: Text,
}

/// A context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Context {
    /// Its name.
    pub name: Text,
    /// Its cluster.
    pub cluster: Text,
    /// Its user.
    pub user: Text,
    /// Its own namespace.
    pub namespace: Text,
    /// Whether it is the current one.
    pub active: bool,
    /// The address of its API server. REST leaves it out.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub server: Text,
}
