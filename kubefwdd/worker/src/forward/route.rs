//! From a service to its pods: written by the namespace's watch, read by every connection.
//!
//! A route exists only for services with listeners. It outlives the service and the watch: while there are no updates,
//! connections use the last known pods, and a listener whose service is gone waits for it to come back.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kubefwd_proto::common::v1::Balance;
use kubefwd_proto::worker::v1::ForwardReport;
use kubefwd_proto::{Failure, Reason};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::Forward;
use crate::index::object::Name;
use crate::index::select::{Chooser, Endpoints, PodPort};
use kubefwd_portforward::{Transport, Tunnels};

/// How long connecting to a cluster and listing its objects may take. A worker that has just started knows no pods, which
/// does not mean that there are none.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// The tunnels of one context, once its cluster is known.
pub(crate) struct ContextTunnels {
    tunnels: watch::Sender<Option<Arc<Tunnels>>>,
    /// How long a connection waits for them, and for the first update of its service's pods.
    timeout_length: Duration,
}

/// The routes of one namespace.
pub(crate) struct Routes {
    namespace: Name,
    context_tunnels: Arc<ContextTunnels>,
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Default)]
struct State {
    routes: HashMap<Name, Arc<Route>>,
    /// Routes that the watch has not filled yet.
    new: BTreeSet<Name>,
}

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
    namespace: Name,
    service: Name,
    context_tunnels: Arc<ContextTunnels>,
    endpoints: watch::Sender<Arc<Endpoints>>,
    chooser: Mutex<Chooser>,
    policy: Mutex<ConnectionPolicy>,
    /// The watch has published the service's pods at least once.
    known: AtomicBool,
    forwards: Mutex<Vec<Weak<Forward>>>,
}

// === impl ContextTunnels ===

impl ContextTunnels {
    /// Without tunnels yet; a connection to a service without a ready pod waits this long for one.
    pub(crate) fn new(no_backend_wait: Duration) -> Self {
        Self {
            tunnels: watch::Sender::default(),
            timeout_length: no_backend_wait.max(LIST_TIMEOUT),
        }
    }

    /// The cluster is known, or has changed. Open connections keep their tunnels.
    pub(crate) fn set(&self, tunnels: Option<Arc<Tunnels>>) {
        self.tunnels.send_replace(tunnels);
    }

    /// The current tunnels.
    pub(crate) fn tunnels(&self) -> Option<Arc<Tunnels>> {
        self.tunnels.borrow().clone()
    }

    /// The transport that the cluster accepted last.
    pub(crate) fn transport(&self) -> Option<Transport> {
        self.tunnels.borrow().as_ref()?.transport()
    }

    async fn await_tunnels(&self) -> Option<Arc<Tunnels>> {
        let mut tunnels = self.tunnels.subscribe();
        tunnels.wait_for(Option::is_some).await.ok()?.clone()
    }
}

// === impl Routes ===

impl Routes {
    /// No routes yet.
    pub(crate) fn new(namespace: &str, context_tunnels: Arc<ContextTunnels>) -> Self {
        Self {
            namespace: namespace.into(),
            context_tunnels,
            state: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// The route of a service, created if necessary.
    pub(crate) fn get_or_make(&self, service: &str, policy: ConnectionPolicy) -> Arc<Route> {
        let mut state = self.state();
        if let Some(route) = state.routes.get(service) {
            return route.clone();
        }
        let name = Name::from(service);
        let route = Arc::new(Route {
            namespace: self.namespace.clone(),
            service: name.clone(),
            context_tunnels: self.context_tunnels.clone(),
            endpoints: watch::Sender::default(),
            chooser: Mutex::default(),
            policy: Mutex::new(policy),
            known: AtomicBool::new(false),
            forwards: Mutex::default(),
        });
        state.routes.insert(name.clone(), route.clone());
        state.new.insert(name);
        drop(state);
        self.wanted.notify_one();
        route
    }

    /// The route of a service, if it has listeners.
    pub(crate) fn get(&self, service: &str) -> Option<Arc<Route>> {
        self.state().routes.get(service).cloned()
    }

    /// All routes.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        self.state().routes.values().cloned().collect()
    }

    /// Waits for new routes and returns their services.
    pub(crate) async fn wanted(&self) -> BTreeSet<Name> {
        loop {
            let notified = self.wanted.notified();
            let new = std::mem::take(&mut self.state().new);
            if !new.is_empty() {
                return new;
            }
            notified.await;
        }
    }

    /// These pods no longer exist: connections that they have not answered move to others.
    pub(crate) fn pods_gone(&self, uids: &BTreeSet<Name>) {
        if let Some(tunnels) = self.context_tunnels.tunnels() {
            for uid in uids {
                tunnels.pod_gone(uid);
            }
        }
    }

    /// Removes the route of a service, if no listener uses it.
    pub(crate) fn release(&self, service: &str) {
        let mut state = self.state();
        if state
            .routes
            .get(service)
            .is_some_and(|route| !route.is_used())
        {
            state.routes.remove(service);
        }
    }

    /// Removes routes that no listener uses; returns whether none is left.
    pub(crate) fn sweep(&self) -> bool {
        let mut state = self.state();
        state.routes.retain(|_, route| route.is_used());
        state.routes.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

// === impl Route ===

impl Route {
    /// The service's name.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// The service's namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn context_tunnels(&self) -> &ContextTunnels {
        &self.context_tunnels
    }

    /// Applies to new connections.
    pub(crate) fn set_policy(&self, policy: ConnectionPolicy) {
        *self.policy() = policy;
    }

    /// Whether new connections are captured.
    pub(super) fn captures(&self) -> bool {
        self.policy().capture
    }

    /// Whether the service's pods are known: until then there is nothing to report.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// The tunnels, once the service's pods are known; `None` if that takes too long.
    pub(super) async fn tunnels_in_time(&self) -> Option<Arc<Tunnels>> {
        if let (true, Some(tunnels)) = (self.is_known(), self.context_tunnels.tunnels()) {
            return Some(tunnels);
        }
        let known = async {
            let mut endpoints = self.endpoints.subscribe();
            while !self.is_known() {
                endpoints.changed().await.ok()?;
            }
            self.context_tunnels.await_tunnels().await
        };
        timeout(self.context_tunnels.timeout_length, known)
            .await
            .ok()?
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
        let uids: Vec<String> = {
            let endpoints = self.endpoints.borrow();
            endpoints.uids.iter().map(ToString::to_string).collect()
        };
        match self.context_tunnels.tunnels() {
            Some(tunnels) => tunnels.reconnect(&uids).await,
            None => Err(Failure::new(
                Reason::ClusterUnreachable,
                "the cluster of this service cannot be used",
            )
            .hint("`kubefwdctl ns ls` says why")),
        }
    }

    /// The uids of the pods behind the service, ready or not.
    pub(crate) fn pods(&self) -> Box<[Name]> {
        self.endpoints.borrow().uids.clone()
    }

    /// Whether a pod, ready or not, stands behind the service.
    pub(crate) fn has_pod(&self, uid: &str) -> bool {
        let endpoints = self.endpoints.borrow();
        endpoints
            .uids
            .binary_search_by(|known| (**known).cmp(uid))
            .is_ok()
    }

    pub(super) fn attach(&self, forward: &Arc<Forward>) {
        let mut forwards = self.forwards();
        forwards.retain(|forward| forward.strong_count() > 0);
        forwards.push(Arc::downgrade(forward));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Endpoints>> {
        self.endpoints.subscribe()
    }

    /// Where the next connection would go.
    pub(super) fn peek(&self, port: u16, pod: Option<&str>) -> Option<PodPort> {
        let endpoints = self.endpoints.borrow().clone();
        self.chooser().peek(&endpoints, port, pod)
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
        let balance = self.policy().balance;
        let mut chooser = self.chooser();
        let chosen = chooser.pick(&endpoints, balance, port, pod, tried)?;
        if let Some(before) = before {
            chooser.closed(before);
        }
        chooser.opened(&chosen.pod.uid);
        Some(chosen)
    }

    /// A connection that was counted for this pod has ended.
    pub(super) fn closed(&self, uid: &Name) {
        self.chooser().closed(uid);
    }

    fn is_used(&self) -> bool {
        self.forwards().iter().any(|f| f.strong_count() > 0)
    }

    fn each(&self, report: fn(&Forward) -> Option<ForwardReport>) -> Vec<ForwardReport> {
        let forwards: Vec<_> = self.forwards().iter().filter_map(Weak::upgrade).collect();
        forwards.iter().filter_map(|f| report(f)).collect()
    }

    fn policy(&self) -> MutexGuard<'_, ConnectionPolicy> {
        self.policy.lock()
    }

    fn chooser(&self) -> MutexGuard<'_, Chooser> {
        self.chooser.lock()
    }

    fn forwards(&self) -> MutexGuard<'_, Vec<Weak<Forward>>> {
        self.forwards.lock()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn news_may_take_longer_than_a_pod_may_need() {
        for (no_backend_wait, timeout_length) in [
            (Duration::ZERO, LIST_TIMEOUT),
            (Duration::from_secs(60), Duration::from_secs(60)),
        ] {
            let routes = Routes::new("demo", Arc::new(ContextTunnels::new(no_backend_wait)));
            let policy = ConnectionPolicy {
                balance: Balance::Primary,
                capture: false,
            };
            let route = routes.get_or_make("web", policy);
            let began = Instant::now();
            assert!(route.tunnels_in_time().await.is_none());
            assert_eq!(began.elapsed(), timeout_length);
        }
    }
}
