//! The control layer: everything that can be asked of the daemon, once, for every face of it.
//!
//! gRPC and REST decode a request, call one function here, and encode its result. Who may do what is decided here
//! ([`policy`]), and only here.

mod add;
mod ask;
mod change;
mod diagnose;
mod suffixes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kubefwd_core::addresses::Reservation;
use kubefwd_core::policy::{self, Actor, Verb};
use kubefwd_core::requests::ClusterAccess;
use kubefwd_core::state::{Command, Lease, Reply};
use kubefwd_core::status::{HostsStatus, Info, RestStatus};
use kubefwd_model::{Failure, Health, Uid, WorkerState, failure};
use kubefwd_telemetry::Telemetry;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::store_handle::{Stopping, StoreHandle};
use crate::workers::Workers;

/// Everything that can be asked of the daemon, over its parts.
pub(crate) struct Control {
    /// The owner of the state.
    pub store: StoreHandle,
    /// The users' workers.
    pub workers: Arc<Workers>,
    /// The histories.
    pub telemetry: Arc<Telemetry>,
    /// What became of the hosts file.
    pub hosts: watch::Receiver<HostsStatus>,
    /// Where REST answers over TCP.
    pub rest: RestStatus,
    /// Facts about this daemon.
    pub info: Info,
    /// What goes on after a request.
    pub tasks: TaskTracker,
    /// How many clients had a lease so far.
    pub leases: AtomicU64,
}

/// What was added for as long as its client is there; dropping it removes it.
pub(crate) struct Attachment {
    /// What to put into the requests that end with it.
    pub lease: Lease,
    store: StoreHandle,
    tasks: TaskTracker,
}

// === impl Control ===

impl Control {
    /// How well the daemon is, and one sentence about it that tells nothing of any user.
    pub(crate) fn health(&self) -> (Health, String) {
        let view = self.store.view();
        let degraded = |why: &str| (Health::Degraded, why.to_owned());
        if let Some(error) = &self.hosts.borrow().error {
            let why = format!("cannot write the hosts file: {error}");
            return (Health::Unhealthy, why);
        }
        if !view.warnings.is_empty() {
            return degraded("the daemon has warnings");
        }
        let mut workers = view.workers.values();
        if workers.any(|worker| worker.worker.state == WorkerState::Backoff) {
            return degraded("a worker died and is being restarted");
        }
        if view.counts(|_| true).errors > 0 {
            return degraded("some forwards are not working");
        }
        (Health::Healthy, "everything is forwarded".to_owned())
    }

    /// Every reservation that concerns the caller: the configuration's and their own (root: everybody's).
    ///
    /// # Errors
    /// When the caller may not.
    pub(crate) fn reservations(&self, actor: &Actor) -> Result<Vec<Reservation>, Failure> {
        policy::authorize(actor, Verb::Observe, None)?;
        let mut reservations = self.store.view().reservations.to_vec();
        reservations.retain(|r| r.owner.is_none_or(|owner| actor.sees(owner)));
        Ok(reservations)
    }

    /// Begins something that ends with its client.
    pub(crate) fn attach(&self) -> Attachment {
        Attachment {
            lease: Lease(self.leases.fetch_add(1, Ordering::Relaxed) + 1),
            store: self.store.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// Applies a request that is allowed.
    async fn change(&self, command: Command) -> Result<Reply, Failure> {
        let replied = self.store.request(command).await;
        replied.map_err(stopping)?.map_err(Failure::from)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let (store, lease) = (self.store.clone(), self.lease);
        self.tasks.spawn(async move {
            // A daemon that is stopping keeps no leases.
            let _ = store.request(Command::EndLease(lease)).await;
        });
    }
}

/// The uid to act for: the caller's own, or another's where the caller may.
fn acting_for(actor: &Actor, verb: Verb, other: Option<Uid>) -> Result<Uid, Failure> {
    let uid = other.or(actor.uid());
    policy::authorize(actor, verb, uid)?;
    uid.ok_or_else(|| failure!(Internal, "an allowed caller has no uid"))
}

fn stopping(_: Stopping) -> Failure {
    failure!(WorkerUnavailable, "the daemon is stopping").hint("try again in a moment")
}
