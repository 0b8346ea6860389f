//! The log of a container.

use serde::{Deserialize, Serialize};

/// Lines of a log, oldest first: all, or those that fit one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PodLog))]
pub struct LogPart {
    /// The container.
    #[cfg_attr(feature = "openapi", schema(example = "api"))]
    pub container_name: String,
    /// Oldest first.
    #[cfg_attr(feature = "openapi", schema(example = json!(["listening on :8080"])))]
    pub logs: Vec<String>,
    /// Whether lines were left out, because the log is longer than one response may be.
    #[cfg_attr(feature = "openapi", schema(example = false))]
    pub truncated: bool,
}
