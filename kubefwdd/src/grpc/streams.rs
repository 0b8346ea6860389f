//! The calls that go on: watching, attaching, following events. Each ends with its client, and with the daemon.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use kubefwd_core::policy::Actor;
use kubefwd_core::state::{View, changes};
use kubefwd_proto::control::v1::{self as pb, watch_response::Update};
use kubefwd_telemetry::Telemetry;
use kubefwd_telemetry::events::Logged;
use tokio::sync::watch;
use tonic::Status;

use super::decode::Filter;
use super::encode;
use crate::control::Attachment;

/// Events read from the log at a time.
const BATCH: usize = 256;

/// A snapshot first, then what changes. A slow client gets fewer, larger changes; it costs no queue.
pub(super) fn watch(
    views: watch::Receiver<Arc<View>>,
    filter: Filter,
) -> impl Stream<Item = Result<pb::WatchResponse, Status>> {
    let watching = (views, filter, None::<Arc<View>>);
    stream::unfold(watching, |(mut views, filter, mut last)| async move {
        loop {
            if last.is_some() {
                views.changed().await.ok()?;
            }
            let view = views.borrow_and_update().clone();
            let update = match last {
                None => Some(Update::Snapshot(encode::listing(&view, &filter))),
                Some(last) => {
                    encode::changes(changes(&last, &view), &filter, &view).map(Update::Changes)
                }
            };
            let revision = view.revision;
            last = Some(view);
            if update.is_some() {
                let response = pb::WatchResponse { revision, update };
                return Some((Ok(response), (views, filter, last)));
            }
        }
    })
}

/// Says once what was added, then holds it until the client or the daemon ends.
pub(super) fn attach(
    response: pb::AttachResponse,
    attachment: Attachment,
) -> impl Stream<Item = Result<pb::AttachResponse, Status>> {
    let state = (Some(response), attachment);
    stream::unfold(state, |(response, attachment)| async move {
        match response {
            Some(response) => Some((Ok(response), (None, attachment))),
            // Dropped with the stream when the client goes; what was attached goes with it.
            None => std::future::pending().await,
        }
    })
}

/// Events that are kept and, when asked to follow, those to come.
pub(super) fn events(
    telemetry: Arc<Telemetry>,
    request: pb::EventsRequest,
    actor: Actor,
) -> impl Stream<Item = Result<pb::EventsResponse, Status>> {
    let newest = telemetry.events.subscribe();
    let after = match request.limit {
        0 => request.after_id,
        limit => {
            let seen = |logged: &Logged| actor.sees(logged.event.uid);
            let kept = telemetry.events.newest_where(limit as usize, seen);
            let first = kept.last().map_or(0, |event| event.id - 1);
            request.after_id.max(first)
        }
    };
    let reader = EventReader {
        telemetry,
        newest,
        after,
        follow: request.follow,
        actor,
    };
    let batches = stream::unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Some((stream::iter(batch), reader))
    });
    batches.flatten().map(Ok)
}

/// Reads the event log for one caller.
struct EventReader {
    telemetry: Arc<Telemetry>,
    newest: watch::Receiver<u64>,
    after: u64,
    follow: bool,
    actor: Actor,
}

impl EventReader {
    /// What the caller sees of the next events, as soon as there are any.
    async fn next(&mut self) -> Option<Vec<pb::EventsResponse>> {
        loop {
            self.newest.borrow_and_update();
            let read = self.telemetry.events.after(self.after, BATCH, |uid| {
                uid.is_some_and(|uid| self.actor.sees(uid))
            });
            if let Some(last) = read.events.last() {
                // From the beginning of the log there is nothing to miss.
                let gap = read.gap && self.after != 0;
                self.after = last.id;
                return Some(self.seen(&read.events, gap));
            }
            if !self.follow {
                return None;
            }
            self.newest.changed().await.ok()?;
        }
    }

    fn seen(&self, events: &[Arc<Logged>], mut gap: bool) -> Vec<pb::EventsResponse> {
        let events = events.iter();
        let seen = events.filter(|logged| self.actor.sees(logged.event.uid));
        let responses = seen.map(|logged| pb::EventsResponse {
            gap: std::mem::take(&mut gap),
            event: Some(pb::Event::new(logged.id, &logged.event)),
        });
        responses.collect()
    }
}
