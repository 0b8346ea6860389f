//! Errors, as diagnostics and histories show them.

use std::time::SystemTime;

use kubefwd_model::{Component, Time};
use kubefwd_telemetry::errors::{ErrorRecord, Holder};
use serde::Serialize;
use utoipa::ToSchema;

use super::non_empty;

/// A current error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorDetail {
    /// When it began.
    timestamp: Time,
    /// What part of the system failed.
    component: Component,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_key: Option<String>,
    /// The namespace, if the error concerns a whole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_key: Option<String>,
    /// The forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_key: Option<String>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_name: Option<String>,
    /// What happened and why.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Whether it resolves by itself once its cause is gone.
    recoverable: bool,
}

// === impl ErrorDetail ===

impl ErrorDetail {
    /// The hosts file cannot be written.
    pub(crate) fn of_hosts_file(since: SystemTime, message: String) -> Self {
        Self {
            timestamp: since.into(),
            component: Component::Hosts,
            service_key: None,
            namespace_key: None,
            forward_key: None,
            pod_name: None,
            message,
            hint: None,
            recoverable: true,
        }
    }
}

impl From<ErrorRecord> for ErrorDetail {
    fn from(record: ErrorRecord) -> Self {
        let (service_key, namespace_key) = match &record.holder {
            Holder::Service(key) => (Some(key.to_string()), None),
            Holder::Namespace(key) => (None, Some(key.to_string())),
            Holder::Worker(_) => (None, None),
        };
        Self {
            timestamp: record.time.into(),
            component: record.found.component,
            service_key,
            namespace_key,
            forward_key: record.found.forward.map(|(_, _, key)| key),
            pod_name: record.found.pod,
            message: record.found.message,
            hint: non_empty(&record.found.hint),
            recoverable: record.found.recoverable,
        }
    }
}
