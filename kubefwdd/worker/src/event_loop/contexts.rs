//! The kubeconfig contexts in use: for each its cluster, its tunnels and the watches of its namespaces.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kubefwd_model::Failure;
use kubefwd_proto::common::v1::Balance;
use kubefwd_proto::convert as time;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{
    Desired, DesiredContext, DesiredNamespace, ReconnectedReport, ServiceRef,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::auth::kubeconfig::Environment;
use crate::cluster::{Cluster, Clusters};
use crate::forward::context_tunnels::ContextTunnels;
use crate::forward::route::{ConnectionPolicy, Route};
use crate::forward::routes::Routes;
use crate::outbox::Outbox;
use crate::watch::{self, Namespace, Spec, namespace};
use kubefwd_portforward::{Reopened, Settings, Tunnels};

mod resolver;
mod watched;

use resolver::ContextResolver;
use watched::WatchedNamespace;

/// Reopened tunnels that may be queued.
const MAX_REOPENED: usize = 64;

/// Events of the worker's own tasks.
pub(super) enum Event {
    /// A context's cluster is known, or has changed.
    Resolved { id: u64, cluster: Arc<Cluster> },
    /// A context cannot be used.
    Failed { id: u64, failure: Failure },
    /// The machine woke up or its network changed.
    HostChanged,
    /// A lost tunnel of a context was reopened.
    Reopened { id: u64, reopened: Reopened },
}

/// All contexts, and the routes that listeners use.
pub(super) struct Contexts {
    clusters: Arc<Clusters>,
    outbox: Outbox,
    events: mpsc::Sender<Event>,
    /// For new tunnels.
    pub(super) settings: Settings,
    /// Whether services are captured by default; set before the first desired state.
    pub(super) capture: bool,
    contexts: BTreeMap<String, Context>,
    tunnels_by_context: HashMap<String, Arc<ContextTunnels>>,
    routes: HashMap<(String, String), Arc<Routes>>,
    next_id: u64,
}

struct Context {
    /// Tells its events from those of an earlier context of the same name.
    id: u64,
    kubeconfig: Vec<String>,
    state: State,
    namespaces: BTreeMap<String, WatchedNamespace>,
    /// Retries failing requests at once.
    retry: Arc<Notify>,
    /// Reloads the kubeconfig at once.
    reload: Arc<Notify>,
    /// Requests fail: reloads it soon.
    request_failed: Arc<Notify>,
    _resolver: AbortOnDropHandle<()>,
}

enum State {
    Resolving,
    Failed(Failure),
    Resolved(Arc<Cluster>),
}

impl Contexts {
    pub(super) fn new(
        clusters: Arc<Clusters>,
        outbox: Outbox,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            clusters,
            outbox,
            events,
            settings: Settings::default(),
            capture: false,
            contexts: BTreeMap::new(),
            tunnels_by_context: HashMap::new(),
            routes: HashMap::new(),
            next_id: 0,
        }
    }

    /// Applies the desired state; returns frames for the daemon.
    pub(super) fn apply(&mut self, desired: Desired) -> Vec<Frame> {
        let mut frames = Vec::new();
        let is_gone = |name: &String, context: &mut Context| {
            let mut wanted = desired.contexts.iter();
            !wanted.any(|wanted| wanted.name == *name && wanted.kubeconfig == context.kubeconfig)
        };
        let gone: Vec<_> = self.contexts.extract_if(.., is_gone).collect();
        for (name, context) in gone {
            if let Some(context_tunnels) = self.tunnels_by_context.get(&name) {
                context_tunnels.set(None);
            }
            for namespace in context.namespaces.keys() {
                frames.extend(self.forget(&name, namespace));
            }
        }
        for wanted in desired.contexts {
            frames.extend(self.apply_context(wanted));
        }
        self.sweep();
        frames
    }

    fn apply_context(&mut self, wanted: DesiredContext) -> Vec<Frame> {
        let (name, mut frames) = (wanted.name, Vec::new());
        if !self.contexts.contains_key(&name) {
            let context = self.resolve(&name, wanted.kubeconfig);
            self.contexts.insert(name.clone(), context);
        }
        let names: BTreeSet<&String> = wanted.namespaces.iter().map(|n| &n.name).collect();
        let Some(context) = self.contexts.get_mut(&name) else {
            return frames;
        };
        let gone: Vec<_> = context
            .namespaces
            .extract_if(.., |namespace, _| !names.contains(namespace))
            .map(|(namespace, _)| namespace)
            .collect();
        for namespace in gone {
            frames.extend(self.forget(&name, &namespace));
        }
        for wanted in wanted.namespaces {
            frames.extend(self.apply_namespace(&name, wanted));
        }
        frames
    }

    fn apply_namespace(&mut self, context: &str, wanted: DesiredNamespace) -> Option<Frame> {
        let namespace = wanted.name.clone();
        let mut new = WatchedNamespace::new(context, wanted);
        let routes = self.routes(context, &namespace);
        for route in routes.all() {
            route.set_policy(new.policy(&route.service, self.capture));
        }
        let context_state = self.contexts.get_mut(context)?;
        // Made before the watch starts, so that its reports have later sequence numbers.
        let frame = match (
            context_state.namespaces.remove(&namespace),
            &context_state.state,
        ) {
            (Some(known), _) => {
                new.watch = known.watch.filter(|_| known.spec == new.spec);
                None
            }
            (None, State::Failed(failure)) => {
                Some(namespace::failed(context, &namespace, failure.clone()))
            }
            (None, _) => Some(namespace::connecting(context, &namespace)),
        };
        if new.watch.is_none() {
            new.watch = context_state.watch(&new.spec, &routes, &self.outbox);
        }
        context_state.namespaces.insert(namespace, new);
        frame
    }

    /// Handles an event; returns frames for the daemon.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Frame> {
        match event {
            Event::HostChanged => self.probe(),
            Event::Resolved { id, cluster } => self.resolved(id, &cluster),
            Event::Reopened { id, reopened } => return self.reopened(id, &reopened),
            Event::Failed { id, failure } => {
                if let Some((name, context)) = self.by_id(id) {
                    context.state = State::Failed(failure.clone());
                    let failed = |namespace| namespace::failed(&name, namespace, failure.clone());
                    return context.namespaces.keys().map(|name| failed(name)).collect();
                }
            }
        }
        Vec::new()
    }

    /// Opens tunnels to a cluster and watches it, replacing the one before.
    fn resolved(&mut self, id: u64, cluster: &Arc<Cluster>) {
        let outbox = self.outbox.clone();
        let mut settings = self.settings.clone();
        let Some((name, context)) = self.by_id(id) else {
            return;
        };
        context.state = State::Resolved(cluster.clone());
        let namespaces: Vec<String> = context.namespaces.keys().cloned().collect();
        let context_tunnels = self.context_tunnels(&name);
        settings.transport = context_tunnels.transport();
        settings.reopened = Some(self.forward_reopened(id));
        context_tunnels.set(Some(Tunnels::new(cluster.api_server.clone(), settings)));
        for namespace in namespaces {
            let routes = self.routes(&name, &namespace);
            if let Some(context) = self.contexts.get_mut(&name) {
                context.restart_watch(&namespace, &routes, &outbox);
            }
        }
    }

    /// Turns the reports of a context's tunnels into events, until they are gone.
    fn forward_reopened(&self, id: u64) -> mpsc::Sender<Reopened> {
        let (sender, mut receiver) = mpsc::channel(MAX_REOPENED);
        let events = self.events.clone();
        tokio::spawn(async move {
            while let Some(reopened) = receiver.recv().await {
                if events.send(Event::Reopened { id, reopened }).await.is_err() {
                    return;
                }
            }
        });
        sender
    }

    /// A tunnel belongs to every service that selects its pod.
    fn reopened(&mut self, id: u64, reopened: &Reopened) -> Vec<Frame> {
        let Some((context, _)) = self.by_id(id) else {
            return Vec::new();
        };
        let behind = self.known_routes(&context, &reopened.namespace);
        let behind = behind.filter(|route| route.has_pod(&reopened.pod_uid));
        let report = |route: Arc<Route>| ReconnectedReport {
            service: Some(ServiceRef {
                context: context.clone(),
                namespace: reopened.namespace.clone(),
                service: route.service.to_string(),
            }),
            automatic: true,
            resync: false,
            attempts: reopened.attempts,
            duration_ms: u64::try_from(reopened.took.as_millis()).unwrap_or(u64::MAX),
            error: reopened.error.clone().unwrap_or_default(),
            time: Some(time::now()),
        };
        behind.map(report).map(Frame::Reconnected).collect()
    }

    /// The route of a service, for a listener.
    pub(super) fn route(&mut self, service: &ServiceRef) -> Arc<Route> {
        let context = self.contexts.get(&service.context);
        let watched = context.and_then(|context| context.namespaces.get(&service.namespace));
        let policy = match watched {
            Some(watched) => watched.policy(&service.service, self.capture),
            None => ConnectionPolicy {
                balance: Balance::Primary,
                capture: self.capture,
            },
        };
        self.routes(&service.context, &service.namespace)
            .get_or_create(&service.service, policy)
    }

    /// The route of a service, if it has a listener.
    pub(super) fn existing_route(&self, service: &ServiceRef) -> Option<Arc<Route>> {
        let key = (service.context.clone(), service.namespace.clone());
        self.routes.get(&key)?.get(&service.service)
    }

    /// A listener of this service was removed.
    pub(super) fn release(&mut self, service: &ServiceRef) {
        let key = (service.context.clone(), service.namespace.clone());
        if let Some(routes) = self.routes.get(&key) {
            routes.release(&service.service);
        }
    }

    /// The machine woke up or its network changed.
    pub(super) fn probe(&self) {
        self.clusters.reconnect();
        for context_tunnels in self.tunnels_by_context.values() {
            if let Some(tunnels) = context_tunnels.get() {
                tunnels.probe_all();
            }
        }
        for context in self.contexts.values() {
            context.retry.notify_waiters();
            context.reload.notify_one();
        }
    }

    /// The user's environment changed.
    pub(super) fn environment(&self, environment: Environment) {
        self.clusters.replace_environment(environment);
        for (name, context) in &self.contexts {
            self.refresh_credentials(name);
            context.reload.notify_one();
        }
    }

    /// The user asked, and may have logged in again.
    pub(super) fn refresh_credentials(&self, context: &str) {
        if let Some(context) = self.contexts.get(context)
            && let State::Resolved(cluster) = &context.state
        {
            cluster.try_credentials_again();
        }
    }

    /// Lists a namespace again.
    pub(super) fn resync(&mut self, context: &str, namespace: &str) {
        self.refresh_credentials(context);
        let routes = self.routes(context, namespace);
        if let Some(context) = self.contexts.get_mut(context) {
            context.reload.notify_one();
            context.restart_watch(namespace, &routes, &self.outbox);
        }
    }

    fn resolve(&mut self, name: &str, kubeconfig: Vec<String>) -> Context {
        let id = self.next_id;
        self.next_id += 1;
        let (reload, request_failed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let resolver = ContextResolver {
            id,
            context: name.to_owned(),
            kubeconfig: kubeconfig.clone(),
            clusters: self.clusters.clone(),
            reload: reload.clone(),
            request_failed: request_failed.clone(),
            events: self.events.clone(),
        };
        Context {
            id,
            kubeconfig,
            state: State::Resolving,
            namespaces: BTreeMap::new(),
            retry: Arc::new(Notify::new()),
            reload,
            request_failed,
            _resolver: AbortOnDropHandle::new(tokio::spawn(resolver.run())),
        }
    }

    fn by_id(&mut self, id: u64) -> Option<(String, &mut Context)> {
        self.contexts
            .iter_mut()
            .find(|(_, context)| context.id == id)
            .map(|(name, context)| (name.clone(), context))
    }

    fn context_tunnels(&mut self, context: &str) -> Arc<ContextTunnels> {
        let wait = self.settings.no_backend_wait;
        let entry = self.tunnels_by_context.entry(context.to_owned());
        let tunnels = entry.or_insert_with(|| Arc::new(ContextTunnels::new(wait)));
        tunnels.clone()
    }

    fn routes(&mut self, context: &str, namespace: &str) -> Arc<Routes> {
        let context_tunnels = self.context_tunnels(context);
        self.routes
            .entry((context.to_owned(), namespace.to_owned()))
            .or_insert_with(|| Arc::new(Routes::new(namespace, context_tunnels)))
            .clone()
    }

    /// The namespace is no longer watched: any listeners that are left have no pods.
    fn forget(&self, context: &str, namespace: &str) -> Vec<Frame> {
        let routes = self.known_routes(context, namespace);
        let reports = routes.flat_map(|route| route.forget());
        reports.map(Frame::Forward).collect()
    }

    fn known_routes(
        &self,
        context: &str,
        namespace: &str,
    ) -> impl Iterator<Item = Arc<Route>> + use<> {
        let key = (context.to_owned(), namespace.to_owned());
        let routes = self.routes.get(&key).map(|routes| routes.all());
        routes.into_iter().flatten()
    }

    /// Drops what neither a desired namespace nor a listener uses.
    fn sweep(&mut self) {
        let Self {
            contexts,
            routes,
            tunnels_by_context,
            ..
        } = self;
        routes.retain(|(context, namespace), routes| {
            let wanted = contexts
                .get(context)
                .is_some_and(|context| context.namespaces.contains_key(namespace));
            let unused = routes.sweep();
            wanted || !unused
        });
        let used: BTreeSet<&String> = routes.keys().map(|(context, _)| context).collect();
        tunnels_by_context
            .retain(|context, _| contexts.contains_key(context) || used.contains(context));
    }
}

impl Context {
    fn restart_watch(&mut self, namespace: &str, routes: &Arc<Routes>, outbox: &Outbox) {
        if let Some(mut watched) = self.namespaces.remove(namespace) {
            watched.watch = self.watch(&watched.spec, routes, outbox);
            self.namespaces.insert(namespace.to_owned(), watched);
        }
    }

    /// Watches a namespace, if the cluster is known.
    fn watch(
        &self,
        spec: &Spec,
        routes: &Arc<Routes>,
        outbox: &Outbox,
    ) -> Option<AbortOnDropHandle<()>> {
        let State::Resolved(cluster) = &self.state else {
            return None;
        };
        let namespace = Namespace {
            spec: spec.clone(),
            client: cluster.client.clone(),
            routes: routes.clone(),
            retry: self.retry.clone(),
            request_failed: self.request_failed.clone(),
            outbox: outbox.clone(),
        };
        Some(AbortOnDropHandle::new(tokio::spawn(watch::run(namespace))))
    }
}
