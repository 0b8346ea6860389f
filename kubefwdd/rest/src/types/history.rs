//! What happened.

use kubefwd_model::entry::{Key, NamespaceId};
use kubefwd_model::{ServiceName, Time, Trigger, duration};
use kubefwd_telemetry::errors;
use kubefwd_telemetry::events::Logged;
use kubefwd_telemetry::reconnections;
use serde::Serialize;
use utoipa::ToSchema;

use super::errors::ErrorDetail;
use crate::compat::NoService;

/// An event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    /// Its number; later events have higher ones.
    id: u64,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_key: Option<Key<'a>>,
    #[serde(flatten)]
    event: &'a kubefwd_model::Event,
    /// The namespace and its context.
    data: NamespaceId<'a>,
}

/// The data of an event in the stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamedEvent<'a> {
    /// The key of the service, or of the namespace if no service is concerned.
    key: String,
    #[serde(flatten)]
    namespace: NamespaceId<'a>,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a ServiceName>,
    #[serde(flatten)]
    event: &'a kubefwd_model::Event,
}

/// A past or current error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorRecord {
    /// Its number; later errors have higher ones.
    id: u64,
    #[serde(flatten)]
    no_service: NoService,
    #[serde(flatten)]
    detail: ErrorDetail,
    /// A machine-readable code.
    error_type: &'static str,
    /// Whether it is over.
    resolved: bool,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<Time>,
}

/// A reopened tunnel.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reconnection {
    /// Its number; later ones have higher ones.
    id: u64,
    /// When it ended.
    timestamp: Time,
    /// The service.
    service_key: String,
    /// Why.
    trigger: Trigger,
    /// Number of attempts.
    attempt_count: u32,
    /// Whether it worked.
    success: bool,
    /// How long it took.
    duration: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Retention.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryStats {
    /// Events that are kept.
    pub(crate) total_events: usize,
    /// Errors that are kept.
    pub(crate) total_errors: usize,
    /// Reconnections that are kept.
    pub(crate) total_reconnects: usize,
    /// Maximum number of events kept, for all users.
    pub(crate) max_events: usize,
    /// Maximum number of errors kept per user.
    pub(crate) max_errors: usize,
    /// Maximum number of reconnections kept per user.
    pub(crate) max_reconnects: usize,
}

// === impl Event ===

impl<'a> From<&'a Logged> for Event<'a> {
    fn from(Logged { id, event }: &'a Logged) -> Self {
        Self {
            id: *id,
            service_key: event.service.as_ref().map(Key::from),
            event,
            data: (&event.namespace).into(),
        }
    }
}

impl<'a> From<&'a kubefwd_model::Event> for StreamedEvent<'a> {
    fn from(event: &'a kubefwd_model::Event) -> Self {
        let service = event.service.as_ref();
        Self {
            key: service.map_or_else(|| event.namespace.to_string(), ToString::to_string),
            namespace: (&event.namespace).into(),
            service: service.map(|key| &key.service),
            event,
        }
    }
}

impl From<errors::ErrorRecord> for ErrorRecord {
    fn from(record: errors::ErrorRecord) -> Self {
        let (id, resolved_at, error_type) = (record.id, record.resolved_at, record.found.kind);
        let detail = ErrorDetail::from(record);
        Self {
            id,
            no_service: NoService {
                service_key: detail.service_key.is_none().then_some(""),
            },
            detail,
            error_type,
            resolved: resolved_at.is_some(),
            resolved_at: resolved_at.map(Time::from),
        }
    }
}

impl From<reconnections::Reconnection> for Reconnection {
    fn from(one: reconnections::Reconnection) -> Self {
        Self {
            id: one.id,
            timestamp: one.time.into(),
            service_key: one.service.to_string(),
            trigger: one.trigger,
            attempt_count: one.attempts,
            success: one.error.is_none(),
            duration: duration::short(one.duration),
            error: one.error,
        }
    }
}
