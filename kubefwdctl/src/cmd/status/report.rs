//! The daemon's status as it is printed.

use kubefwd_model::{Counts, Health, Time, WorkerState};
use kubefwd_proto::control::v1::{self as pb, GetStatusResponse};
use kubefwd_proto::convert::to_time;
use serde::Serialize;

use crate::item::user_name;
use crate::output::listing::{Column, Listed};
use crate::output::rows::state;
use crate::output::units;

/// The word for a state that only a newer daemon knows.
const UNKNOWN: &str = "unknown";

/// The structured form; the first fields are those of REST.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) status: &'static str,
    pub(super) message: String,
    pub(super) version: String,
    pub(super) pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<Time>,
    pub(super) total_namespaces: usize,
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) workers: Vec<Worker>,
    pub(super) hosts_file: HostsFile,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) rest_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) rest_error: String,
    pub(super) config_path: String,
    pub(super) state_path: String,
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Worker {
    pub(super) uid: u32,
    pub(super) user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    pub(super) status: &'static str,
    pub(super) restarts: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostsFile {
    pub(super) path: String,
    pub(super) entries: u32,
    pub(super) writes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_written: Option<Time>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

// === impl Status ===

impl From<GetStatusResponse> for Status {
    fn from(answer: GetStatusResponse) -> Self {
        let health = Health::try_from(answer.health());
        let counts = Counts::from(answer.counts.unwrap_or_default());
        Self {
            status: health.map_or(UNKNOWN, Health::as_str),
            message: answer.message,
            version: answer.version,
            pid: answer.pid,
            started_at: to_time(&answer.started_at),
            total_namespaces: counts.namespaces,
            counts,
            workers: answer.workers.into_iter().map(Worker::from).collect(),
            hosts_file: answer.hosts.unwrap_or_default().into(),
            rest_url: answer.rest_url,
            rest_error: answer.rest_error,
            config_path: answer.config_path,
            state_path: answer.state_path,
            warnings: answer.warnings,
        }
    }
}

/// A line of `status --watch`.
impl Listed for Status {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("TIME", |_| units::local(Some(Time::now())).into()),
        Column::new("HEALTH", |it| state(it.status)),
        Column::new("NAMESPACES", |it| it.total_namespaces.to_string().into()),
        Column::new("SERVICES", |it| {
            format!("{}/{}", it.counts.services_active, it.counts.services).into()
        }),
        Column::new("FORWARDS", |it| {
            format!("{}/{}", it.counts.forwards_active, it.counts.forwards).into()
        }),
        Column::new("ERRORS", |it| it.counts.errors.to_string().into()),
        Column::new("IN", |it| units::bytes(it.counts.totals.bytes_in).into()),
        Column::new("OUT", |it| units::bytes(it.counts.totals.bytes_out).into()),
    ];

    fn key(&self) -> String {
        self.status.to_owned()
    }
}

// === impl Worker ===

impl From<pb::Worker> for Worker {
    fn from(worker: pb::Worker) -> Self {
        let state = WorkerState::try_from(worker.state());
        Self {
            uid: worker.uid,
            user: user_name(&worker.user, worker.uid),
            pid: (worker.pid != 0).then_some(worker.pid),
            status: state.map_or(UNKNOWN, WorkerState::as_str),
            restarts: worker.restarts,
            error: worker.error,
        }
    }
}

// === impl HostsFile ===

impl From<pb::HostsFile> for HostsFile {
    fn from(file: pb::HostsFile) -> Self {
        Self {
            path: file.path,
            entries: file.entries,
            writes: file.writes,
            last_written: to_time(&file.last_written),
            error: file.error,
        }
    }
}
