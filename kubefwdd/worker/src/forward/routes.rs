//! The routes of one namespace.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::context_tunnels::ContextTunnels;
use super::route::{ConnectionPolicy, Route};
use crate::index::object::Name;

/// The routes of one namespace.
pub(crate) struct Routes {
    namespace: Name,
    tunnels: Arc<ContextTunnels>,
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Default)]
struct State {
    routes: HashMap<Name, Arc<Route>>,
    /// Routes that the watch has not filled yet.
    new: BTreeSet<Name>,
}

impl Routes {
    pub(crate) fn new(namespace: &str, tunnels: Arc<ContextTunnels>) -> Self {
        Self {
            namespace: namespace.into(),
            tunnels,
            state: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// The route of a service, created if necessary.
    pub(crate) fn get_or_create(&self, service: &str, policy: ConnectionPolicy) -> Arc<Route> {
        let mut state = self.state.lock();
        if let Some(route) = state.routes.get(service) {
            return route.clone();
        }
        let name = Name::from(service);
        let (namespace, tunnels) = (self.namespace.clone(), self.tunnels.clone());
        let route = Arc::new(Route::new(namespace, name.clone(), tunnels, policy));
        state.routes.insert(name.clone(), route.clone());
        state.new.insert(name);
        drop(state);
        self.wanted.notify_one();
        route
    }

    /// The route of a service, if it has listeners.
    pub(crate) fn get(&self, service: &str) -> Option<Arc<Route>> {
        self.state.lock().routes.get(service).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        self.state.lock().routes.values().cloned().collect()
    }

    /// Waits for new routes and returns their services.
    pub(crate) async fn wanted(&self) -> BTreeSet<Name> {
        loop {
            let notified = self.wanted.notified();
            let new = std::mem::take(&mut self.state.lock().new);
            if !new.is_empty() {
                return new;
            }
            notified.await;
        }
    }

    /// These pods no longer exist: connections that they have not answered move to others.
    pub(crate) fn pods_gone(&self, uids: &BTreeSet<Name>) {
        if let Some(tunnels) = self.tunnels.get() {
            for uid in uids {
                tunnels.pod_gone(uid);
            }
        }
    }

    /// Removes the route of a service, if no listener uses it.
    pub(crate) fn release(&self, service: &str) {
        let routes = &mut self.state.lock().routes;
        if routes.get(service).is_some_and(|route| !route.is_used()) {
            routes.remove(service);
        }
    }

    /// Removes routes that no listener uses; returns whether none is left.
    pub(crate) fn sweep(&self) -> bool {
        let mut state = self.state.lock();
        state.routes.retain(|_, route| route.is_used());
        state.routes.is_empty()
    }
}
