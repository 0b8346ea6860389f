//! The log of a container.

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// Lines of a log, oldest first: all, or those that fit one frame. JSON escapes what a terminal would obey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PodLog))]
pub struct LogPart {
    /// The container.
    pub container_name: Text,
    /// Oldest first.
    pub logs: Vec<String>,
    /// Whether lines were left out, because the log is longer than one response may be.
    pub truncated: bool,
}
