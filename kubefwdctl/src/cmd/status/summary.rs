//! The status for people: a title and a value per line.

use std::time::SystemTime;

use kubefwd_model::{Time, duration};

use super::report::{Status, Worker};
use crate::output::rows::tone;
use crate::output::table::{Cell, Table};
use crate::output::units;

/// Two columns, coloured by health.
pub(super) fn text(status: &Status, coloured: bool, now: Time) -> String {
    let health = Cell::toned(
        with_error(status.status.to_owned(), &status.message),
        tone(status.status),
    );
    let rows = rows(status, now).into_iter();
    let mut cells = vec![vec!["Health".into(), health]];
    cells.extend(rows.map(|(title, text)| vec![title.into(), text.into()]));
    Table::new(coloured).render(&cells)
}

fn rows(status: &Status, now: Time) -> Vec<(&'static str, String)> {
    let counts = &status.counts;
    let active = |active: usize, total: usize| format!("{active} of {total} active");
    let bytes_in = units::bytes(counts.totals.bytes_in);
    let bytes_out = units::bytes(counts.totals.bytes_out);
    let hosts = &status.hosts_file;
    let entries = format!("{}, {} entries", hosts.path, hosts.entries);
    let rest = match status.rest_url.as_str() {
        "" => "not served",
        url => url,
    };
    let mut rows = vec![
        ("Daemon", daemon(status, now)),
        ("Namespaces", status.total_namespaces.to_string()),
        ("Services", active(counts.services_active, counts.services)),
        ("Forwards", active(counts.forwards_active, counts.forwards)),
        ("Errors", counts.errors.to_string()),
        ("Traffic", format!("{bytes_in} in, {bytes_out} out")),
    ];
    rows.extend(status.workers.iter().map(|one| ("Worker", worker(one))));
    rows.extend([
        ("Hosts file", with_error(entries, &hosts.error)),
        ("REST", with_error(rest.to_owned(), &status.rest_error)),
        ("Config", status.config_path.clone()),
        ("State", status.state_path.clone()),
    ]);
    let warnings = status.warnings.iter();
    rows.extend(warnings.map(|warning| ("Warning", warning.clone())));
    rows
}

fn daemon(status: &Status, now: Time) -> String {
    let up = status.started_at.and_then(|started| {
        let now = SystemTime::from(now);
        now.duration_since(started.into()).ok()
    });
    let up = up.map_or_else(String::new, |up| format!(", up {}", duration::long(up)));
    format!("kubefwdd {} (pid {}{up})", status.version, status.pid)
}

fn worker(worker: &Worker) -> String {
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
    match error {
        "" => text,
        error => format!("{text}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use kubefwd_proto::control::v1::{
        self as proto, Counts, GetStatusResponse, Health, WorkerState,
    };

    use super::*;

    fn at(seconds: u64) -> Time {
        (UNIX_EPOCH + Duration::from_secs(seconds)).into()
    }

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
        let now = at(1_800_008_130);
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
        let now = at(1_800_000_005);
        insta::assert_snapshot!(text(&answer.into(), false, now));
    }
}
