//! `--attach`: forwards that live as long as this command does.
//!
//! The daemon removes them when the stream ends, however it ends. This side only has to keep the stream open, report what
//! comes up and, when interrupted, exit after the names are gone, so that the next program finds the machine as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use kubefwd_proto::control::v1::{AttachRequest, AttachResponse, Filter};
use tokio::time::Instant;
use tonic::Streaming;

use super::Session;
use super::add::{Series, ServiceLines, Wishes, not_active};
use crate::connect::Daemon;
use crate::error::CliError;
use crate::follow::Follow;
use crate::interrupt::Interrupts;
use crate::mirror::{Id, Mirror};
use crate::output::{Format, Output};
use crate::progress::{Progress, Targets};

/// How long an interrupted command waits for its forwards to go.
const FAREWELL: Duration = Duration::from_secs(5);

/// Adds, stays until interrupted or until the daemon exits, and leaves nothing behind.
///
/// # Errors
/// [`CliError::Interrupted`] as the normal end; [`CliError::NotActive`] if not everything is active within `limit`.
pub(crate) async fn run(
    session: &Session,
    mut daemon: Daemon,
    wishes: Wishes,
    limit: Option<Duration>,
) -> Result<(), CliError> {
    let out = &session.out;
    let mut interrupts = Interrupts::new()?;
    let what = format!("cannot forward {}", wishes.names());
    let mut follow = Follow::open(&mut daemon, Filter::default(), &what).await?;
    follow.what = "forwarding ended".to_owned();
    let before = keys(&follow.mirror);
    let (stream, targets) = tokio::select! {
        begun = begin(&mut daemon, wishes, &what) => begun?,
        () = interrupts.next() => return Err(CliError::Interrupted),
    };
    if out.format == Format::Name {
        let keys = targets.namespaces.iter().chain(&targets.services);
        out.data(&keys.map(|key| format!("{key}\n")).collect::<String>())?;
    }
    let names = targets.keys();
    let mut lease = Lease { stream, targets };
    let result = hold(out, &mut follow, &mut lease, &mut interrupts, limit).await;
    if matches!(
        result,
        Err(CliError::Interrupted | CliError::NotActive { .. })
    ) {
        drop(lease.stream);
        let own = Own {
            before,
            targets: lease.targets,
        };
        let gone = farewell(&mut follow, &own, &mut interrupts).await;
        out.note(&match gone {
            true => format!("stopped forwarding {names}"),
            false => format!("stopping; the daemon is still removing {names}"),
        });
    }
    result
}

/// What the stream keeps alive.
struct Lease {
    stream: Streaming<AttachResponse>,
    targets: Targets,
}

async fn begin(
    daemon: &mut Daemon,
    wishes: Wishes,
    what: &str,
) -> Result<(Streaming<AttachResponse>, Targets), CliError> {
    let request = AttachRequest {
        namespaces: wishes.namespaces,
        services: wishes.services,
    };
    let refused = |status| CliError::from_status(what, &status);
    let mut stream = daemon
        .control
        .attach(request)
        .await
        .map_err(refused)?
        .into_inner();
    let Some(first) = stream.message().await.map_err(refused)? else {
        return Err(ended());
    };
    let targets = Targets {
        namespaces: first.namespace_keys.into_iter().collect(),
        services: first.service_keys.into_iter().collect(),
        revision: 0,
    };
    Ok((stream, targets))
}

async fn hold(
    out: &Output,
    follow: &mut Follow,
    lease: &mut Lease,
    interrupts: &mut Interrupts,
    limit: Option<Duration>,
) -> Result<(), CliError> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut progress = Progress::new(lease.targets.clone(), &follow.mirror);
    let mut lines = ServiceLines::new(*out, Series::Live);
    let known: Vec<Id> = progress.ids().cloned().collect();
    lines.show(&known, &follow.mirror)?;
    let mut told = false;
    loop {
        if !told && progress.is_complete(&follow.mirror) {
            told = true;
            if out.confirms() {
                out.data(&format!("{}\n", progress.summary()))?;
            }
            out.note("forwarding until interrupted (Ctrl-C)");
        }
        let pending_deadline = deadline.filter(|_| !told);
        tokio::select! {
            delta = follow.receive() => {
                let touched = progress.apply(&delta?, &follow.mirror);
                lines.show(&touched, &follow.mirror)?;
            }
            message = lease.stream.message() => match message {
                Ok(Some(_)) => {}
                Ok(None) => return Err(ended()),
                Err(status) => return Err(CliError::from_status("forwarding ended", &status)),
            },
            () = reached(pending_deadline) => {
                let limit = limit.unwrap_or_default();
                return Err(not_active(&progress, &follow.mirror, limit));
            }
            () = interrupts.next() => return Err(CliError::Interrupted),
        }
    }
}

/// Waits for the deadline; forever if there is none.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What this command added: the keys that the daemon returned, without those that existed before.
struct Own {
    before: BTreeSet<String>,
    targets: Targets,
}

impl Own {
    fn is_gone(&self, mirror: &Mirror) -> bool {
        let left = keys(mirror);
        let targets = self.targets.namespaces.iter().chain(&self.targets.services);
        let mut own = targets.filter(|key| !self.before.contains(*key));
        own.all(|key| !left.contains(key) && !has_services(mirror, key, &self.before))
    }
}

fn has_services(mirror: &Mirror, namespace: &str, before: &BTreeSet<String>) -> bool {
    mirror.services.values().any(|service| {
        !before.contains(&service.key)
            && format!("{}.{}", service.namespace, service.context) == namespace
    })
}

fn keys(mirror: &Mirror) -> BTreeSet<String> {
    let ids = mirror.namespaces.keys().chain(mirror.services.keys());
    ids.map(|(key, _)| key.clone()).collect()
}

/// Waits until the forwards are gone, up to a limit or a second interrupt.
async fn farewell(follow: &mut Follow, own: &Own, interrupts: &mut Interrupts) -> bool {
    let watch = async {
        while !own.is_gone(&follow.mirror) {
            if follow.receive().await.is_err() {
                // Without the daemon the forwards should be gone too, but we cannot tell.
                return false;
            }
        }
        true
    };
    tokio::select! {
        gone = watch => gone,
        () = tokio::time::sleep(FAREWELL) => false,
        () = interrupts.next() => false,
    }
}

fn ended() -> CliError {
    CliError::Lost {
        what: "forwarding ended".to_owned(),
        cause: "the daemon closed it, probably because it is stopping".to_owned(),
    }
}
