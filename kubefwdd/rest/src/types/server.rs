//! The daemon itself.

use kubefwd_core::status::Info;
use kubefwd_model::{Health, Time, duration};
use serde::Serialize;
use utoipa::ToSchema;

use crate::compat::{HealthData, StartTimes};

/// Facts about the daemon.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InfoData {
    /// Its version.
    version: &'static str,
    /// How long it has been running.
    uptime: String,
    #[serde(flatten)]
    started: StartTimes,
    /// Operating system and architecture.
    platform: String,
    /// The namespaces that the caller forwards.
    namespaces: Vec<String>,
    /// The contexts that the caller forwards from.
    contexts: Vec<String>,
    /// Its process id.
    pid: u32,
    /// Always true.
    api_enabled: bool,
}

// === impl HealthData ===

impl HealthData {
    pub(crate) fn new(health: Health, info: &Info) -> Self {
        Self {
            status: health,
            timestamp: Time::now(),
            version: info.version,
            uptime: duration::since(info.started_at),
        }
    }
}

// === impl InfoData ===

impl InfoData {
    pub(crate) fn new(info: &Info, namespaces: Vec<String>, contexts: Vec<String>) -> Self {
        Self {
            version: info.version,
            uptime: duration::since(info.started_at),
            started: StartTimes {
                started_at: info.started_at.into(),
                start_time: info.started_at.into(),
            },
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            namespaces,
            contexts,
            pid: info.pid,
            api_enabled: true,
        }
    }
}
