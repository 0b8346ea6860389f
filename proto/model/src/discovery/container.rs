//! A container of a pod.

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Container {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(example = "api"))]
    pub name: Text,
    /// Its image.
    pub image: Text,
    /// Whether it is ready.
    #[cfg_attr(feature = "openapi", schema(example = true))]
    pub ready: bool,
    /// Whether it has started.
    pub started: bool,
    /// Restarts.
    pub restart_count: u32,
    /// Waiting, Running or Terminated.
    #[cfg_attr(feature = "openapi", schema(example = "Running"))]
    pub state: Text,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<Text>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_message: Option<Text>,
    /// How it terminated last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_state: Option<Text>,
    /// Its ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
    /// Resource requests and limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContainerPort {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    /// Its number.
    pub container_port: u32,
    /// TCP, UDP or SCTP.
    pub protocol: Text,
}

/// A container's resource requests and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resources {
    /// CPU request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Text>,
    /// CPU limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Text>,
    /// Memory request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<Text>,
    /// Memory limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Text>,
}
