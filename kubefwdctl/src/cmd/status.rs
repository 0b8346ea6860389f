//! `kubefwdctl status`: the daemon as a whole.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kubefwd_proto::control::v1::{
    Filter, GetStatusRequest, GetStatusResponse, Health, WorkerState,
};
use serde::Serialize;

use super::Session;
use crate::connect::Daemon;
use crate::error::CliError;
use crate::follow::Follow;
use crate::output::rows::{state, tone};
use crate::output::shape::owner;
use crate::output::table::{Cell, Table};
use crate::output::{Format, Output, units};

/// `status`
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Watch for changes
    #[arg(short, long)]
    watch: bool,
}

/// The structured form; the first fields are those of REST.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    status: &'static str,
    message: String,
    version: String,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    total_namespaces: u32,
    total_services: u32,
    active_services: u32,
    total_forwards: u32,
    active_forwards: u32,
    error_count: u32,
    total_bytes_in: u64,
    total_bytes_out: u64,
    workers: Vec<Worker>,
    hosts_file: HostsFile,
    #[serde(skip_serializing_if = "String::is_empty")]
    rest_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    rest_error: String,
    config_path: String,
    state_path: String,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Worker {
    uid: u32,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    status: &'static str,
    restarts: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct HostsFile {
    path: String,
    entries: u32,
    writes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_written: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

/// Prints the daemon's status.
///
/// # Errors
/// [`CliError::Degraded`] when it is not healthy, and what is left to report.
pub(crate) async fn run(session: &Session, args: &StatusArgs) -> Result<(), CliError> {
    let out = &session.out;
    let mut daemon = session.connect().await?;
    if args.watch {
        return watch(out, &mut daemon).await;
    }
    let status = get(&mut daemon).await?;
    match out.format {
        Format::Json | Format::Yaml => out.value(&status)?,
        Format::Name => out.data(&format!("{}\n", status.status))?,
        Format::Table | Format::Wide => {
            let text = text(&status, out.is_coloured(), Timestamp::now());
            out.data(&text)?;
        }
    }
    if status.status == "healthy" {
        Ok(())
    } else {
        Err(CliError::Degraded)
    }
}

/// Every change to a forward changes the status, so the watch tells when to query it again.
async fn watch(out: &Output, daemon: &mut Daemon) -> Result<(), CliError> {
    let all = Filter {
        all_users: true,
        ..Filter::default()
    };
    let mut follow = Follow::open(daemon, all, "cannot watch the status").await?;
    let mut table = Table::new(out.is_coloured());
    let mut shown: Option<Status> = None;
    loop {
        let status = get(daemon).await?;
        if shown.as_ref() != Some(&status) {
            match out.format {
                Format::Json | Format::Yaml => out.item(&status)?,
                Format::Name => out.data(&format!("{}\n", status.status))?,
                Format::Table | Format::Wide => {
                    let mut rows = Vec::new();
                    if shown.is_none() {
                        rows.push(WATCH_HEADER.iter().map(Cell::from).collect());
                    }
                    rows.push(watch_row(&status, Timestamp::now()));
                    out.data(&table.render(&rows))?;
                }
            }
            shown = Some(status);
        }
        follow.receive().await?;
    }
}

const WATCH_HEADER: [&str; 8] = [
    "TIME",
    "HEALTH",
    "NAMESPACES",
    "SERVICES",
    "FORWARDS",
    "ERRORS",
    "IN",
    "OUT",
];

fn watch_row(status: &Status, now: Timestamp) -> Vec<Cell> {
    vec![
        units::local(Some(now)).into(),
        state(status.status),
        status.total_namespaces.to_string().into(),
        format!("{}/{}", status.active_services, status.total_services).into(),
        format!("{}/{}", status.active_forwards, status.total_forwards).into(),
        status.error_count.to_string().into(),
        units::bytes(status.total_bytes_in).into(),
        units::bytes(status.total_bytes_out).into(),
    ]
}

async fn get(daemon: &mut Daemon) -> Result<Status, CliError> {
    let answer = daemon.control.get_status(GetStatusRequest {}).await;
    let answer =
        answer.map_err(|status| CliError::from_status("cannot show the status", &status))?;
    Ok(answer.into_inner().into())
}

impl From<GetStatusResponse> for Status {
    fn from(answer: GetStatusResponse) -> Self {
        let status = match answer.health() {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
            Health::Unspecified => "unknown",
        };
        let counts = answer.counts.unwrap_or_default();
        let hosts = answer.hosts.unwrap_or_default();
        let workers = answer.workers.into_iter().map(|worker| Worker {
            uid: worker.uid,
            user: owner(&worker.user, worker.uid),
            pid: (worker.pid != 0).then_some(worker.pid),
            status: match worker.state() {
                WorkerState::Starting => "starting",
                WorkerState::Running => "running",
                WorkerState::Backoff => "backoff",
                WorkerState::Unspecified => "unknown",
            },
            restarts: worker.restarts,
            error: worker.error,
        });
        Self {
            status,
            message: answer.message,
            version: answer.version,
            pid: answer.pid,
            started_at: units::timestamp(answer.started_at.as_ref()),
            total_namespaces: counts.namespaces,
            total_services: counts.services,
            active_services: counts.services_active,
            total_forwards: counts.forwards,
            active_forwards: counts.forwards_active,
            error_count: counts.errors,
            total_bytes_in: counts.bytes_in,
            total_bytes_out: counts.bytes_out,
            workers: workers.collect(),
            hosts_file: HostsFile {
                path: hosts.path,
                entries: hosts.entries,
                writes: hosts.writes,
                last_written: units::timestamp(hosts.last_written.as_ref()),
                error: hosts.error,
            },
            rest_url: answer.rest_url,
            rest_error: answer.rest_error,
            config_path: answer.config_path,
            state_path: answer.state_path,
            warnings: answer.warnings,
        }
    }
}

/// Two columns: title and value.
fn text(status: &Status, coloured: bool, now: Timestamp) -> String {
    let since = status.started_at.map(|started| now.duration_since(started));
    let up = match since.and_then(|since| Duration::try_from(since).ok()) {
        Some(since) => format!(", up {}", units::duration(since)),
        None => String::new(),
    };
    let of = |active: u32, total: u32| format!("{active} of {total} active");
    let bytes_in = units::bytes(status.total_bytes_in);
    let bytes_out = units::bytes(status.total_bytes_out);
    let hosts = &status.hosts_file;
    let mut rows: Vec<(&str, String)> = vec![
        (
            "Daemon",
            format!("kubefwdd {} (pid {}{up})", status.version, status.pid),
        ),
        ("Namespaces", status.total_namespaces.to_string()),
        (
            "Services",
            of(status.active_services, status.total_services),
        ),
        (
            "Forwards",
            of(status.active_forwards, status.total_forwards),
        ),
        ("Errors", status.error_count.to_string()),
        ("Traffic", format!("{bytes_in} in, {bytes_out} out")),
    ];
    rows.extend(
        status
            .workers
            .iter()
            .map(|worker| ("Worker", worker_text(worker))),
    );
    rows.push((
        "Hosts file",
        with_error(
            format!("{}, {} entries", hosts.path, hosts.entries),
            &hosts.error,
        ),
    ));
    rows.push((
        "REST",
        match (status.rest_url.as_str(), status.rest_error.as_str()) {
            ("", "") => "not served".to_owned(),
            ("", error) => format!("not served: {error}"),
            (url, error) => with_error(url.to_owned(), error),
        },
    ));
    rows.push(("Config", status.config_path.clone()));
    rows.push(("State", status.state_path.clone()));
    rows.extend(
        status
            .warnings
            .iter()
            .map(|warning| ("Warning", warning.clone())),
    );

    let health = Cell::toned(
        with_error(status.status.to_owned(), &status.message),
        tone(status.status),
    );
    let mut cells = vec![vec!["Health".into(), health]];
    cells.extend(
        rows.iter()
            .map(|(title, text)| vec![title.into(), text.into()]),
    );
    Table::new(coloured).render(&cells)
}

fn worker_text(worker: &Worker) -> String {
    let mut text = format!("{} (uid {}): {}", worker.user, worker.uid, worker.status);
    if let Some(pid) = worker.pid {
        text += &format!(", pid {pid}");
    }
    if worker.restarts > 0 {
        text += &format!(", {} restarts", worker.restarts);
    }
    with_error(text, &worker.error)
}

fn with_error(text: String, error: &str) -> String {
    if error.is_empty() {
        text
    } else {
        format!("{text}: {error}")
    }
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::control::v1::{self as proto, Counts};

    use super::*;

    fn answer(health: Health) -> GetStatusResponse {
        GetStatusResponse {
            version: "0.1.0".to_owned(),
            pid: 42,
            started_at: Some(prost_types::Timestamp {
                seconds: 1_800_000_000,
                nanos: 0,
            }),
            health: health.into(),
            counts: Some(Counts {
                namespaces: 2,
                services: 12,
                services_active: 11,
                forwards: 20,
                forwards_active: 19,
                errors: 1,
                bytes_in: 2048,
                bytes_out: 10,
            }),
            workers: vec![proto::Worker {
                uid: 1000,
                user: "alice".to_owned(),
                pid: 77,
                state: WorkerState::Running.into(),
                ..proto::Worker::default()
            }],
            hosts: Some(proto::HostsFile {
                path: "/etc/hosts".to_owned(),
                entries: 40,
                ..proto::HostsFile::default()
            }),
            rest_url: "http://kubefwd.internal/api".to_owned(),
            config_path: "/etc/kubefwd/kubefwdd.toml".to_owned(),
            state_path: "/var/lib/kubefwd".to_owned(),
            ..GetStatusResponse::default()
        }
    }

    #[test]
    fn a_healthy_daemon() {
        let now = Timestamp::new(1_800_008_130, 0).expect("a valid time");
        insta::assert_snapshot!(text(&answer(Health::Healthy).into(), false, now));
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let mut answer = answer(Health::Degraded);
        answer.message = "the worker of alice does not start".to_owned();
        answer.workers[0] = proto::Worker {
            uid: 1000,
            state: WorkerState::Backoff.into(),
            restarts: 3,
            error: "exit status 1".to_owned(),
            ..proto::Worker::default()
        };
        answer.rest_url = String::new();
        answer.rest_error = "port 80 of 127.2.27.1 is taken by nginx (pid 9)".to_owned();
        answer.warnings = vec!["the state file could not be read".to_owned()];
        if let Some(hosts) = &mut answer.hosts {
            hosts.error = "read-only file system".to_owned();
        }
        let now = Timestamp::new(1_800_000_005, 0).expect("a valid time");
        insta::assert_snapshot!(text(&answer.into(), false, now));
    }
}
