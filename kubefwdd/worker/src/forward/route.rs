//! The route of a service to its pods: written by the namespace's watch, read by every connection.
//!
//! A route exists only for services with listeners. It outlives the service and the watch: while there are no updates,
//! connections use the last known pods, and a listener whose service is gone waits for it to come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use kubefwd_model::{Failure, failure};
use kubefwd_portforward::Tunnels;
use kubefwd_proto::common::v1::Balance;
use kubefwd_proto::worker::v1::ForwardReport;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Forward;
use super::context_tunnels::ContextTunnels;
use crate::index::object::Name;
use crate::index::select::{Chooser, Endpoints, PodPort};

/// The settings for new connections of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionPolicy {
    /// How they choose among ready pods.
    pub balance: Balance,
    /// Whether their requests are captured.
    pub capture: bool,
}

/// One service's pods.
pub(crate) struct Route {
    pub(crate) namespace: Name,
    pub(crate) service: Name,
    pub(super) tunnels: Arc<ContextTunnels>,
    pub(super) endpoints: watch::Sender<Arc<Endpoints>>,
    chooser: Mutex<Chooser>,
    policy: Mutex<ConnectionPolicy>,
    /// The watch has published the service's pods at least once.
    known: AtomicBool,
    forwards: Mutex<Vec<Weak<Forward>>>,
}

impl Route {
    pub(super) fn new(
        namespace: Name,
        service: Name,
        tunnels: Arc<ContextTunnels>,
        policy: ConnectionPolicy,
    ) -> Self {
        Self {
            namespace,
            service,
            tunnels,
            endpoints: watch::Sender::default(),
            chooser: Mutex::default(),
            policy: Mutex::new(policy),
            known: AtomicBool::new(false),
            forwards: Mutex::default(),
        }
    }

    /// Applies to new connections.
    pub(crate) fn set_policy(&self, policy: ConnectionPolicy) {
        *self.policy.lock() = policy;
    }

    /// Whether new connections are captured.
    pub(super) fn captures(&self) -> bool {
        self.policy.lock().capture
    }

    /// Whether the service's pods are known: until then there is nothing to report.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// The tunnels, once the service's pods are known; `None` if that takes too long.
    pub(super) async fn tunnels_in_time(&self) -> Option<Arc<Tunnels>> {
        if let (true, Some(tunnels)) = (self.is_known(), self.tunnels.get()) {
            return Some(tunnels);
        }
        let known = async {
            let mut endpoints = self.endpoints.subscribe();
            while !self.is_known() {
                endpoints.changed().await.ok()?;
            }
            self.tunnels.known().await
        };
        timeout(self.tunnels.wait, known).await.ok()?
    }

    /// Updates the pods; returns reports of the forwards that changed.
    pub(crate) fn publish(&self, endpoints: Endpoints) -> Vec<ForwardReport> {
        self.known.store(true, Ordering::Relaxed);
        let endpoints = Arc::new(endpoints);
        let before = self.endpoints.send_replace(endpoints.clone());
        if *before == *endpoints {
            return self.each(Forward::report);
        }
        self.each(Forward::pods_changed)
    }

    /// The service is no longer watched: forgets its pods.
    pub(crate) fn forget(&self) -> Vec<ForwardReport> {
        self.endpoints.send_replace(Arc::default());
        self.each(Forward::report)
    }

    /// Opens new connections to the service's pods; the present ones close when their streams have ended.
    ///
    /// # Errors
    /// Why a pod cannot be reached.
    pub(crate) async fn reconnect(&self) -> Result<(), Failure> {
        let uids: Vec<String> = self.pods().iter().map(ToString::to_string).collect();
        match self.tunnels.get() {
            Some(tunnels) => tunnels.reconnect(&uids).await,
            None => Err(failure!(
                ClusterUnreachable,
                "the cluster of this service is not available"
            )
            .hint("see `kubefwdctl ns ls`")),
        }
    }

    /// The uids of the pods behind the service, ready or not.
    pub(crate) fn pods(&self) -> Box<[Name]> {
        self.endpoints.borrow().uids.clone()
    }

    /// Whether the service has this pod, ready or not.
    pub(crate) fn has_pod(&self, uid: &str) -> bool {
        let uids = &self.endpoints.borrow().uids;
        uids.binary_search_by(|known| (**known).cmp(uid)).is_ok()
    }

    pub(super) fn attach(&self, forward: &Arc<Forward>) {
        let mut forwards = self.forwards.lock();
        forwards.retain(|forward| forward.strong_count() > 0);
        forwards.push(Arc::downgrade(forward));
    }

    /// Where the next connection would go.
    pub(super) fn peek(&self, port: u16, pod: Option<&str>) -> Option<PodPort> {
        let endpoints = self.endpoints.borrow().clone();
        self.chooser.lock().peek(&endpoints, port, pod)
    }

    /// Whether there is a ready pod that was not tried.
    pub(super) fn is_ready(&self, port: u16, pod: Option<&str>, tried: &[String]) -> bool {
        let endpoints = self.endpoints.borrow();
        let mut usable = endpoints.usable(port, pod);
        usable.any(|usable| !tried.iter().any(|uid| **uid == *usable.pod.uid))
    }

    /// Picks a pod for a connection, which is counted for that pod instead of `before`.
    pub(super) fn pick(
        &self,
        port: u16,
        pod: Option<&str>,
        tried: &[String],
        before: Option<&Name>,
    ) -> Option<PodPort> {
        let endpoints = self.endpoints.borrow().clone();
        let balance = self.policy.lock().balance;
        let mut chooser = self.chooser.lock();
        let chosen = chooser.pick(&endpoints, balance, port, pod, tried)?;
        if let Some(before) = before {
            chooser.closed(before);
        }
        chooser.opened(&chosen.pod.uid);
        Some(chosen)
    }

    /// A connection that was counted for this pod has ended.
    pub(super) fn closed(&self, uid: &Name) {
        self.chooser.lock().closed(uid);
    }

    /// Whether it has listeners.
    pub(super) fn is_used(&self) -> bool {
        self.forwards.lock().iter().any(|f| f.strong_count() > 0)
    }

    fn each(&self, report: fn(&Forward) -> Option<ForwardReport>) -> Vec<ForwardReport> {
        let forwards: Vec<_> = self
            .forwards
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        forwards.iter().filter_map(|f| report(f)).collect()
    }
}

#[cfg(test)]
mod tests;
