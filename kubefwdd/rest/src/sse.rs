//! Server-sent events (HTML Living Standard, section 9.2).
//!
//! A subscriber is a position in a ring and nothing else: it has no queue, costs the writer nothing, and is gone when
//! its connection is. One that falls behind the ring is told so once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::{self, StreamExt, unfold};
use http::{HeaderMap, header};
use kubefwd_core::policy::Actor;
use kubefwd_model::Uid;
use kubefwd_telemetry::Telemetry;
use kubefwd_telemetry::events::{Concerns, Logged, Ring};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;

/// How often a quiet stream says that it is alive.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Events read from the ring in one go.
const BATCH: usize = 64;

/// One event that can be asked for again.
pub(crate) fn numbered(id: u64, name: &str, data: &impl Serialize) -> Event {
    with_data(Event::default().id(id.to_string()), name, data)
}

/// One event that cannot be asked for again.
pub(crate) fn unnumbered(name: &str, data: &impl Serialize) -> Event {
    with_data(Event::default(), name, data)
}

fn with_data(event: Event, name: &str, data: &impl Serialize) -> Event {
    // Our types have text keys only, so they can always be written.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    event.event(name).data(data)
}

fn resync() -> Event {
    Event::default().event("resync").data("{}")
}

/// The position after which a client wants to go on.
///
/// # Errors
/// When it is not a number.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    let id = text.parse().map_err(|_| {
        ApiError::bad_request(format!("Last-Event-ID {text:?} is not a number"))
            .hint("omit it to start with the next event")
    })?;
    Ok(Some(id))
}

/// A response that lasts.
pub(crate) fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let connected = Event::default().comment("connected");
    let events = stream::iter([connected]).chain(events);
    let alive = KeepAlive::new().interval(KEEPALIVE).text("keepalive");
    let response = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(alive);
    ([(header::CACHE_CONTROL, "no-cache, no-store")], response).into_response()
}

/// Follows a ring from after `from`, or from now on, until the client leaves or `stop`. `encode` gives `None` for what
/// the client does not want or may not see.
pub(crate) fn follow<T: Concerns + Send + Sync + 'static>(
    telemetry: Arc<Telemetry>,
    ring: fn(&Telemetry) -> &Ring<T>,
    from: Option<u64>,
    caller: Actor,
    encode: impl Fn(&Logged<T>) -> Option<Event> + Send + Sync + 'static,
    stop: CancellationToken,
) -> Response {
    let newest = ring(&telemetry).subscribe();
    let now = *newest.borrow();
    // An id from the future is one of an earlier daemon: what came since is not known.
    let foreign = from.is_some_and(|from| from > now);
    let follower = Follower {
        telemetry,
        ring,
        newest,
        position: from.filter(|_| !foreign).unwrap_or(now),
        ready: foreign.then(resync).into_iter().collect(),
        caller,
        encode,
        stop,
    };
    respond(unfold(follower, |mut follower| async move {
        follower.next().await.map(|event| (event, follower))
    }))
}

struct Follower<T, E> {
    telemetry: Arc<Telemetry>,
    ring: fn(&Telemetry) -> &Ring<T>,
    newest: watch::Receiver<u64>,
    /// The last event that was looked at.
    position: u64,
    /// What is left of the batch that was read last.
    ready: VecDeque<Event>,
    caller: Actor,
    encode: E,
    stop: CancellationToken,
}

// === impl Follower ===

impl<T: Concerns, E: Fn(&Logged<T>) -> Option<Event>> Follower<T, E> {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.newest.borrow_and_update();
            if self.read() {
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.newest.changed() => changed.ok()?,
            }
        }
    }

    /// Takes the next batch; false when there is nothing new.
    fn read(&mut self) -> bool {
        let sees = |uid: Option<Uid>| uid.is_none_or(|uid| self.caller.sees(uid));
        let read = (self.ring)(&self.telemetry).after(self.position, BATCH, sees);
        if read.gap {
            self.ready.push_back(resync());
        }
        self.position = match read.events.last() {
            Some(last) => last.id,
            // Where the ring was emptied there is nothing to go on with but what comes now.
            None if read.gap => *self.newest.borrow(),
            None => self.position,
        };
        self.ready.extend(
            read.events
                .iter()
                .filter_map(|logged| (self.encode)(logged)),
        );
        read.gap || !read.events.is_empty()
    }
}

#[cfg(test)]
mod tests;
