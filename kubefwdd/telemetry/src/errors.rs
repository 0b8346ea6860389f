//! What did not work: each error with the time it began and the time it was over.
//!
//! Derived from the snapshots: an error is open as long as the object it belongs to shows it. Each user has a ring of
//! their own, so that nobody can push another's errors out.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use kubefwd_core::state::WorkerView;
use kubefwd_model as model;
use kubefwd_model::{
    Component, Failure, NamespaceKey, Reason, ServiceKey, ServiceStatus, Uid, WorkerState,
};
use parking_lot::Mutex;

use super::rings::{Record, Rings};

/// Errors kept for each user.
pub const PER_USER: usize = 500;

/// What has errors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A namespace.
    Namespace(NamespaceKey),
    /// A service with its forwards.
    Service(ServiceKey),
    /// The worker of this user.
    Worker(Uid),
}

/// An error as an object shows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The forward it belongs to: where it listens, its key and pod.
    pub forward: Option<(Ipv4Addr, u16, String)>,
    /// The pod, where one is known.
    pub pod: Option<String>,
    /// What failed.
    pub component: Component,
    /// A word for programs, e.g. `connection_refused`.
    pub kind: &'static str,
    /// What and why.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// It goes away without anybody's help once its cause does.
    pub recoverable: bool,
}

/// An error and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRecord {
    /// Grows with every error of any user.
    pub id: u64,
    /// When it began.
    pub time: SystemTime,
    /// What has it.
    pub holder: Holder,
    /// What it is.
    pub found: Found,
    /// When it was over.
    pub resolved_at: Option<SystemTime>,
}

/// How the errors of an object changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The messages of those that are new.
    pub began: Vec<String>,
    /// The messages of those that are over.
    pub over: Vec<String>,
}

/// The errors of everybody.
#[derive(Default)]
pub struct ErrorLog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rings: Rings<ErrorRecord>,
    open: HashMap<Holder, Vec<u64>>,
}

impl Record for ErrorRecord {
    fn id(&self) -> u64 {
        self.id
    }
}

// === impl Holder ===

impl Holder {
    /// The user who has it.
    pub fn uid(&self) -> Uid {
        match self {
            Self::Namespace(key) => key.uid,
            Self::Service(key) => key.uid,
            Self::Worker(uid) => *uid,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(key) => key.fmt(f),
            Self::Service(key) => key.fmt(f),
            Self::Worker(uid) => write!(f, "worker of uid {uid}"),
        }
    }
}

// === impl ErrorLog ===

impl ErrorLog {
    /// `holder` has these errors now: new ones begin, missing ones are over.
    pub fn settle(&self, holder: &Holder, mut found: Vec<Found>, now: SystemTime) -> Settled {
        let mut settled = Settled::default();
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if found.is_empty() && !inner.open.contains_key(holder) {
            return settled;
        }
        let mut open = inner.open.remove(holder).unwrap_or_default();
        let records = inner.rings.of(holder.uid());
        open.retain(|id| {
            let Some(record) = records.iter_mut().find(|record| record.id == *id) else {
                return false;
            };
            match found.iter().position(|found| same(found, &record.found)) {
                Some(still) => {
                    record.found = found.swap_remove(still);
                    true
                }
                None => {
                    record.resolved_at = Some(now);
                    settled.over.push(record.found.message.clone());
                    false
                }
            }
        });
        for found in found {
            settled.began.push(found.message.clone());
            let id = inner.rings.next_id();
            let records = inner.rings.of(holder.uid());
            if records.len() >= PER_USER {
                // One that is still open is worth more than one that is over.
                let over = records
                    .iter()
                    .position(|record| record.resolved_at.is_some());
                records.remove(over.unwrap_or(0));
            }
            let holder = holder.clone();
            records.push_back(ErrorRecord {
                id,
                time: now,
                holder,
                found,
                resolved_at: None,
            });
            open.push(id);
        }
        if !open.is_empty() {
            inner.open.insert(holder.clone(), open);
        }
        settled
    }

    /// The newest errors of the users that `sees` lets through, newest first.
    pub fn newest(&self, limit: usize, sees: impl Fn(Uid) -> bool) -> Vec<ErrorRecord> {
        self.inner.lock().rings.newest(limit, sees, |_| true)
    }

    /// The errors that are not over, newest first.
    pub fn open(&self, limit: usize, sees: impl Fn(Uid) -> bool) -> Vec<ErrorRecord> {
        let open = |record: &ErrorRecord| record.resolved_at.is_none();
        self.inner.lock().rings.newest(limit, sees, open)
    }

    /// The errors of one service, newest first.
    pub fn of(&self, service: &ServiceKey, limit: usize) -> Vec<ErrorRecord> {
        let own =
            |record: &ErrorRecord| matches!(&record.holder, Holder::Service(key) if key == service);
        let inner = self.inner.lock();
        inner.rings.newest(limit, |uid| uid == service.uid, own)
    }

    /// How many errors are kept of the users that `sees` lets through.
    pub fn count(&self, sees: impl Fn(Uid) -> bool) -> usize {
        self.inner.lock().rings.count(sees)
    }
}

/// The same error: at the same place with the same words. Its pod may differ by now.
fn same(left: &Found, right: &Found) -> bool {
    let place = |found: &Found| {
        found
            .forward
            .as_ref()
            .map(|(address, port, _)| (*address, *port))
    };
    place(left) == place(right) && left.message == right.message
}

/// The errors that a service shows.
pub fn of_service(service: &model::Service) -> Vec<Found> {
    let failing = |forward: &model::Forward| {
        let failure = forward.failure.as_deref()?;
        Some(Found {
            forward: Some((forward.address, forward.local_port, forward.key.clone())),
            pod: Some(forward.pod.clone()).filter(|pod| !pod.is_empty()),
            ..Found::of(failure)
        })
    };
    let mut found: Vec<Found> = service.forwards.iter().filter_map(failing).collect();
    if found.is_empty() && service.status == ServiceStatus::Error {
        let failure = Failure::new(Reason::PortUnavailable, service.status_reason.clone());
        found.push(Found {
            recoverable: false,
            ..Found::of(&failure.hint(service.hint.clone()))
        });
    }
    found
}

/// The errors that a namespace shows.
pub fn of_namespace(namespace: &model::Namespace) -> Vec<Found> {
    namespace
        .failure
        .as_deref()
        .map(Found::of)
        .into_iter()
        .collect()
}

/// The errors that a worker shows.
pub fn of_worker(worker: &WorkerView) -> Vec<Found> {
    if worker.worker.state != WorkerState::Backoff {
        return Vec::new();
    }
    let error = &worker.worker.error;
    let message = format!("the worker died and is started again: {error}");
    let failure = Failure::new(Reason::WorkerUnavailable, message);
    vec![Found::of(&failure.hint("see the kubefwdd log"))]
}

// === impl Found ===

impl Found {
    /// A failure, as an error of something.
    fn of(failure: &Failure) -> Self {
        let (component, recoverable) = component(failure.reason);
        Self {
            forward: None,
            pod: None,
            component,
            kind: error_type(failure.reason),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
            recoverable,
        }
    }
}

/// What a failure concerns, and whether it goes away without anybody's help.
fn component(reason: Reason) -> (Component, bool) {
    match reason {
        Reason::CredentialsNeeded
        | Reason::Unauthenticated
        | Reason::KubeconfigInvalid
        | Reason::ContextNotFound => (Component::Credentials, false),
        Reason::PortUnavailable => (Component::Network, true),
        Reason::ClusterUnreachable
        | Reason::Timeout
        | Reason::WorkerUnavailable
        | Reason::ConnectionRefused
        | Reason::ConnectionLost
        | Reason::PodNotFound => (Component::Connection, true),
        _ => (Component::Kubernetes, false),
    }
}

/// The error types that kubefwd's clients know, and ours beside them.
fn error_type(reason: Reason) -> &'static str {
    match reason {
        Reason::ConnectionRefused => "connection_refused",
        Reason::ConnectionLost => "broken_pipe",
        Reason::PodNotFound => "pod_not_found",
        Reason::Timeout => "timeout",
        Reason::PortUnavailable => "address",
        Reason::CredentialsNeeded | Reason::Unauthenticated => "credentials",
        Reason::KubeconfigInvalid | Reason::ContextNotFound => "kubeconfig",
        Reason::ClusterUnreachable => "cluster_unreachable",
        Reason::ClusterUntrusted => "certificate",
        Reason::ForbiddenByCluster | Reason::PermissionDenied => "forbidden",
        Reason::NamespaceNotFound | Reason::ServiceNotFound | Reason::NotFound => "not_found",
        Reason::WorkerUnavailable => "worker",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests;
