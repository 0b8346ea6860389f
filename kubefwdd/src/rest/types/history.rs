//! What happened.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::core::state::{self, EventKind};
use crate::rest::time::{self, Time};
use crate::telemetry::errors::{self, Holder};
use crate::telemetry::events::Logged;
use crate::telemetry::reconnections;

/// An event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// Its number; later events have higher ones.
    #[schema(example = "17")]
    id: String,
    /// What happened.
    #[serde(rename = "type")]
    kind: EventType,
    /// When.
    timestamp: Time,
    /// To which service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind")]
    service_key: Option<String>,
    /// To which forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    forward_key: Option<String>,
    /// With which pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pod_name: Option<String>,
    /// One sentence.
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
    /// The key of the service, or of the namespace where no service is concerned.
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
    kind: EventType,
    /// When.
    timestamp: Time,
    /// To which forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    forward_key: Option<String>,
    /// With which pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pod_name: Option<String>,
    /// One sentence.
    #[schema(example = "api.shop.kind is forwarded")]
    message: String,
}

/// Types of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum EventType {
    /// A namespace is wanted.
    #[serde(rename = "namespace.added")]
    NamespaceAdded,
    /// A namespace is not wanted any more.
    #[serde(rename = "namespace.removed")]
    NamespaceRemoved,
    /// A service is forwarded, or listed with the reason why it cannot be.
    #[serde(rename = "service.added")]
    ServiceAdded,
    /// A service is not forwarded any more.
    #[serde(rename = "service.removed")]
    ServiceRemoved,
    /// Its ports, names or address changed.
    #[serde(rename = "service.updated")]
    ServiceUpdated,
    /// A service or namespace went into error.
    #[serde(rename = "service.error")]
    ServiceError,
    /// A forward became usable.
    #[serde(rename = "forward.connected")]
    ForwardConnected,
    /// A forward stopped being usable.
    #[serde(rename = "forward.disconnected")]
    ForwardDisconnected,
    /// A pod began to serve.
    #[serde(rename = "pod.added")]
    PodAdded,
    /// A pod stopped serving.
    #[serde(rename = "pod.removed")]
    PodRemoved,
}

/// An error that was or is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorRecord {
    /// Its number; later errors have higher ones.
    #[schema(example = "3")]
    id: String,
    /// When it began.
    timestamp: Time,
    /// Of which service; empty where it concerns a whole namespace or worker.
    #[schema(example = "api.shop.kind")]
    service_key: String,
    /// Of which namespace, where it concerns a whole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "shop.kind")]
    namespace_key: Option<String>,
    /// Of which forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.shop.kind.api-6f.80")]
    forward_key: Option<String>,
    /// With which pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api-6f")]
    pod_name: Option<String>,
    /// A word for programs.
    #[schema(example = "connection_refused")]
    error_type: &'static str,
    /// What and why.
    #[schema(example = "the pod refused the connection to port 8080")]
    message: String,
    /// It is over.
    #[schema(example = true)]
    resolved: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<Time>,
}

/// A tunnel that was opened anew.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reconnection {
    /// Its number; later ones have higher ones.
    #[schema(example = "2")]
    id: String,
    /// When it was over.
    timestamp: Time,
    /// Of which service.
    #[schema(example = "api.shop.kind")]
    service_key: String,
    /// `auto`, `manual` or `sync`.
    trigger: Trigger,
    /// How often it was tried.
    #[schema(example = 1)]
    attempt_count: u32,
    /// Whether it worked.
    #[schema(example = true)]
    success: bool,
    /// How long it took.
    #[schema(example = "1.2s")]
    duration: String,
    /// Why it did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the cluster does not answer")]
    error: Option<String>,
}

/// Why a tunnel was opened anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Trigger {
    /// It was lost.
    Auto,
    /// Somebody asked for it.
    Manual,
    /// Somebody asked to look at the cluster afresh.
    Sync,
}

/// How much is kept.
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
    /// The most events that are kept, of all users.
    #[schema(example = 10000)]
    pub(crate) max_events: usize,
    /// The most errors that are kept of one user.
    #[schema(example = 500)]
    pub(crate) max_errors: usize,
    /// The most reconnections that are kept of one user.
    #[schema(example = 200)]
    pub(crate) max_reconnects: usize,
}

// === impl EventType ===

impl From<EventKind> for EventType {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::NamespaceAdded => Self::NamespaceAdded,
            EventKind::NamespaceRemoved => Self::NamespaceRemoved,
            EventKind::ServiceAdded => Self::ServiceAdded,
            EventKind::ServiceRemoved => Self::ServiceRemoved,
            EventKind::ServiceUpdated => Self::ServiceUpdated,
            EventKind::ServiceError => Self::ServiceError,
            EventKind::ForwardConnected => Self::ForwardConnected,
            EventKind::ForwardDisconnected => Self::ForwardDisconnected,
            EventKind::PodAdded => Self::PodAdded,
            EventKind::PodRemoved => Self::PodRemoved,
        }
    }
}

impl FromStr for EventType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = EventKind::ALL.into_iter().find(|kind| kind.name() == text);
        known.map(Self::from).ok_or_else(|| {
            let names: Vec<&str> = EventKind::ALL.into_iter().map(EventKind::name).collect();
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl From<&Logged> for Event {
    fn from(Logged { id, event }: &Logged) -> Self {
        Self {
            id: id.to_string(),
            kind: event.kind.into(),
            timestamp: event.time.into(),
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

impl From<&state::Event> for StreamedEvent {
    fn from(event: &state::Event) -> Self {
        let service = event.service.as_ref();
        let key = service.map_or_else(|| event.namespace.to_string(), ToString::to_string);
        Self {
            key,
            namespace: event.namespace.namespace.to_string(),
            service: service.map(|key| key.service.to_string()),
            context: event.namespace.context.to_string(),
            kind: event.kind.into(),
            timestamp: event.time.into(),
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
            id: record.id.to_string(),
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
            id: one.id.to_string(),
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
