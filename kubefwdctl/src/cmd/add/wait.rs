//! `--wait`: until every requested service is active.

use std::time::Duration;

use kubefwd_model::duration;
use tokio::time::Instant;

use super::lines::{Series, ServiceLines};
use crate::cache::Cache;
use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::output::Output;
use crate::progress::{Missing, Progress, Targets};
use crate::watch::Watch;

/// Waits until every target is active, and prints each as it comes up.
///
/// # Errors
/// [`CliError::NotActive`] after `limit`; [`CliError::Interrupted`]; a lost connection.
pub(super) async fn until_active(
    out: &Output,
    watch: &mut Watch,
    targets: Targets,
    limit: Duration,
) -> Result<(), CliError> {
    let mut interrupts = Interrupts::new()?;
    let deadline = Instant::now() + limit;
    let names = targets.names();
    watch.what = format!("cannot wait for {names}");
    let mut progress = Progress::new(targets, &watch.cache);
    let mut lines = ServiceLines::new(*out, Series::Once);
    lines.show(&progress.services(&watch.cache))?;
    while !progress.is_complete(&watch.cache) {
        tokio::select! {
            delta = watch.next() => {
                lines.show(&progress.apply(delta?))?;
            }
            () = tokio::time::sleep_until(deadline) => {
                return Err(not_active(&progress, &watch.cache, limit));
            }
            () = interrupts.next() => {
                out.note(&format!("interrupted; still forwarding {names}"));
                return Err(CliError::Interrupted);
            }
        }
    }
    if out.confirms() && !names.is_empty() {
        out.data(&format!("{}\n", progress.summary()))?;
    }
    Ok(())
}

/// The error of a wait that timed out.
pub(super) fn not_active(progress: &Progress, cache: &Cache, limit: Duration) -> CliError {
    let Missing { what, causes, hint } = Missing::of(progress, cache);
    CliError::NotActive {
        what: format!("{what} after {}", duration::long(limit)),
        causes,
        hint: match hint {
            hint if hint.is_empty() => "kubefwdctl doctor".to_owned(),
            hint => hint,
        },
    }
}
