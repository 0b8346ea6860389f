//! Logs of containers.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

/// How many lines a container's log keeps, like a rotated file.
const KEEP: usize = 10_000;

/// A line with the time it was written.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) text: Arc<str>,
}

#[derive(Default)]
struct Inner {
    lines: Vec<Line>,
    /// How many lines were dropped before `lines[0]`.
    dropped: usize,
    previous: Option<Vec<Line>>,
}

/// The log of a pod's container, and of its previous run.
#[derive(Default)]
pub(crate) struct LogBook {
    inner: Mutex<Inner>,
    grown: watch::Sender<usize>,
}

impl LogBook {
    pub(crate) fn push(&self, text: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.lines.push(Line {
            at: Timestamp::now(),
            text: text.into(),
        });
        if inner.lines.len() > KEEP {
            inner.lines.remove(0);
            inner.dropped += 1;
        }
        self.grown.send_replace(inner.dropped + inner.lines.len());
    }

    /// The container restarts: its log becomes the previous one.
    pub(crate) fn rotate(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.dropped += inner.lines.len();
        inner.previous = Some(std::mem::take(&mut inner.lines));
    }

    /// The lines from a position on, and the position after them.
    pub(crate) fn read_from(&self, position: usize) -> (Vec<Line>, usize) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = position.saturating_sub(inner.dropped);
        let lines = inner.lines.iter().skip(skip).cloned().collect();
        (lines, inner.dropped + inner.lines.len())
    }

    pub(crate) fn previous(&self) -> Option<Vec<Line>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.previous.clone()
    }

    /// Changes with every new line.
    pub(crate) fn subscribe(&self) -> watch::Receiver<usize> {
        self.grown.subscribe()
    }
}
