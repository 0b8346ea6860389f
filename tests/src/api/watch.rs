//! Watches: changes since a version, initial events, bookmarks, timeouts, 410.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::accept::Form;
use super::list::{Filter, include_object};
use super::respond::{Answer, status, stream};
use super::table::{self, Include};
use super::uri::Query;
use crate::kinds::Kind;
use crate::state::State;
use crate::status::Status;
use crate::store::{Change, Event, Object, VersionError};

/// How many chunks of events wait for a slow client.
const QUEUE: usize = 16;

/// The longest chunk of events.
const CHUNK: usize = 64 * 1024;

struct Watch {
    state: Arc<State>,
    kind: Kind,
    namespace: Option<String>,
    filter: Filter,
    form: Form,
    include: Include,
    bookmarks: bool,
    /// Send a bookmark with the annotation that ends initial events.
    initial_end: bool,
    /// A Table's columns are described in its first event only.
    described: bool,
    deadline: Option<Instant>,
    out: mpsc::Sender<io::Result<Bytes>>,
}

/// Where a watch begins.
enum Start {
    /// With the present objects as ADDED events.
    Initial,
    /// After a version.
    After(u64),
}

/// Begins a watch.
pub(crate) fn answer(
    state: &Arc<State>,
    kind: Kind,
    namespace: Option<String>,
    filter: Filter,
    form: Form,
    query: &Query,
) -> Answer {
    let initial = query.flag("sendInitialEvents");
    if initial && query.get("resourceVersionMatch") != Some("NotOlderThan") {
        return status(&Status::bad_request(
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let start = match query.get("resourceVersion") {
        None | Some("0") => Start::Initial,
        Some(_) if initial => Start::Initial,
        Some(version) => match version.parse() {
            Ok(version) => Start::After(version),
            Err(_) => {
                return status(&Status::bad_request(format!(
                    "invalid resource version \"{version}\""
                )));
            }
        },
    };
    if let Start::After(version) = start
        && version > state.store.version()
    {
        let current = state.store.version();
        return status(&Status::too_large_version(version, current));
    }
    let (out, receiver) = mpsc::channel(QUEUE);
    let deadline = query
        .number("timeoutSeconds")
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let bookmarks = query.flag("allowWatchBookmarks");
    let watch = Watch {
        state: Arc::clone(state),
        kind,
        namespace,
        filter,
        form,
        include: include_object(query),
        bookmarks,
        initial_end: initial && bookmarks,
        described: false,
        deadline,
        out,
    };
    tokio::spawn(watch.run(start));
    let content_type = match form {
        Form::Table => "application/json;as=Table;g=meta.k8s.io;v=v1;stream=watch",
        _ => "application/json",
    };
    stream(content_type, receiver)
}

/// The client has gone.
struct Gone;

impl Watch {
    async fn run(mut self, start: Start) {
        let state = Arc::clone(&self.state);
        let _open = state.counters.watches_open.enter();
        let mut changes = state.store.subscribe(self.kind);
        let mut signals = state.signals.subscribe();
        let began = *signals.borrow_and_update();
        let Ok(mut version) = self.begin(start).await else {
            return;
        };
        let mut bookmark_at = Instant::now() + state.timing.bookmark_interval;
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        let deadline = self.deadline.unwrap_or(far);
        loop {
            match self.pass_on(version).await {
                Ok(Some(reached)) => version = reached,
                Ok(None) | Err(Gone) => return,
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = sleep_until(deadline) => return,
                () = sleep_until(bookmark_at) => {
                    bookmark_at = Instant::now() + state.timing.bookmark_interval;
                    if self.bookmarks && self.bookmark(version, false).await.is_err() {
                        return;
                    }
                }
                () = self.out.closed() => return,
                Ok(()) = signals.changed() => {
                    if self.ended_by(&mut signals, began).await {
                        return;
                    }
                }
            }
        }
    }

    async fn ended_by(
        &self,
        signals: &mut watch::Receiver<crate::faults::Signals>,
        began: crate::faults::Signals,
    ) -> bool {
        let now = *signals.borrow_and_update();
        if now.watches != began.watches {
            let cut = io::Error::from(io::ErrorKind::ConnectionAborted);
            // Whether the client has gone already makes no difference.
            let _gone = self.out.send(Err(cut)).await;
            return true;
        }
        now.watch_timeouts != began.watch_timeouts
    }

    /// Sends what comes before the changes; gives the version the changes begin after.
    async fn begin(&mut self, start: Start) -> Result<u64, Gone> {
        let version = match start {
            Start::After(version) => return Ok(version),
            Start::Initial => {
                let namespace = self.namespace.as_deref();
                let snapshot = self.state.store.list(self.kind, namespace);
                let mut chunk = Vec::new();
                for object in &snapshot.objects {
                    if self.filter.selects(object) {
                        self.write("ADDED", object, &mut chunk);
                        self.flush(&mut chunk, CHUNK).await?;
                    }
                }
                self.flush(&mut chunk, 1).await?;
                snapshot.version
            }
        };
        if self.initial_end {
            self.bookmark(version, true).await?;
        }
        Ok(version)
    }

    /// Sends the changes after a version; gives the version reached, or nothing when the history is gone.
    async fn pass_on(&mut self, version: u64) -> Result<Option<u64>, Gone> {
        let (events, reached) = match self.state.store.events_after(self.kind, version) {
            Ok(found) => found,
            Err(VersionError::TooOld { oldest }) => {
                let status = Status::expired_watch(version, oldest).to_json();
                let mut chunk = b"{\"type\":\"ERROR\",\"object\":".to_vec();
                chunk.extend_from_slice(&status);
                chunk.extend_from_slice(b"}\n");
                self.flush(&mut chunk, 1).await?;
                return Ok(None);
            }
            Err(VersionError::TooLarge { .. }) => return Ok(Some(version)),
        };
        let mut chunk = Vec::new();
        for event in events {
            let Some((kind, object)) = self.seen_as(&event) else {
                continue;
            };
            self.write(kind, object, &mut chunk);
            self.flush(&mut chunk, CHUNK).await?;
        }
        self.flush(&mut chunk, 1).await?;
        Ok(Some(reached))
    }

    /// What an event is through the filter: an object that begins to match is added, one that ceases is deleted.
    fn seen_as<'a>(&self, event: &'a Event) -> Option<(&'static str, &'a Object)> {
        let namespace = self.namespace.as_deref();
        if namespace.is_some_and(|namespace| event.object.key.0 != namespace) {
            return None;
        }
        let object = &*event.object;
        let now = event.change != Change::Deleted && self.filter.selects(object);
        let before = event.before.as_ref();
        let before = before.is_some_and(|before| self.filter.selects(before));
        match (before, now) {
            (false, true) => Some(("ADDED", object)),
            (true, true) => Some(("MODIFIED", object)),
            (true, false) => Some(("DELETED", object)),
            (false, false) => None,
        }
    }

    fn write(&mut self, event: &str, object: &Object, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"type\":\"{event}\",\"object\":").as_bytes());
        match self.form {
            Form::Table => {
                let describe = !std::mem::replace(&mut self.described, true);
                table::write_one(self.kind, object, self.include, describe, out);
            }
            Form::Metadata => table::write_metadata(object, out),
            Form::Objects | Form::AggregatedDiscovery => object.write_full(self.kind, out),
        }
        out.extend_from_slice(b"}\n");
    }

    async fn bookmark(&self, version: u64, initial_end: bool) -> Result<(), Gone> {
        let annotation = if initial_end {
            ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}"
        } else {
            ""
        };
        let (kind, api_version, rest) = match self.form {
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1", ""),
            _ => (
                self.kind.name(),
                self.kind.api_version(),
                self.kind.bookmark_rest(),
            ),
        };
        let object = format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{{\"resourceVersion\":\"{version}\"{annotation}}}{rest}}}"
        );
        let object = match self.form {
            Form::Table => table::bookmark(version, annotation, &object),
            _ => object,
        };
        let mut chunk = format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n").into_bytes();
        self.flush(&mut chunk, 1).await
    }

    /// Sends the chunk when it is at least so long.
    async fn flush(&self, chunk: &mut Vec<u8>, at_least: usize) -> Result<(), Gone> {
        if chunk.len() < at_least {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(chunk));
        self.out.send(Ok(bytes)).await.map_err(|_| Gone)
    }
}
