//! `pods/NAME/log`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::respond::{Answer, status, stream};
use super::uri::{Query, ResourcePath};
use crate::logs::{Line, LogBook};
use crate::state::State;
use crate::status::Status;

/// Answers a request for a container's log.
pub(crate) fn answer(state: &Arc<State>, target: &ResourcePath, query: &Query) -> Answer {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let name = target.name.as_deref().unwrap_or_default();
    let Some((book, container)) = state.world.logs(namespace, name) else {
        return status(&Status::not_found("", "pods", name));
    };
    let asked = query.get("container").unwrap_or(&container);
    if asked != container {
        return status(&Status::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        )));
    }
    let since = match since(query) {
        Ok(since) => since,
        Err(refusal) => return status(&refusal),
    };
    let previous = query.flag("previous");
    let (mut lines, position) = if previous {
        match book.previous() {
            Some(lines) => (lines, 0),
            None => {
                return status(&Status::bad_request(format!(
                    "previous terminated container \"{container}\" in pod \"{name}\" not found"
                )));
            }
        }
    } else {
        book.read_from(0)
    };
    if let Some(since) = since {
        lines.retain(|line| line.at >= since);
    }
    if let Some(tail) = query.get("tailLines").and_then(|n| n.parse::<usize>().ok()) {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let follow = query.flag("follow") && !previous;
    let timestamps = query.flag("timestamps");
    let limit = query.number("limitBytes");
    let (out, receiver) = mpsc::channel(16);
    tokio::spawn(send(book, lines, position, timestamps, limit, follow, out));
    stream("text/plain", receiver)
}

fn since(query: &Query) -> Result<Option<Timestamp>, Status> {
    if let Some(seconds) = query.number("sinceSeconds") {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let at = Timestamp::now().checked_sub(SignedDuration::from_secs(seconds));
        return Ok(at.ok());
    }
    let Some(text) = query.get("sinceTime") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(at) => Ok(Some(at)),
        Err(_) => Err(Status::bad_request(format!(
            "sinceTime \"{text}\" is no RFC 3339 time"
        ))),
    }
}

async fn send(
    book: Arc<LogBook>,
    mut lines: Vec<Line>,
    mut position: usize,
    timestamps: bool,
    limit: Option<u64>,
    follow: bool,
    out: mpsc::Sender<io::Result<Bytes>>,
) {
    let mut grown = book.subscribe();
    let mut left = limit.and_then(|limit| usize::try_from(limit).ok());
    loop {
        let mut text = render(&lines, timestamps);
        if let Some(left) = &mut left {
            text.truncate(*left);
            *left -= text.len();
        }
        if !text.is_empty() && out.send(Ok(Bytes::from(text))).await.is_err() {
            return;
        }
        if !follow || left == Some(0) {
            return;
        }
        tokio::select! {
            changed = grown.changed() => if changed.is_err() {
                return;
            },
            () = out.closed() => return,
        }
        (lines, position) = book.read_from(position);
    }
}

fn render(lines: &[Line], timestamps: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        if timestamps {
            text.extend_from_slice(format!("{:.9} ", line.at).as_bytes());
        }
        text.extend_from_slice(line.text.as_bytes());
        text.push(b'\n');
    }
    text
}
