//! The columns of each kind of object.

mod finding;
mod forward;
mod namespace;
mod service;

use super::table::{Cell, Tone};

/// The header of the wide form: its additions stand before the last column, which is free text.
pub(crate) fn titles(
    narrow: &[&'static str],
    wide: bool,
    more: &[&'static str],
) -> Vec<&'static str> {
    let mut header = narrow.to_vec();
    if wide {
        insert(&mut header, more.iter().copied());
    }
    header
}

/// Inserts the cells of the wide form into a row.
pub(crate) fn insert<T>(row: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    let last = row.len() - 1;
    row.splice(last..last, more);
}

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
pub(crate) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A number that should be 0.
fn errors(count: impl Into<u64>) -> Cell {
    let count = count.into();
    let tone = if count == 0 { Tone::Plain } else { Tone::Bad };
    Cell::toned(count.to_string(), tone)
}

/// Names in one cell.
fn joined<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(",")
}
