//! The calls that go on: watching, attaching, following events. Each ends with its client, and with the daemon.

use std::sync::Arc;

use futures_util::{Stream, stream};
use kubefwd_proto::control::v1 as pb;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::decode::Filter;
use super::encode;
use crate::control::Attachment;
use crate::telemetry::Telemetry;
use kubefwd_core::policy::Actor;
use kubefwd_core::state::{View, changes};

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
    struct Following {
        telemetry: Arc<Telemetry>,
        newest: watch::Receiver<u64>,
        after: u64,
        ready: std::vec::IntoIter<pb::EventsResponse>,
        follow: bool,
        actor: Actor,
        stop: CancellationToken,
    }
    let newest = telemetry.events.subscribe();
    let after = match request.limit {
        0 => request.after_id,
        limit => {
            let first = telemetry
                .events
                .newest(limit as usize)
                .first()
                .map_or(0, |e| e.id - 1);
            request.after_id.max(first)
        }
    };
    let ready = Vec::new().into_iter();
    let follow = request.follow;
    let following = Following {
        telemetry,
        newest,
        after,
        ready,
        follow,
        actor,
        stop,
    };
    stream::unfold(following, |mut f| async move {
        loop {
            if let Some(response) = f.ready.next() {
                return Some((Ok(response), f));
            }
            f.newest.borrow_and_update();
            let read = f.telemetry.events.after(f.after, BATCH);
            if let Some(last) = read.events.last() {
                f.after = last.id;
                // From the beginning of the log there is nothing to miss.
                let mut gap = read.gap && f.after != 0;
                let seen = read
                    .events
                    .iter()
                    .filter(|logged| f.actor.sees(logged.event.uid));
                let responses: Vec<_> = seen
                    .map(|logged| pb::EventsResponse {
                        gap: std::mem::take(&mut gap),
                        event: Some(encode::event(logged)),
                    })
                    .collect();
                f.ready = responses.into_iter();
                continue;
            }
            if !f.follow {
                return None;
            }
            tokio::select! {
                changed = f.newest.changed() => changed.ok()?,
                () = f.stop.cancelled() => return None,
            }
        }
    })
}
