//! An event of a cluster.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::text::Text;

/// An event of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KubeEvent))]
pub struct Event {
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub kind: Text,
    /// A machine-readable code.
    pub reason: Text,
    /// What happened.
    pub message: Text,
    /// How often.
    pub count: u32,
    /// When it first occurred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_timestamp: Option<Time>,
    /// When it last occurred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_timestamp: Option<Time>,
    /// The reporting component.
    pub source: Text,
    /// What it applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_kind: Option<Text>,
    /// The object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_name: Option<Text>,
}
