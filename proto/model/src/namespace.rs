//! A namespace whose services are forwarded.

use serde::{Deserialize, Serialize};

use crate::words::words;
use crate::{Failure, NamespaceKey, Time};

words! {
    /// The status of a namespace.
    pub enum NamespaceStatus {
        /// Its services are not known yet.
        Connecting = "connecting",
        /// Its services are known and watched.
        Watching = "watching",
        /// It cannot be watched now; retried.
        Failed = "failed",
    }
}

/// A namespace that somebody asked for.
// Serialized without its key: `entry::NamespaceEntry` adds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Namespace {
    /// Whose namespace, in which context.
    #[serde(skip)]
    pub key: NamespaceKey,
    /// Whether it is watched.
    pub status: NamespaceStatus,
    /// Which of its services; `None` if only single services were asked for.
    #[serde(flatten)]
    pub selection: Option<Selection>,
    /// When it was asked for.
    pub started_at: Time,
    /// Removed when the client that asked for it exits.
    pub attached: bool,
    /// Why it cannot be watched; set exactly when the status is `failed`.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::failure::MaybeFailure))]
    pub failure: Option<Box<Failure>>,
    /// When it began to fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_since: Option<Time>,
    /// What works differently than usual.
    pub notes: Vec<String>,
}

/// Which services of a namespace. All conditions must hold; without any, every service matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Selection {
    /// A Kubernetes label selector over services.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
    /// A Kubernetes field selector over services.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_selector: String,
    /// Globs over names, one of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs over names, none of which may match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}
