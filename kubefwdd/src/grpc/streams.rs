//! The calls that go on: watching, attaching, following events. Each ends with its client, and with the daemon.

use std::sync::Arc;

use futures_util::{Stream, stream};
use kubefwd_core::policy::Actor;
use kubefwd_core::state::{View, changes};
use kubefwd_proto::control::v1 as pb;
use kubefwd_telemetry::Telemetry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
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
    stop: CancellationToken,
) -> impl Stream<Item = Result<pb::WatchResponse, Status>> {
    struct Watching {
        views: watch::Receiver<Arc<View>>,
        last: Option<Arc<View>>,
        filter: Filter,
        stop: CancellationToken,
    }
    let watching = Watching {
        views,
        last: None,
        filter,
        stop,
    };
    stream::unfold(watching, |mut watching| async move {
        let Some(mut last) = watching.last.take() else {
            let view = watching.views.borrow_and_update().clone();
            let update =
                pb::watch_response::Update::Snapshot(encode::listing(&view, &watching.filter));
            let response = pb::WatchResponse {
                revision: view.revision,
                update: Some(update),
            };
            watching.last = Some(view);
            return Some((Ok(response), watching));
        };
        loop {
            tokio::select! {
                changed = watching.views.changed() => changed.ok()?,
                () = watching.stop.cancelled() => return None,
            }
            let view = watching.views.borrow_and_update().clone();
            let changes = encode::changes(changes(&last, &view), &watching.filter, &view);
            last = view;
            if let Some(changes) = changes {
                let update = pb::watch_response::Update::Changes(changes);
                let response = pb::WatchResponse {
                    revision: last.revision,
                    update: Some(update),
                };
                watching.last = Some(last);
                return Some((Ok(response), watching));
            }
        }
    })
}

/// Says once what was added, then holds it until the client or the daemon ends.
pub(super) fn attach(
    response: pb::AttachResponse,
    attachment: Attachment,
    stop: CancellationToken,
) -> impl Stream<Item = Result<pb::AttachResponse, Status>> {
    stream::unfold(
        (Some(response), attachment, stop),
        |(response, attachment, stop)| async move {
            if let Some(response) = response {
                return Some((Ok(response), (None, attachment, stop)));
            }
            // Dropped with the stream when the client goes; what was attached goes with it.
            stop.cancelled().await;
            None
        },
    )
}

/// Events that are kept and, when asked to follow, those to come.
pub(super) fn events(
    telemetry: Arc<Telemetry>,
    request: pb::EventsRequest,
    actor: Actor,
    stop: CancellationToken,
) -> impl Stream<Item = Result<pb::EventsResponse, Status>> {
    let newest = telemetry.events.subscribe();
    let after = match request.limit {
        0 => request.after_id,
        limit => {
            let kept = telemetry.events.newest(limit as usize);
            let first = kept.first().map_or(0, |event| event.id - 1);
            request.after_id.max(first)
        }
    };
    let reader = EventReader {
        telemetry,
        newest,
        after,
        ready: Vec::new().into_iter(),
        follow: request.follow,
        actor,
        stop,
    };
    stream::unfold(reader, |mut reader| async move {
        let response = reader.next().await?;
        Some((Ok(response), reader))
    })
}

/// Reads the event log for one caller.
struct EventReader {
    telemetry: Arc<Telemetry>,
    newest: watch::Receiver<u64>,
    after: u64,
    ready: std::vec::IntoIter<pb::EventsResponse>,
    follow: bool,
    actor: Actor,
    stop: CancellationToken,
}

impl EventReader {
    async fn next(&mut self) -> Option<pb::EventsResponse> {
        loop {
            if let Some(response) = self.ready.next() {
                return Some(response);
            }
            self.newest.borrow_and_update();
            if self.read() {
                continue;
            }
            if !self.follow {
                return None;
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Reads the next events, those of others too; false where there are none.
    fn read(&mut self) -> bool {
        let read = self.telemetry.events.after(self.after, BATCH);
        let Some(last) = read.events.last() else {
            return false;
        };
        // From the beginning of the log there is nothing to miss.
        let mut gap = read.gap && self.after != 0;
        self.after = last.id;
        let events = read.events.iter();
        let seen = events.filter(|logged| self.actor.sees(logged.event.uid));
        let responses = seen.map(|logged| pb::EventsResponse {
            gap: std::mem::take(&mut gap),
            event: Some(pb::Event::new(logged.id, &logged.event)),
        });
        self.ready = responses.collect::<Vec<_>>().into_iter();
        true
    }
}
