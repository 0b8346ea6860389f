//! What signals ask of the daemon.

use std::fs::File;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the daemon is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To end and leave nothing behind.
    Stop,
    /// To end for a daemon that follows at once: names and listeners stay (`RestartKillSignal=` of the unit).
    HandOver,
    /// To read its configuration again.
    Reload,
}

/// The signals that the daemon takes.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    hand_over: Signal,
    /// It was started by hand in a terminal.
    has_terminal: bool,
}

// === impl Signals ===

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let take = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
            hand_over: take(SignalKind::user_defined1())?,
            has_terminal: has_terminal(),
        })
    }

    /// Waits for the next.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hand_over.recv() => Asked::HandOver,
            // The same signal says that a terminal was closed, which ends what was started in it.
            _ = self.hangup.recv() => match self.has_terminal && !has_terminal() {
                true => Asked::Stop,
                false => Asked::Reload,
            },
        }
    }
}

fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
