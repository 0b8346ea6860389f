//! The columns of each kind of object.

mod finding;
mod forward;
mod namespace;
mod service;

use super::table::{Cell, Tone};

/// What a state word means.
pub(crate) fn tone(state: &str) -> Tone {
    match state {
        "active" | "watching" | "ok" | "healthy" | "running" => Tone::Good,
        "pending" | "connecting" | "partial" | "stopping" | "warning" | "degraded" | "starting"
        | "backoff" => Tone::Waiting,
        "error" | "failed" | "unhealthy" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// A state word, coloured by what it means.
pub(crate) fn state(word: &str) -> Cell {
    Cell::toned(word, tone(word))
}

/// `-` for an empty text.
pub(crate) fn or_dash(text: &str) -> Cell {
    Cell::from(if text.is_empty() { "-" } else { text })
}

/// A number that should be 0.
fn errors(count: impl Into<u64>) -> Cell {
    let count = count.into();
    let tone = if count == 0 { Tone::Plain } else { Tone::Bad };
    Cell::toned(count.to_string(), tone)
}
