//! The control layer: everything that can be asked of the daemon, once, for every face of it.
//!
//! gRPC and REST decode a request, call one function here, and encode its result. Who may do what is decided here
//! ([`policy`]), and only here.

mod add;
mod ask;
mod capture;
mod diagnose;
mod remove;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kubefwd_core::addresses::Reservation;
use kubefwd_core::policy::{self, Actor, Denied, Verb};
use kubefwd_core::state::{Command, Lease, Reply, View};
use kubefwd_core::status::{HostsStatus, Info, RestStatus};
use kubefwd_model::{Counts, Failure, Health, Reason, Uid, WorkerState};
use kubefwd_telemetry::Telemetry;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::store_handle::{Stopping, StoreHandle};
use crate::workers::Workers;

pub(crate) use add::{ClusterAccess, NamespaceRequest, ServiceRequest};
pub(crate) use remove::Reconnect;

/// Everything that can be asked of the daemon. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    store: StoreHandle,
    workers: Workers,
    telemetry: Arc<Telemetry>,
    hosts: watch::Receiver<HostsStatus>,
    rest: RestStatus,
    info: Info,
    tasks: TaskTracker,
    next_lease: AtomicU64,
}

/// What was added for as long as its client is there; dropping it removes it.
pub(crate) struct Attachment {
    control: Control,
    lease: Lease,
}

// === impl Control ===

impl Control {
    /// Puts the layer over the daemon's parts.
    pub(crate) fn new(
        store: StoreHandle,
        workers: Workers,
        telemetry: Arc<Telemetry>,
        hosts: watch::Receiver<HostsStatus>,
        rest: RestStatus,
        info: Info,
        tasks: TaskTracker,
    ) -> Self {
        let next_lease = AtomicU64::new(1);
        let shared = Shared {
            store,
            workers,
            telemetry,
            hosts,
            rest,
            info,
            tasks,
            next_lease,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Facts about this daemon.
    pub(crate) fn info(&self) -> &Info {
        &self.shared.info
    }

    /// The histories.
    pub(crate) fn telemetry(&self) -> &Arc<Telemetry> {
        &self.shared.telemetry
    }

    /// The latest snapshot, of everybody's; show a caller only what [`Actor::sees`].
    pub(crate) fn view(&self) -> Arc<View> {
        self.shared.store.view()
    }

    /// Snapshots from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.shared.store.watch()
    }

    /// The hosts file.
    pub(crate) fn hosts(&self) -> HostsStatus {
        self.shared.hosts.borrow().clone()
    }

    /// Where REST answers over TCP.
    pub(crate) fn rest(&self) -> &RestStatus {
        &self.shared.rest
    }

    /// Whether `actor` may do `verb` to what `owner` has.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub(crate) fn authorize(
        &self,
        actor: &Actor,
        verb: Verb,
        owner: Option<Uid>,
    ) -> Result<(), Failure> {
        Ok(policy::authorize(actor, verb, owner)?)
    }

    /// How well the daemon is, and one sentence about it that tells nothing of any user.
    pub(crate) fn health(&self) -> (Health, String) {
        let view = self.view();
        if let Some(error) = &self.shared.hosts.borrow().error {
            return (
                Health::Unhealthy,
                format!("cannot write the hosts file: {error}"),
            );
        }
        if !view.warnings.is_empty() {
            return (Health::Degraded, "the daemon has warnings".to_owned());
        }
        if view
            .workers
            .values()
            .any(|worker| worker.worker.state == WorkerState::Backoff)
        {
            return (
                Health::Degraded,
                "a worker died and is being restarted".to_owned(),
            );
        }
        if view.counts(|_| true).errors > 0 {
            return (Health::Degraded, "some forwards are not working".to_owned());
        }
        (Health::Healthy, "everything is forwarded".to_owned())
    }

    /// Sums over what the caller sees.
    pub(crate) fn counts(&self, actor: &Actor) -> Counts {
        self.view().counts(|uid| actor.sees(uid))
    }

    /// Every reservation that concerns the caller: the configuration's and their own (root: everybody's).
    ///
    /// # Errors
    /// When the caller may not.
    pub(crate) fn reservations(&self, actor: &Actor) -> Result<Vec<Reservation>, Failure> {
        self.authorize(actor, Verb::Observe, None)?;
        let mut reservations = self.view().reservations.to_vec();
        reservations.retain(|r| r.owner.is_none_or(|owner| actor.sees(owner)));
        Ok(reservations)
    }

    /// Begins something that ends with its client.
    pub(crate) fn attach(&self) -> Attachment {
        let lease = Lease(self.shared.next_lease.fetch_add(1, Ordering::Relaxed));
        Attachment {
            control: self.clone(),
            lease,
        }
    }

    /// Applies a request that is allowed.
    async fn change(&self, command: Command) -> Result<Reply, Failure> {
        let replied = self.shared.store.request(command).await;
        replied.map_err(stopping)?.map_err(Failure::from)
    }
}

// === impl Attachment ===

impl Attachment {
    /// What to put into the requests that end with it.
    pub(crate) fn lease(&self) -> Lease {
        self.lease
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let (store, lease) = (self.control.shared.store.clone(), self.lease);
        self.control.shared.tasks.spawn(async move {
            // A daemon that is stopping keeps no leases.
            let _ = store.request(Command::EndLease(lease)).await;
        });
    }
}

/// The uid to act for: the caller's own, or another's where the caller may.
fn acting_for(actor: &Actor, other: Option<Uid>) -> Result<Uid, Failure> {
    let own = actor.uid();
    let Some(uid) = other.or(own) else {
        return Err(Denied::Unknown { verb: Verb::Change }.into());
    };
    policy::authorize(actor, Verb::Change, Some(uid))?;
    Ok(uid)
}

fn stopping(_: Stopping) -> Failure {
    Failure::new(Reason::WorkerUnavailable, "the daemon is stopping").hint("try again in a moment")
}

/// A request that cannot be meant as it stands.
fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Reason::InvalidArgument, message)
}
