//! Pods and their logs, with what the daemon knows of them.

use std::time::{Duration, SystemTime};

use kubefwd_model as model;
use kubefwd_model::discovery::{self, LogPart};
use kubefwd_model::duration;
use kubefwd_model::text::Text;
use serde::Serialize;
use utoipa::ToSchema;

/// A pod.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pod {
    #[serde(flatten)]
    #[schema(value_type = discovery::Pod<String>)]
    pod: discovery::Pod<Text>,
    /// Age.
    age: String,
    /// The forwarded service that it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    /// Whether the caller forwards to it.
    is_forwarded: bool,
    /// On this local port.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_port: Option<String>,
}

/// A pod in full.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodDetail {
    #[serde(flatten)]
    detail: discovery::PodDetail,
    /// Its context; empty for the current one.
    context: String,
    /// Age.
    age: String,
    /// Whether the caller forwards to it.
    is_forwarded: bool,
    /// Under this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_key: Option<String>,
}

/// The log of a container.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodLogs {
    /// The pod.
    pub(crate) pod_name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its context; empty for the current one.
    pub(crate) context: String,
    #[serde(flatten)]
    pub(crate) log: LogPart,
    /// How many.
    pub(crate) line_count: usize,
}

/// A line of a followed log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodLogLine<'a> {
    /// The container.
    pub(crate) container_name: &'a str,
    /// The line.
    pub(crate) line: &'a str,
}

/// The forward to a pod, with its service.
pub(crate) type ForwardTo<'a> = Option<(&'a model::Service, &'a model::Forward)>;

// === impl Pod ===

impl Pod {
    pub(crate) fn new(mut pod: discovery::Pod<Text>, forward: ForwardTo<'_>) -> Self {
        Self {
            age: age(&mut pod),
            pod,
            service_name: forward.map(|(service, _)| service.key.service.to_string()),
            is_forwarded: forward.is_some(),
            forwarded_port: forward.map(|(_, forward)| forward.local_port.to_string()),
        }
    }
}

// === impl PodDetail ===

impl PodDetail {
    pub(crate) fn new(
        mut detail: discovery::PodDetail,
        context: String,
        forward: ForwardTo<'_>,
    ) -> Self {
        Self {
            age: age(&mut detail.pod),
            detail,
            context,
            is_forwarded: forward.is_some(),
            forward_key: forward.map(|(_, forward)| forward.key.clone()),
        }
    }
}

/// Says in words how old a pod is, in place of when it was created.
fn age<C>(pod: &mut discovery::Pod<C>) -> String {
    let created = pod.created_at.take().or(pod.start_time);
    created.map_or_else(
        || duration::long(Duration::ZERO),
        |created| duration::since(SystemTime::from(created)),
    )
}
