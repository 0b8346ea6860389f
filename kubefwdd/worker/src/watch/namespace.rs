//! The task of one namespace: owns its index, feeds it, and passes changes to the daemon and the routes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::Client;
use kubefwd_model::Failure;
use kubefwd_proto::common::v1::Selection;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{NamespacePhase, NamespaceReport};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::decode::{Decode, RawPod, RawService, RawSlice};
use super::existence::{self, Existence};
use super::failure::WatchFailure;
use super::phase::Status;
use super::report;
use super::stream::{self, Source, Update};
use crate::forward::routes::Routes;
use crate::index::filter::{Filter, Membership};
use crate::index::object::{Pod, Service, Slice};
use crate::index::{Change, NamespaceIndex};
use crate::outbox::{Closed, Outbox};

/// Updates that may be queued.
const MAX_QUEUED: usize = 64;
/// Updates that are handled before their changes are reported.
const BATCH: usize = 1024;

/// The desired services of one namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    /// The context's name, for reports.
    pub context: String,
    pub namespace: String,
    /// `None`: only `names`.
    pub selection: Option<Selection>,
    /// Services wanted by name.
    pub names: BTreeSet<String>,
    /// Counts how often the namespace was added: every generation is reported from the beginning.
    pub generation: u64,
}

/// What a namespace's task needs.
pub(crate) struct Namespace {
    pub spec: Spec,
    pub client: Client,
    /// Where connections find their pods.
    pub routes: Arc<Routes>,
    /// Notified (all waiters) when failing requests should be retried at once.
    pub retry: Arc<Notify>,
    /// Notified when requests fail: the kubeconfig may have changed.
    pub request_failed: Arc<Notify>,
    pub outbox: Outbox,
}

/// Watches a namespace and reports until the daemon is gone. Drop it to cancel.
pub(crate) async fn run(namespace: Namespace) {
    let context = namespace.spec.context.clone();
    let name = namespace.spec.namespace.clone();
    let filter = Filter::new(
        namespace.spec.selection.as_ref(),
        namespace.spec.names.iter().cloned(),
    );
    let outbox = namespace.outbox.clone();
    let ended = match filter {
        Ok(filter) => Task::new(namespace, filter).run().await,
        Err(failure) => outbox.send(failed(&context, &name, failure)).await,
    };
    if let Err(Closed) = ended {
        tracing::debug!(context, namespace = name, "the daemon is gone");
    }
}

/// The report that a namespace cannot be watched.
pub(crate) fn failed(context: &str, namespace: &str, failure: Failure) -> Frame {
    Frame::Namespace(NamespaceReport {
        failure: Some(failure.into()),
        ..report(context, namespace, NamespacePhase::Failed)
    })
}

/// The report that a namespace is not known yet.
pub(crate) fn connecting(context: &str, namespace: &str) -> Frame {
    Frame::Namespace(report(context, namespace, NamespacePhase::Connecting))
}

fn report(context: &str, namespace: &str, phase: NamespacePhase) -> NamespaceReport {
    NamespaceReport {
        context: context.to_owned(),
        namespace: namespace.to_owned(),
        phase: phase.into(),
        sequence: next_sequence(),
        ..NamespaceReport::default()
    }
}

/// Reports of one namespace come from its task and from the task that starts it: the sequence tells which is later.
fn next_sequence() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

enum Event {
    Services(Membership, Update<Service>),
    Slices(Update<Slice>),
    Pods(Update<Pod>),
    Existence(Existence),
}

struct Task {
    namespace: Namespace,
    index: NamespaceIndex,
    status: Status,
    reported: NamespaceReport,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    tasks: JoinSet<()>,
    slices: Option<AbortHandle>,
    check: Option<AbortHandle>,
}

impl Task {
    fn new(namespace: Namespace, filter: Filter) -> Self {
        let (sender, events) = mpsc::channel(MAX_QUEUED);
        Self {
            reported: NamespaceReport {
                context: namespace.spec.context.clone(),
                namespace: namespace.spec.namespace.clone(),
                // Reported by the task that starts this one.
                phase: NamespacePhase::Connecting.into(),
                ..NamespaceReport::default()
            },
            namespace,
            index: NamespaceIndex::new(filter),
            status: Status::default(),
            sender,
            events,
            tasks: JoinSet::new(),
            slices: None,
            check: None,
        }
    }

    async fn run(mut self) -> Result<(), Closed> {
        self.start_watches();
        loop {
            tokio::select! {
                event = self.events.recv() => {
                    let mut next = event;
                    let mut taken = 0;
                    while let Some(event) = next {
                        self.handle(event);
                        taken += 1;
                        next = if taken < BATCH { self.events.try_recv().ok() } else { None };
                    }
                    self.report_changes().await?;
                }
                Some(Err(error)) = self.tasks.join_next() => {
                    if error.is_panic() {
                        tracing::error!(%error, "a watch failed");
                    }
                }
                new = self.namespace.routes.wanted() => {
                    for service in new {
                        self.publish(&service).await?;
                    }
                }
            }
        }
    }

    // === watches ===

    /// One watch of services, or two where labels or fields select some and others are wanted by name.
    fn start_watches(&mut self) {
        let selected = |update| Event::Services(Membership::SELECTED, update);
        let named = |update| Event::Services(Membership::NAMED, update);
        let all = |update| Event::Services(Membership::all(), update);
        let names = self.namespace.spec.names.clone();
        match self.namespace.spec.selection.clone() {
            Some(selection) if has_selectors(&selection) => {
                let source = Source {
                    labels: not_empty(selection.label_selector),
                    fields: not_empty(selection.field_selector),
                    ..self.source()
                };
                self.watch::<RawService>(source, selected);
                if !names.is_empty() {
                    self.watch::<RawService>(self.named(&names), named);
                }
            }
            Some(_) => drop(self.watch::<RawService>(self.source(), all)),
            None => drop(self.watch::<RawService>(self.named(&names), named)),
        }
        self.slices = Some(self.watch::<RawSlice>(self.source(), Event::Slices));
    }

    fn source(&self) -> Source {
        Source {
            client: self.namespace.client.clone(),
            namespace: self.namespace.spec.namespace.as_str().into(),
            labels: None,
            fields: None,
            retry: self.namespace.retry.clone(),
        }
    }

    /// A field selector takes one name only.
    fn named(&self, names: &BTreeSet<String>) -> Source {
        let mut names = names.iter();
        let only = names.next().filter(|_| names.next().is_none());
        Source {
            fields: only.map(|name| format!("metadata.name={name}")),
            ..self.source()
        }
    }

    fn watch<W: Decode>(
        &mut self,
        source: Source,
        wrap: fn(Update<W::Compact>) -> Event,
    ) -> AbortHandle {
        let watch = stream::run::<W, Event>(source, self.sender.clone(), wrap);
        self.tasks.spawn(watch)
    }

    /// Falls back to pods where EndpointSlices are not available.
    fn fall_back(&mut self, failure: Failure) {
        if let Some(slices) = self.slices.take() {
            slices.abort();
        }
        self.status.fallback = Some(failure);
        self.status.backing = None;
        self.index.use_pods();
        self.watch::<RawPod>(self.source(), Event::Pods);
    }

    /// Checks whether the namespace exists, while no service proves it.
    fn check_existence(&mut self) {
        self.status.has_services = !self.index.is_empty();
        if self.status.has_services {
            self.status.existence = Some(Existence::Present);
            if let Some(check) = self.check.take() {
                check.abort();
            }
        } else if self.index.is_synced() && self.check.is_none() {
            let check = existence::run(
                self.namespace.client.clone(),
                self.namespace.spec.namespace.clone(),
                self.sender.clone(),
                Event::Existence,
            );
            self.check = Some(self.tasks.spawn(check));
        }
    }

    // === events ===

    fn handle(&mut self, event: Event) {
        match event {
            Event::Services(covers, update) => self.services(covers, update),
            Event::Slices(Update::Change(change)) => self.index.slices(change),
            Event::Pods(Update::Change(change)) => self.index.pods(change),
            Event::Slices(Update::Healthy) | Event::Pods(Update::Healthy) => {
                self.status.backing = None
            }
            Event::Slices(Update::Failed(failed)) => {
                let failure = self.failure(&failed);
                if failed.is_forbidden() || failed.is_unknown_kind() {
                    if self.slices.is_some() {
                        self.fall_back(failure);
                    }
                } else {
                    self.status.backing = Some(failure);
                }
            }
            Event::Pods(Update::Failed(failed)) => {
                if failed.is_forbidden() && failed.verb == "list" {
                    self.index.use_nothing();
                }
                self.status.backing = Some(self.failure(&failed));
            }
            Event::Existence(existence) => self.status.existence = Some(existence),
        }
    }

    fn services(&mut self, covers: Membership, update: Update<Service>) {
        let watch = usize::from(covers == Membership::NAMED);
        match update {
            Update::Change(change) => {
                if let Change::Listed(services) = &change {
                    tracing::debug!(
                        context = self.namespace.spec.context,
                        namespace = self.namespace.spec.namespace,
                        services = services.len(),
                        "listed"
                    );
                }
                self.index.services(covers, change);
            }
            Update::Healthy => self.status.services[watch] = None,
            Update::Failed(failed) => self.status.services[watch] = Some(self.failure(&failed)),
        }
    }

    fn failure(&self, failed: &WatchFailure) -> Failure {
        if !failed.is_forbidden() {
            self.namespace.request_failed.notify_one();
        }
        failed.failure(&self.namespace.spec.namespace)
    }

    // === what changed ===

    async fn report_changes(&mut self) -> Result<(), Closed> {
        if let Some(mut changes) = self.index.take_changes() {
            let mut touched = std::mem::take(&mut changes.touched);
            let mut gone = std::mem::take(&mut changes.gone);
            if changes.complete {
                // Routes may still hold services and pods of an earlier watch.
                let routes = self.namespace.routes.all();
                touched = routes.iter().map(|route| route.service.clone()).collect();
                let known = routes.iter().flat_map(|route| route.pods());
                gone.extend(known.filter(|uid| !self.index.has_pod(uid)));
            }
            let spec = &self.namespace.spec;
            for report in report::services(&spec.context, &spec.namespace, changes) {
                self.namespace.outbox.send(Frame::Services(report)).await?;
            }
            for service in touched {
                self.publish(&service).await?;
            }
            // Last: connections that are taken away from these pods must find their replacements.
            self.namespace.routes.pods_gone(&gone);
        }
        self.check_existence();
        self.status.synced = self.index.is_synced();
        let report = NamespaceReport {
            context: self.reported.context.clone(),
            namespace: self.reported.namespace.clone(),
            sequence: self.reported.sequence,
            ..self.status.report()
        };
        if report != self.reported {
            self.reported = NamespaceReport {
                sequence: next_sequence(),
                ..report
            };
            let frame = Frame::Namespace(self.reported.clone());
            self.namespace.outbox.send(frame).await?;
        }
        Ok(())
    }

    /// Publishes the pods of a service to its route, if it has one.
    async fn publish(&self, service: &str) -> Result<(), Closed> {
        // Until everything was listed, the route keeps what an earlier watch published.
        if !self.index.is_synced() {
            return Ok(());
        }
        let Some(route) = self.namespace.routes.get(service) else {
            return Ok(());
        };
        for report in route.publish(self.index.endpoints(service)) {
            self.namespace.outbox.send(Frame::Forward(report)).await?;
        }
        Ok(())
    }
}

fn has_selectors(selection: &Selection) -> bool {
    !selection.label_selector.is_empty() || !selection.field_selector.is_empty()
}

fn not_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
