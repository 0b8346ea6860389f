//! The control layer as REST asks it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::unfold;
use kubefwd_core::policy::{Actor, Via};
use kubefwd_core::state::{RemoveNamespaces, RemoveServices, View};
use kubefwd_core::status::{HostsStatus, Info};
use kubefwd_model::discovery::{
    Contexts, EndpointSubset, Event, Namespace, Pod, PodDetail, Service,
};
use kubefwd_model::text::Text;
use kubefwd_model::{Failure, Finding, Health, NamespaceKey, ServiceKey, Uid};
use kubefwd_proto::convert::timestamp;
use kubefwd_proto::worker::v1::{self as wire, query::Question};
use kubefwd_rest::control::{
    Answer, EventQuery, LogQuery, LogStream, NewNamespace, NewService, PodQuery, Reconnect,
};
use kubefwd_rest::{Cluster, Settings};
use kubefwd_telemetry::Telemetry;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::config;
use crate::control::{self, ClusterAccess, Control, NamespaceRequest, ServiceRequest};
use crate::net::Listen;
use crate::workers::Deadline;
use crate::{peer, sys};

/// A credential plugin may ask the user something.
const ASK_TIMEOUT: Deadline = Deadline::Cluster(Duration::from_secs(60));

/// What the configuration says of REST.
pub(crate) fn settings(config: &config::Rest) -> Settings<'_> {
    Settings {
        listen: &config.listen,
        identity: &config.identity,
        token_file: config.token_file.as_deref(),
    }
}

/// Listens for REST.
///
/// # Errors
/// Why it cannot.
pub(crate) fn listen(address: SocketAddr, ports: &mut Listen) -> Result<TcpListener, String> {
    match address {
        SocketAddr::V4(v4) => ports
            .tcp(*v4.ip(), v4.port())
            .map_err(|failure| failure.message),
        SocketAddr::V6(_) => TcpListener::bind(address)
            .map_err(|error| format!("cannot listen on {address}: {error}")),
    }
}

impl kubefwd_rest::Control for Control {
    fn info(&self) -> &Info {
        &self.info
    }

    fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    fn view(&self) -> Arc<View> {
        self.store.view()
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.store.watch()
    }

    fn hosts(&self) -> HostsStatus {
        self.hosts.borrow().clone()
    }

    fn health(&self) -> Health {
        self.health().0
    }

    fn diagnose(&self, actor: &Actor) -> Vec<Finding> {
        self.diagnose(actor)
    }

    fn tcp_owner(&self, peer: SocketAddr, local: SocketAddr) -> BoxFuture<'_, Option<Uid>> {
        peer::tcp_owner(peer, local).boxed()
    }

    fn actor(&self, uid: Uid, via: Via) -> BoxFuture<'_, Actor> {
        peer::actor(uid, via).boxed()
    }

    fn add_namespace<'a>(
        &'a self,
        actor: &'a Actor,
        new: NewNamespace,
    ) -> Answer<'a, NamespaceKey> {
        let request = NamespaceRequest {
            access: access(new.context),
            namespace: new.namespace,
            selection: new.selection,
            ..Default::default()
        };
        self.add_namespace(actor, request).boxed()
    }

    fn add_service<'a>(&'a self, actor: &'a Actor, new: NewService) -> Answer<'a, ServiceKey> {
        let request = ServiceRequest {
            access: access(new.context),
            namespace: new.namespace,
            service: new.service,
            ports: new.ports,
            address: new.address,
            options: new.options,
            ..Default::default()
        };
        self.add_service(actor, request).boxed()
    }

    fn remove_namespace<'a>(&'a self, actor: &'a Actor, key: &'a NamespaceKey) -> Answer<'a, ()> {
        let which = RemoveNamespaces::Named(key.to_string());
        let removed = self.remove_namespaces(actor, Some(key.uid), which);
        removed.map(|removed| removed.map(drop)).boxed()
    }

    fn remove_service<'a>(&'a self, actor: &'a Actor, key: &'a ServiceKey) -> Answer<'a, ()> {
        let which = RemoveServices::Named(key.to_string());
        let removed = self.remove_services(actor, Some(key.uid), which);
        removed.map(|removed| removed.map(drop)).boxed()
    }

    fn reconnect<'a>(
        &'a self,
        actor: &'a Actor,
        which: Reconnect<'a>,
    ) -> Answer<'a, Vec<ServiceKey>> {
        let (owner, which) = match which {
            Reconnect::All => (None, control::Reconnect::All),
            Reconnect::Failed => (None, control::Reconnect::Failed),
            Reconnect::Service(key) => {
                let keys = vec![key.to_string()];
                (Some(key.uid), control::Reconnect::Keys(keys))
            }
        };
        self.reconnect(actor, owner, which).boxed()
    }

    fn resync<'a>(
        &'a self,
        actor: &'a Actor,
        key: &'a ServiceKey,
        force: bool,
    ) -> Answer<'a, ServiceKey> {
        self.resync(actor, key, force).boxed()
    }

    fn set_capture<'a>(
        &'a self,
        actor: &'a Actor,
        key: &'a ServiceKey,
        on: bool,
    ) -> Answer<'a, ServiceKey> {
        let set = self.set_capture(actor, Some(key.uid), key.to_string(), on);
        set.boxed()
    }

    fn release_freed_memory(&self) {
        sys::release_freed_memory();
    }
}

impl Cluster for Control {
    fn contexts<'a>(&'a self, actor: &'a Actor) -> Answer<'a, Contexts> {
        async move { self.contexts(actor, &ClusterAccess::default()).await }.boxed()
    }

    fn namespaces<'a>(&'a self, actor: &'a Actor, context: String) -> Answer<'a, Vec<Namespace>> {
        let question = Question::Namespaces(wire::ListNamespacesQuery {});
        list(self, actor, context, question)
    }

    fn services<'a>(
        &'a self,
        actor: &'a Actor,
        context: String,
        namespace: String,
        name: Option<String>,
    ) -> Answer<'a, Vec<Service>> {
        let name = name.unwrap_or_default();
        let question = Question::Services(wire::ListServicesQuery { namespace, name });
        list(self, actor, context, question)
    }

    fn pods<'a>(
        &'a self,
        actor: &'a Actor,
        context: String,
        query: PodQuery,
    ) -> Answer<'a, Vec<Pod<Text>>> {
        let question = Question::Pods(wire::ListPodsQuery {
            namespace: query.namespace,
            name: String::new(),
            label_selector: query.label_selector,
            field_selector: query.field_selector,
            service: query.service,
        });
        list(self, actor, context, question)
    }

    fn pod<'a>(
        &'a self,
        actor: &'a Actor,
        context: String,
        namespace: String,
        name: String,
    ) -> Answer<'a, Option<PodDetail>> {
        let question = Question::Pods(wire::ListPodsQuery {
            namespace,
            name: name.clone(),
            ..Default::default()
        });
        let found = list(self, actor, context, question);
        async move {
            let mut found = found.await?.into_iter();
            Ok(found.find(|found: &PodDetail| *found.pod.name == *name))
        }
        .boxed()
    }

    fn logs<'a>(
        &'a self,
        actor: &'a Actor,
        context: String,
        query: LogQuery,
    ) -> Answer<'a, LogStream> {
        let question = Question::Logs(wire::PodLogsQuery {
            namespace: query.namespace,
            pod: query.pod,
            container: query.container,
            tail_lines: query.tail_lines,
            since_time: query.since_time.map(timestamp),
            previous: query.previous,
            timestamps: query.timestamps,
            follow: query.follow,
        });
        async move {
            let answers = self.ask(actor, &access(context), question).await?;
            let parts = unfold(answers, |mut answers| async {
                Some((answers.next().await?, answers))
            });
            Ok(parts.boxed())
        }
        .boxed()
    }

    fn events<'a>(
        &'a self,
        actor: &'a Actor,
        context: String,
        query: EventQuery,
    ) -> Answer<'a, Vec<Event>> {
        let question = Question::Events(wire::ListEventsQuery {
            namespace: query.namespace,
            kind: query.kind,
            name: query.name,
            limit: query.limit,
        });
        list(self, actor, context, question)
    }

    fn endpoints<'a>(
        &'a self,
        actor: &'a Actor,
        context: String,
        namespace: String,
        service: String,
    ) -> Answer<'a, Vec<EndpointSubset>> {
        let question = Question::Endpoints(wire::EndpointsQuery { namespace, service });
        list(self, actor, context, question)
    }
}

/// Asks the actor's worker for a list.
fn list<'a, T: DeserializeOwned + Send + 'a>(
    control: &'a Control,
    actor: &'a Actor,
    context: String,
    question: Question,
) -> BoxFuture<'a, Result<Vec<T>, Failure>> {
    async move {
        let answers = control.ask(actor, &access(context), question).await?;
        let parts: Vec<Vec<T>> = answers.all(ASK_TIMEOUT).await?;
        Ok(parts.into_iter().flatten().collect())
    }
    .boxed()
}

/// How to reach the cluster of a context: REST's callers send neither files nor an environment.
fn access(context: String) -> ClusterAccess {
    ClusterAccess {
        context,
        ..Default::default()
    }
}
