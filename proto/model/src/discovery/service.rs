//! A service of a cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// A service of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KubeService))]
pub struct Service {
    /// Its name.
    pub name: Text,
    /// Its namespace.
    pub namespace: Text,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Its address inside the cluster; `None` for a headless one.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Text,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Its pod selector.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<Text, Text>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KubePort))]
pub struct ServicePort {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    /// Its number.
    pub port: u32,
    /// The number or name of the pod's port.
    pub target_port: Text,
    /// TCP, UDP or SCTP.
    pub protocol: Text,
}
