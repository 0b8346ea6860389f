//! A pod, in a list and in full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Container;
use crate::Time;
use crate::text::Text;

// `C` is what is said of a container: its name in a list, a [`Container`] in full.
/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KubePod))]
pub struct Pod<C> {
    /// Its name.
    pub name: Text,
    /// Its namespace.
    pub namespace: Text,
    /// Pending, Running, Succeeded, Failed or Unknown.
    pub phase: Text,
    /// As kubectl shows it.
    pub status: Text,
    /// Containers that are ready, of all.
    pub ready: Text,
    /// Container restarts.
    pub restarts: u32,
    /// When it was created. REST says how long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub created_at: Option<Time>,
    /// Its address inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Text>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Text>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Text, Text>,
    /// Its containers.
    pub containers: Vec<C>,
}

/// A pod in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KubePodDetail))]
pub struct PodDetail {
    /// As in lists.
    #[serde(flatten)]
    pub pod: Pod<Container>,
    /// Why it is in its phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
    /// The same as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// The address of its node.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<Text>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<Text, Text>,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The names of its volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Text>,
    /// Its QoS class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos_class: Option<Text>,
}

/// A condition of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Condition {
    /// Ready, Initialized, PodScheduled, ...
    #[serde(rename = "type")]
    pub kind: Text,
    /// True, False or Unknown.
    pub status: Text,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
}
