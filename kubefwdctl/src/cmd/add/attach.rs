//! `--attach`: forwards that live as long as this command does.
//!
//! The daemon removes them whenever the stream ends. This side keeps the stream open, reports what comes up and, when
//! interrupted, exits after the names are gone, so that the next program finds the machine as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use kubefwd_proto::control::v1::{AttachRequest, AttachResponse, Filter};
use tonic::Streaming;

use super::lines::Series;
use super::wait::Arrival;
use crate::cache::Cache;
use crate::connect::Daemon;
use crate::error::{Answer as _, CliError};
use crate::interrupt::Interrupts;
use crate::output::{Format, Output};
use crate::progress::Targets;
use crate::session::Session;
use crate::watch::Watch;

/// How long an interrupted command waits until its forwards are gone.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What to report if the daemon ends it.
const ENDED: &str = "forwarding ended";

/// Adds, stays until interrupted or until the daemon exits, then waits until everything is removed.
///
/// # Errors
/// [`CliError::Interrupted`] as the normal end; [`CliError::NotActive`] if not everything is active within `limit`.
pub(super) async fn run(
    session: &Session,
    mut daemon: Daemon,
    requests: AttachRequest,
    limit: Option<Duration>,
) -> Result<(), CliError> {
    let out = &session.out;
    let mut interrupts = Interrupts::new()?;
    let what = format!("cannot forward {}", super::listed(&requests));
    let mut watch = Watch::open(&mut daemon, Filter::default(), &what).await?;
    watch.what = ENDED.to_owned();
    let before = keys(&watch.cache);
    let (mut stream, targets) = tokio::select! {
        begun = begin(&mut daemon, requests, &what) => begun?,
        () = interrupts.next() => return Err(CliError::Interrupted),
    };
    if out.format == Format::Name {
        let lines = targets.keys().map(|key| format!("{key}\n"));
        out.data(&lines.collect::<String>())?;
    }
    let names = targets.names();
    let mut arrival = Arrival::begin(out, &mut watch, targets.clone(), Series::Live)?;
    let result = tokio::select! {
        result = forward(&mut arrival, limit, out) => result,
        error = ended(&mut stream) => Err(error),
        () = interrupts.next() => Err(CliError::Interrupted),
    };
    if matches!(
        result,
        Err(CliError::Interrupted | CliError::NotActive { .. })
    ) {
        drop(stream);
        let gone = await_removal(&mut watch, &before, &targets, &mut interrupts).await;
        out.note(&match gone {
            true => format!("stopped forwarding {names}"),
            false => format!("stopping; the daemon is still removing {names}"),
        });
    }
    result
}

async fn begin(
    daemon: &mut Daemon,
    requests: AttachRequest,
    what: &str,
) -> Result<(Streaming<AttachResponse>, Targets), CliError> {
    let answer = daemon.control.attach(requests).await;
    let mut stream = answer.answered(what)?;
    let refused = |status| CliError::from_status(what, &status);
    let Some(first) = stream.message().await.map_err(refused)? else {
        return Err(CliError::stream_ended(ENDED));
    };
    let targets = Targets {
        namespaces: first.namespace_keys.into_iter().collect(),
        services: first.service_keys.into_iter().collect(),
        revision: 0,
    };
    Ok((stream, targets))
}

/// Reports what comes up, and what changes later; ends only by an error.
async fn forward(
    arrival: &mut Arrival<'_>,
    limit: Option<Duration>,
    out: &Output,
) -> Result<(), CliError> {
    arrival.all_active(limit).await?;
    out.note("forwarding until interrupted (Ctrl-C)");
    loop {
        arrival.next().await?;
    }
}

/// Waits until the daemon ends the stream.
async fn ended(stream: &mut Streaming<AttachResponse>) -> CliError {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return CliError::stream_ended(ENDED),
            Err(status) => return CliError::from_status(ENDED, &status),
        }
    }
}

/// Whether all that this command added is gone: the keys that the daemon returned, without those that existed before.
fn is_gone(cache: &Cache, before: &BTreeSet<String>, targets: &Targets) -> bool {
    let left = keys(cache);
    let mut own = targets.keys().filter(|key| !before.contains(*key));
    own.all(|key| !left.contains(key) && !has_services(cache, key, before))
}

fn has_services(cache: &Cache, namespace: &str, before: &BTreeSet<String>) -> bool {
    cache.services.iter().any(|((key, _), item)| {
        !before.contains(key) && item.service.key.namespace_key().to_string() == namespace
    })
}

fn keys(cache: &Cache) -> BTreeSet<String> {
    let ids = cache.namespaces.keys().chain(cache.services.keys());
    ids.map(|(key, _)| key.clone()).collect()
}

/// Waits until the forwards are gone, up to a limit or a second interrupt.
async fn await_removal(
    watch: &mut Watch,
    before: &BTreeSet<String>,
    targets: &Targets,
    interrupts: &mut Interrupts,
) -> bool {
    let watch = async {
        while !is_gone(&watch.cache, before, targets) {
            if watch.next().await.is_err() {
                // Without the daemon the forwards should be gone too, but we cannot tell.
                return false;
            }
        }
        true
    };
    tokio::select! {
        gone = watch => gone,
        () = tokio::time::sleep(STOP_TIMEOUT) => false,
        () = interrupts.next() => false,
    }
}
