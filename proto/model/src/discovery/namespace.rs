//! A namespace of a cluster.

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// A namespace of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KubeNamespace))]
pub struct Namespace {
    /// Its name.
    pub name: Text,
    /// Active or Terminating.
    pub status: Text,
}
