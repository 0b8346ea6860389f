//! What happened.

use kubefwd_model::{EventKind, Time};
use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::errors::{self, Holder};
use crate::telemetry::events::Logged;
use crate::telemetry::reconnections;
use kubefwd_model::duration as time;

/// An event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// Its number; later events have higher ones.
    #[schema(example = 17)]
    id: u64,
    /// What happened.
    #[serde(rename = "type")]
    kind: EventKind,
    /// When.
    timestamp: Time,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind")]
    service_key: Option<String>,
    /// The forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    forward_key: Option<String>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pod_name: Option<String>,
    /// A sentence.
    #[schema(example = "api.shop.kind is forwarded")]
    message: String,
    /// The namespace and its context.
    data: EventPlace,
}

/// Where an event happened.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventPlace {
    /// The namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Its context.
    #[schema(example = "kind")]
    context: String,
}

/// The data of an event in the stream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StreamedEvent {
    /// The key of the service, or of the namespace if no service is concerned.
    #[schema(example = "api.shop.kind")]
    key: String,
    /// The namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api")]
    service: Option<String>,
    /// The context.
    #[schema(example = "kind")]
    context: String,
    /// What happened.
    #[serde(rename = "type")]
    kind: EventKind,
    /// When.
    timestamp: Time,
    /// The forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    forward_key: Option<String>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pod_name: Option<String>,
    /// A sentence.
    #[schema(example = "api.shop.kind is forwarded")]
    message: String,
}

/// A past or current error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorRecord {
    /// Its number; later errors have higher ones.
    #[schema(example = 3)]
    id: u64,
    /// When it began.
    timestamp: Time,
    /// The service; empty if it concerns a whole namespace or worker.
    #[schema(example = "api.shop.kind")]
    service_key: String,
    /// The namespace, if it concerns a whole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "shop.kind")]
    namespace_key: Option<String>,
    /// The forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    forward_key: Option<String>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pod_name: Option<String>,
    /// A machine-readable code.
    #[schema(example = "connection_refused")]
    error_type: &'static str,
    /// What happened and why.
    #[schema(example = "the pod refused the connection to port 8080")]
    message: String,
    /// Whether it is over.
    #[schema(example = true)]
    resolved: bool,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<Time>,
}

/// A reopened tunnel.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reconnection {
    /// Its number; later ones have higher ones.
    #[schema(example = 2)]
    id: u64,
    /// When it ended.
    timestamp: Time,
    /// The service.
    #[schema(example = "api.shop.kind")]
    service_key: String,
    /// `auto`, `manual` or `sync`.
    trigger: Trigger,
    /// Number of attempts.
    #[schema(example = 1)]
    attempt_count: u32,
    /// Whether it worked.
    #[schema(example = true)]
    success: bool,
    /// How long it took.
    #[schema(example = "1.2s")]
    duration: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the cluster does not answer")]
    error: Option<String>,
}

/// Why a tunnel was reopened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Trigger {
    /// It was lost.
    Auto,
    /// Somebody asked for it.
    Manual,
    /// Somebody requested a sync with the cluster.
    Sync,
}

/// Retention.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryStats {
    /// Events that are kept.
    #[schema(example = 120)]
    pub(crate) total_events: usize,
    /// Errors that are kept.
    #[schema(example = 4)]
    pub(crate) total_errors: usize,
    /// Reconnections that are kept.
    #[schema(example = 2)]
    pub(crate) total_reconnects: usize,
    /// Maximum number of events kept, for all users.
    #[schema(example = 10000)]
    pub(crate) max_events: usize,
    /// Maximum number of errors kept per user.
    #[schema(example = 500)]
    pub(crate) max_errors: usize,
    /// Maximum number of reconnections kept per user.
    #[schema(example = 200)]
    pub(crate) max_reconnects: usize,
}

// === impl Event ===

impl From<&Logged> for Event {
    fn from(Logged { id, event }: &Logged) -> Self {
        Self {
            id: *id,
            kind: event.kind,
            timestamp: event.time,
            service_key: event.service.as_ref().map(ToString::to_string),
            forward_key: event.forward.clone(),
            pod_name: event.pod.clone(),
            message: event.message.clone(),
            data: EventPlace {
                namespace: event.namespace.namespace.to_string(),
                context: event.namespace.context.to_string(),
            },
        }
    }
}

impl From<&kubefwd_model::Event> for StreamedEvent {
    fn from(event: &kubefwd_model::Event) -> Self {
        let service = event.service.as_ref();
        let key = service.map_or_else(|| event.namespace.to_string(), ToString::to_string);
        Self {
            key,
            namespace: event.namespace.namespace.to_string(),
            service: service.map(|key| key.service.to_string()),
            context: event.namespace.context.to_string(),
            kind: event.kind,
            timestamp: event.time,
            forward_key: event.forward.clone(),
            pod_name: event.pod.clone(),
            message: event.message.clone(),
        }
    }
}

impl From<errors::ErrorRecord> for ErrorRecord {
    fn from(record: errors::ErrorRecord) -> Self {
        let (service_key, namespace_key) = match &record.holder {
            Holder::Service(key) => (key.to_string(), None),
            Holder::Namespace(key) => (String::new(), Some(key.to_string())),
            Holder::Worker(_) => (String::new(), None),
        };
        Self {
            id: record.id,
            timestamp: record.time.into(),
            service_key,
            namespace_key,
            forward_key: record.found.forward.map(|(_, _, key)| key),
            pod_name: record.found.pod,
            error_type: record.found.kind,
            message: record.found.message,
            resolved: record.resolved_at.is_some(),
            resolved_at: record.resolved_at.map(Time::from),
        }
    }
}

impl From<reconnections::Reconnection> for Reconnection {
    fn from(one: reconnections::Reconnection) -> Self {
        Self {
            id: one.id,
            timestamp: one.time.into(),
            service_key: one.service.to_string(),
            trigger: match one.trigger {
                reconnections::Trigger::Auto => Trigger::Auto,
                reconnections::Trigger::Manual => Trigger::Manual,
                reconnections::Trigger::Sync => Trigger::Sync,
            },
            attempt_count: one.attempts,
            success: one.error.is_none(),
            duration: time::short(one.duration),
            error: one.error,
        }
    }
}
