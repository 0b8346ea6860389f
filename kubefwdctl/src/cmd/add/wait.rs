//! What was added comes up: the part that `--wait` and `--attach` share, and `--wait` itself.

use std::time::Duration;

use kubefwd_model::duration;
use tokio::time::timeout;

use super::lines::{Series, ServiceLines};
use super::names;
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
    let names = targets.names();
    watch.what = format!("cannot wait for {names}");
    let mut arrival = Arrival::begin(out, watch, targets, Series::Once)?;
    tokio::select! {
        result = arrival.all_active(Some(limit)) => result,
        () = interrupts.next() => {
            out.note(&format!("interrupted; still forwarding {names}"));
            Err(CliError::Interrupted)
        }
    }
}

/// Targets that come up.
pub(super) struct Arrival<'a> {
    out: &'a Output,
    watch: &'a mut Watch,
    progress: Progress,
    lines: ServiceLines,
}

impl<'a> Arrival<'a> {
    /// Prints those that are up already.
    pub(super) fn begin(
        out: &'a Output,
        watch: &'a mut Watch,
        targets: Targets,
        series: Series,
    ) -> Result<Self, CliError> {
        let progress = Progress::new(targets, &watch.cache);
        let mut lines = ServiceLines::new(*out, series);
        lines.show(&progress.services(&watch.cache))?;
        Ok(Self {
            out,
            watch,
            progress,
            lines,
        })
    }

    /// Waits until all are active, and says so; without a limit, for as long as it takes.
    ///
    /// # Errors
    /// [`CliError::NotActive`] after `limit`; a lost connection.
    pub(super) async fn all_active(&mut self, limit: Option<Duration>) -> Result<(), CliError> {
        // What is too long for the clock never ends.
        let limit = limit.unwrap_or(Duration::MAX);
        match timeout(limit, self.complete()).await {
            Ok(result) => result?,
            Err(_) => return Err(self.not_active(limit)),
        }
        names::tell(self.out, &self.progress.services(&self.watch.cache));
        if self.out.confirms() && !self.progress.targets.names().is_empty() {
            self.out.data(&format!("{}\n", self.progress.summary()))?;
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), CliError> {
        while !self.progress.is_complete(&self.watch.cache) {
            self.next().await?;
        }
        Ok(())
    }

    /// Waits for the next change, and prints it. Cancel-safe.
    ///
    /// # Errors
    /// A lost connection.
    pub(super) async fn next(&mut self) -> Result<(), CliError> {
        let delta = self.watch.next().await?;
        self.lines.show(&self.progress.apply(delta))
    }

    fn not_active(&self, limit: Duration) -> CliError {
        let Missing { what, causes, hint } = Missing::of(&self.progress, &self.watch.cache);
        CliError::NotActive {
            what: format!("{what} after {}", duration::long(limit)),
            causes,
            hint: match hint {
                hint if hint.is_empty() => "kubefwdctl doctor".to_owned(),
                hint => hint,
            },
        }
    }
}
