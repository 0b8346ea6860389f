//! What happened: bounded histories that every interface of the daemon reads.
//!
//! The store emits events, workers' sessions report captured requests and reconnections, the log comes from `tracing`, and
//! everything else (errors with their times, rates, histories of counters) is found by following the snapshots
//! ([`observe`]). Nothing is recorded twice, and the store never waits for anything here.

pub mod errors;
pub mod events;
pub mod history;
pub mod http;
pub mod logs;
pub mod meters;
pub mod notes;
pub mod reconnections;
mod rings;

use std::sync::Arc;
use std::time::SystemTime;

use kubefwd_core::state::{View, changes};
use kubefwd_model::RefusedName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use errors::{ErrorLog, Found, Holder};
use events::EventLog;
use http::HttpLog;
use logs::{LogLayer, LogRing};
use meters::Meters;
use notes::Notes;
use reconnections::Reconnections;

/// Events that are kept.
const EVENTS: usize = 10_000;

/// All histories.
pub struct Telemetry {
    /// What happened to namespaces, services, forwards and pods.
    pub events: EventLog,
    /// What failed, from when to when.
    pub errors: ErrorLog,
    /// When each note began.
    pub notes: Notes,
    /// Reopened tunnels.
    pub reconnections: Reconnections,
    /// Totals, rates and histories of what moved.
    pub meters: Meters,
    /// Requests seen in forwarded bytes.
    pub http: HttpLog,
    /// The daemon's log.
    pub logs: Arc<LogRing>,
}

/// A ring of log lines, and the layer that feeds it from `tracing`.
pub fn log_ring() -> (Arc<LogRing>, LogLayer) {
    let ring = Arc::new(LogRing::default());
    (ring.clone(), LogLayer::new(ring))
}

/// Follows the snapshots until `stop`, or until their sender is gone.
pub async fn observe(
    telemetry: Arc<Telemetry>,
    mut views: watch::Receiver<Arc<View>>,
    stop: CancellationToken,
) {
    let mut last = Arc::new(View::default());
    loop {
        let view = views.borrow_and_update().clone();
        telemetry.follow(&last, &view, SystemTime::now());
        last = view;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = views.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// Empty histories around a ring of log lines that [`log_ring`] made.
    pub fn new(logs: Arc<LogRing>) -> Self {
        Self {
            events: EventLog::new(EVENTS),
            errors: ErrorLog::default(),
            notes: Notes::default(),
            reconnections: Reconnections::default(),
            meters: Meters::default(),
            http: HttpLog::default(),
            logs,
        }
    }

    /// Records what differs between two snapshots.
    pub fn follow(&self, old: &View, new: &View, now: SystemTime) {
        let changes = changes(old, new);
        for key in &changes.removed_services {
            let holder = Holder::Service(key.clone());
            self.settle(&holder, Vec::new(), [], now);
            self.meters.forget(key);
            if let Some(gone) = old.services.get(key) {
                self.http.forwards_changed(key.uid, &gone.forwards, &[]);
            }
        }
        for service in &changes.services {
            let holder = Holder::Service(service.key.clone());
            let notes = service.refused_names.iter().map(note);
            self.settle(&holder, errors::of_service(service), notes, now);
            self.meters.sample(service, now);
            let before = old.services.get(&service.key);
            let before = before
                .map(|old| old.forwards.as_slice())
                .unwrap_or_default();
            self.http
                .forwards_changed(service.key.uid, before, &service.forwards);
        }
        for key in &changes.removed_namespaces {
            let holder = Holder::Namespace(key.clone());
            self.settle(&holder, Vec::new(), [], now);
        }
        for namespace in &changes.namespaces {
            let holder = Holder::Namespace(namespace.key.clone());
            let notes = namespace.notes.iter().cloned();
            self.settle(&holder, errors::of_namespace(namespace), notes, now);
        }
        let workers = old.workers.keys();
        for uid in workers.filter(|uid| !new.workers.contains_key(uid)) {
            self.settle(&Holder::Worker(*uid), Vec::new(), [], now);
        }
        for (uid, worker) in &new.workers {
            if old.workers.get(uid) != Some(worker) {
                let found = errors::of_worker(worker);
                self.settle(&Holder::Worker(*uid), found, [], now);
            }
        }
    }

    /// Keeps the errors and notes that an object shows now, and logs errors that are new or over.
    fn settle(
        &self,
        holder: &Holder,
        found: Vec<Found>,
        notes: impl IntoIterator<Item = String>,
        now: SystemTime,
    ) {
        self.notes.settle(holder, notes, now);
        let (uid, key) = (holder.uid(), holder.to_string());
        let settled = self.errors.settle(holder, found, now);
        for message in settled.began {
            tracing::warn!(uid = uid.get(), service = key, "{message}");
        }
        for message in settled.over {
            tracing::info!(uid = uid.get(), service = key, "resolved: {message}");
        }
    }
}

/// The note about a name that a service did not get.
pub fn note(refused: &RefusedName) -> String {
    format!("name {}: {}", refused.name, refused.reason)
}
