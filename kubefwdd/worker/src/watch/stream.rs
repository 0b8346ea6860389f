//! Lists and watches one resource for as long as its receiver exists.
//!
//! After <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>: list in pages,
//! watch from the list's resource version, keep up with bookmarks, resume a watch where it ended, and list again only when
//! the server no longer has that resource version.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::Resource as _;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use kube::{Client, Resource as _};
use rand::RngExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::decode::{Decode, Page};
use super::failure::{WatchError, WatchFailure};
use crate::index::Change;
use crate::sys;

const PAGE: u32 = 500;
/// More objects of a kind than a namespace can be expected to have: Kubernetes is made for 150,000 pods in a cluster.
const OBJECTS: usize = 300_000;
/// Several times what these objects take in full pages: bounds empty pages too.
const PAGES: usize = 3_000;
/// Longer than the time limit of a credential plugin, which may have to ask the user.
const ANSWER: Duration = Duration::from_secs(90);
/// API servers send a bookmark about once a minute: a watch that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(150);
/// The requested duration, random so that watches do not all end at once.
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 240..=360;
/// A watch that lasted this long was a healthy one.
const HEALTHY: Duration = Duration::from_secs(5);
/// Failures in a row after which a list replaces resuming the watch.
const GIVE_UP: u32 = 4;
/// The least wait after refusals that only a person can fix.
const LASTING: Duration = Duration::from_secs(5);

/// What to watch.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) client: Client,
    pub(super) namespace: Arc<str>,
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    /// Retries failing requests at once.
    pub(super) retry: Arc<Notify>,
}

/// An update of a watch.
pub(super) enum Update<T> {
    Change(Change<T>),
    /// It is connected.
    Healthy,
    /// It failed and will retry.
    Failed(WatchFailure),
}

/// The receiver is gone.
struct Closed;

enum Ended {
    Closed,
    Failed(WatchError),
    /// The server ended the watch after the requested duration.
    Done,
}

impl From<Closed> for Ended {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl<E: Into<WatchError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Watches until `update` is closed.
pub(super) async fn run<W: Decode, E: Send + 'static>(
    source: Source,
    update: mpsc::Sender<E>,
    wrap: fn(Update<W::Compact>) -> E,
) {
    let mut watch = Watch::<W, E> {
        request: Request::new(W::Kind::url_path(&(), Some(&source.namespace))),
        source,
        update,
        wrap,
        version: None,
        listed: false,
        connected: None,
        backoff: Backoff::new(),
        failures: 0,
    };
    // Ends when the receiver is gone.
    while watch.once().await.is_ok() {}
}

struct Watch<W: Decode, E> {
    source: Source,
    request: Request,
    update: mpsc::Sender<E>,
    wrap: fn(Update<W::Compact>) -> E,
    /// Where to resume; `None` lists first.
    version: Option<String>,
    /// Listed, and not watched since.
    listed: bool,
    /// When the current or last watch was connected.
    connected: Option<Instant>,
    backoff: Backoff,
    /// Failures in a row.
    failures: u32,
}

impl<W: Decode, E: Send + 'static> Watch<W, E> {
    /// One list or one watch, and the wait after it if it failed.
    async fn once(&mut self) -> Result<(), Closed> {
        self.connected = None;
        let (verb, ended) = match self.version.take() {
            None => ("list", self.list().await),
            Some(version) => ("watch", self.follow(version).await),
        };
        let was_healthy = self
            .connected
            .is_some_and(|since| since.elapsed() >= HEALTHY);
        if was_healthy {
            self.healthy();
        }
        let wait = match ended {
            Ok(()) => return Ok(()),
            Err(Ended::Closed) => return Err(Closed),
            Err(Ended::Done) if was_healthy => Duration::ZERO,
            // No watches in a row without a pause: a broken server would cause a storm.
            Err(Ended::Done) => self.backoff.pause(),
            Err(Ended::Failed(error)) => {
                let failed = WatchFailure {
                    verb,
                    resource: W::Kind::URL_PATH_SEGMENT,
                    error,
                };
                if self.failed(failed).await? {
                    self.backoff.pause().max(LASTING)
                } else {
                    self.backoff.pause()
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.source.retry.notified() => Ok(()),
            () = self.update.closed() => Err(Closed),
        }
    }

    /// Reports a failure, unless the next attempt may succeed; returns whether it will last.
    async fn failed(&mut self, failed: WatchFailure) -> Result<bool, Closed> {
        tracing::debug!(
            namespace = &*self.source.namespace,
            resource = failed.resource,
            verb = failed.verb,
            error = &failed.error as &dyn std::error::Error,
            "request failed"
        );
        self.failures = self.failures.saturating_add(1);
        if failed.is_gone() {
            self.version = None;
            return Ok(false);
        }
        if self.failures >= GIVE_UP {
            self.version = None;
        }
        let lasting = failed.is_lasting();
        if lasting || self.failures > 1 {
            self.send(Update::Failed(failed)).await?;
        }
        Ok(lasting)
    }

    fn healthy(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }

    async fn list(&mut self) -> Result<(), Ended> {
        let mut parameters = ListParams {
            label_selector: self.source.labels.clone(),
            field_selector: self.source.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut objects = Vec::new();
        let mut pages = 0;
        let version = loop {
            let request = self
                .request
                .list(&parameters)
                .map_err(kube::Error::BuildRequest)?;
            let text = in_time(self.source.client.request_text(request)).await??;
            let page: Page<W> = serde_json::from_str(&text)?;
            let items = page.items.into_iter().flatten();
            objects.extend(items.filter_map(W::compact));
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                break page.metadata.resource_version.unwrap_or_default();
            }
            pages += 1;
            let is_same = parameters.continue_token == next;
            if is_same || pages > PAGES || objects.len() > OBJECTS {
                return Err(WatchError::Endless(objects.len()).into());
            }
            parameters.continue_token = next;
        };
        self.send(Update::Change(Change::Listed(objects))).await?;
        self.version = Some(version);
        self.listed = true;
        Ok(())
    }

    /// Watches from `version`; keeps the version that it reached in `self.version`, however it ends.
    async fn follow(&mut self, version: String) -> Result<(), Ended> {
        self.version = Some(version);
        let parameters = WatchParams {
            label_selector: self.source.labels.clone(),
            field_selector: self.source.fields.clone(),
            timeout: Some(rand::rng().random_range(WATCH_SECONDS)),
            ..WatchParams::default()
        };
        let version = self.version.as_deref().unwrap_or_default();
        let request = self
            .request
            .watch(&parameters, version)
            .map_err(kube::Error::BuildRequest)?;
        let events = in_time(self.source.client.request_events::<W>(request)).await??;
        let mut events = std::pin::pin!(events);
        self.send(Update::Healthy).await?;
        self.connected = Some(Instant::now());
        if std::mem::take(&mut self.listed) {
            // Whole objects are many times larger than what is kept of them.
            sys::release_freed_memory();
        }
        loop {
            let next = tokio::select! {
                next = timeout(SILENCE, events.next()) => next,
                // The machine woke up or its network changed: this connection may be dead without an error.
                () = self.source.retry.notified() => return Err(Ended::Done),
                () = self.update.closed() => return Err(Ended::Closed),
            };
            let event = match next {
                Err(_) => return Err(WatchError::Timeout.into()),
                Ok(None) => return Err(Ended::Done),
                Ok(Some(event)) => event?,
            };
            if !matches!(event, WatchEvent::Error(_)) {
                self.healthy();
            }
            self.take(event).await?;
        }
    }

    async fn take(&mut self, event: WatchEvent<W>) -> Result<(), Ended> {
        let change = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                self.version = Some(object.metadata().resource_version.clone());
                let name = object.metadata().name.as_str().into();
                match object.compact() {
                    Some(compact) => Change::Applied(compact),
                    // It may have been useful before.
                    None => Change::Deleted(name),
                }
            }
            WatchEvent::Deleted(object) => {
                self.version = Some(object.metadata().resource_version.clone());
                Change::Deleted(object.metadata().name.as_str().into())
            }
            WatchEvent::Bookmark(bookmark) => {
                self.version = Some(bookmark.metadata.resource_version);
                return Ok(());
            }
            WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
        };
        self.send(Update::Change(change)).await?;
        Ok(())
    }

    async fn send(&self, update: Update<W::Compact>) -> Result<(), Closed> {
        self.update
            .send((self.wrap)(update))
            .await
            .map_err(|_| Closed)
    }
}

async fn in_time<F: Future>(future: F) -> Result<F::Output, WatchError> {
    timeout(ANSWER, future)
        .await
        .map_err(|_| WatchError::Timeout)
}
