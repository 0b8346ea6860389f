//! SIGINT and SIGTERM as something to wait for, where exiting at once would skip a last message.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// The two signals; once this exists they no longer end the process by themselves.
pub(crate) struct Interrupts {
    int: Signal,
    term: Signal,
}

impl Interrupts {
    /// Takes the signals over.
    pub(crate) fn new() -> Result<Self, CliError> {
        let take = |kind| {
            signal(kind).map_err(|source| CliError::System {
                what: "cannot listen for signals",
                source,
            })
        };
        Ok(Self {
            int: take(SignalKind::interrupt())?,
            term: take(SignalKind::terminate())?,
        })
    }

    /// Waits for either. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}
