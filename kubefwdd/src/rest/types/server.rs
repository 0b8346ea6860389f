//! The daemon itself.

use kubefwd_model::{Health, Time};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::Info;
use crate::rest::envelope::Meta;
use kubefwd_model::duration as time;

/// The health of the daemon.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct HealthData {
    /// Health.
    status: Health,
    /// When this was measured.
    timestamp: Time,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// How long it has been running.
    #[schema(example = "2h15m30s")]
    uptime: String,
}

/// The health of the daemon in the envelope, and repeated next to it for clients that expect it there.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// The health.
    data: HealthData,
    /// Always null.
    error: (),
    /// Response metadata.
    meta: Meta,
    /// Repeated from `data`.
    #[serde(flatten)]
    bare: HealthData,
}

/// Facts about the daemon.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InfoData {
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// How long it has been running.
    #[schema(example = "2h15m30s")]
    uptime: String,
    /// When it started.
    started_at: Time,
    /// The same under kubefwd's name.
    start_time: Time,
    /// Operating system and architecture.
    #[schema(example = "linux/x86_64")]
    platform: String,
    /// The namespaces that the caller forwards.
    #[schema(example = json!(["shop"]))]
    namespaces: Vec<String>,
    /// The contexts that the caller forwards from.
    #[schema(example = json!(["kind"]))]
    contexts: Vec<String>,
    /// Its process id.
    #[schema(example = 812)]
    pid: u32,
    /// Always true.
    #[schema(example = true)]
    api_enabled: bool,
}

// === impl HealthAnswer ===

impl HealthAnswer {
    pub(crate) fn new(health: Health, info: &Info) -> Self {
        let bare = HealthData {
            status: health,
            timestamp: Time::now(),
            version: info.version,
            uptime: time::since(info.started_at),
        };
        Self {
            success: true,
            data: bare.clone(),
            error: (),
            meta: Meta::now(None),
            bare,
        }
    }
}

// === impl InfoData ===

impl InfoData {
    pub(crate) fn new(info: &Info, namespaces: Vec<String>, contexts: Vec<String>) -> Self {
        Self {
            version: info.version,
            uptime: time::since(info.started_at),
            started_at: info.started_at.into(),
            start_time: info.started_at.into(),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            namespaces,
            contexts,
            pid: info.pid,
            api_enabled: true,
        }
    }
}
