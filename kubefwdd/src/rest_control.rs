//! The control layer as REST asks it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::unfold;
use kubefwd_core::policy::{Actor, Via};
use kubefwd_core::requests::{ClusterAccess, NamespaceRequest, Reconnect, ServiceRequest};
use kubefwd_core::state::{View, Which};
use kubefwd_core::status::{HostsStatus, Info};
use kubefwd_model::discovery::{
    Contexts, EndpointSubset, Event, Namespace, Pod, PodDetail, Service,
};
use kubefwd_model::text::Text;
use kubefwd_model::{Finding, Health, NamespaceKey, ServiceKey, Uid};
use kubefwd_proto::convert::timestamp;
use kubefwd_proto::worker::v1::{self as wire, query::Question};
use kubefwd_rest::control::{Answer, EventQuery, LogQuery, LogStream, PodQuery};
use kubefwd_rest::{Cluster, Settings};
use kubefwd_telemetry::Telemetry;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::config;
use crate::control::Control;
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
        root: &config.root,
    }
}

/// Listens for REST.
///
/// # Errors
/// Why it cannot.
pub(crate) fn listen(address: SocketAddr, ports: &mut Listen) -> Result<TcpListener, String> {
    match address {
        SocketAddr::V4(v4) => ports
            .tcp(nix::unistd::geteuid().as_raw().into(), *v4.ip(), v4.port())
            .map_err(|unavailable| unavailable.failure.message),
        SocketAddr::V6(_) => TcpListener::bind(address)
            .map_err(|error| format!("cannot listen on {address}: {error}")),
    }
}

#[tonic::async_trait]
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

    async fn tcp_owner(&self, peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
        peer::tcp_owner(peer, local).await
    }

    async fn has_other_users(&self) -> bool {
        // Keys begin with the user, so that the greatest is another's if there is one.
        let view = self.view();
        let greatest = view.namespaces.last_key_value();
        greatest.is_some_and(|(key, _)| !key.uid.is_root()) || peer::group_has_members().await
    }

    async fn actor(&self, uid: Uid, via: Via) -> Actor {
        peer::actor(uid, via).await
    }

    async fn add_namespace(
        &self,
        actor: &Actor,
        request: NamespaceRequest,
    ) -> Answer<NamespaceKey> {
        self.add_namespace(actor, request).await
    }

    async fn add_service(&self, actor: &Actor, request: ServiceRequest) -> Answer<ServiceKey> {
        self.add_service(actor, request).await
    }

    async fn remove_namespace(&self, actor: &Actor, key: &NamespaceKey) -> Answer<()> {
        let which = Which::Named(key.to_string());
        self.remove_namespaces(actor, Some(key.uid), which)
            .await
            .map(drop)
    }

    async fn remove_service(&self, actor: &Actor, key: &ServiceKey) -> Answer<()> {
        let which = Which::Named(key.to_string());
        self.remove_services(actor, Some(key.uid), which)
            .await
            .map(drop)
    }

    async fn reconnect(
        &self,
        actor: &Actor,
        owner: Option<Uid>,
        which: Reconnect,
    ) -> Answer<Vec<ServiceKey>> {
        self.reconnect(actor, owner, which).await
    }

    async fn resync(&self, actor: &Actor, key: &ServiceKey, force: bool) -> Answer<ServiceKey> {
        self.resync(actor, key, force).await
    }

    async fn set_capture(&self, actor: &Actor, key: &ServiceKey, on: bool) -> Answer<ServiceKey> {
        self.set_capture(actor, Some(key.uid), key.to_string(), on)
            .await
    }

    fn release_freed_memory(&self) {
        sys::release_freed_memory();
    }
}

#[tonic::async_trait]
impl Cluster for Control {
    async fn contexts(&self, actor: &Actor) -> Answer<Contexts> {
        self.contexts(actor, &ClusterAccess::default()).await
    }

    async fn namespaces(&self, actor: &Actor, context: String) -> Answer<Vec<Namespace>> {
        let question = Question::Namespaces(wire::ListNamespacesQuery {});
        list(self, actor, context, question).await
    }

    async fn services(
        &self,
        actor: &Actor,
        context: String,
        namespace: String,
        name: Option<String>,
    ) -> Answer<Vec<Service>> {
        let name = name.unwrap_or_default();
        let question = Question::Services(wire::ListServicesQuery { namespace, name });
        list(self, actor, context, question).await
    }

    async fn pods(
        &self,
        actor: &Actor,
        context: String,
        query: PodQuery,
    ) -> Answer<Vec<Pod<Text>>> {
        let question = Question::Pods(wire::ListPodsQuery {
            namespace: query.namespace,
            name: String::new(),
            label_selector: query.label_selector,
            field_selector: query.field_selector,
            service: query.service,
        });
        list(self, actor, context, question).await
    }

    async fn pod(
        &self,
        actor: &Actor,
        context: String,
        namespace: String,
        name: String,
    ) -> Answer<Option<PodDetail>> {
        let question = Question::Pods(wire::ListPodsQuery {
            namespace,
            name: name.clone(),
            ..Default::default()
        });
        let found: Vec<PodDetail> = list(self, actor, context, question).await?;
        Ok(found.into_iter().find(|found| *found.pod.name == *name))
    }

    async fn logs(&self, actor: &Actor, context: String, query: LogQuery) -> Answer<LogStream> {
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
        let answers = self
            .ask(actor, &ClusterAccess::context(context), question)
            .await?;
        let parts = unfold(answers, |mut answers| async {
            Some((answers.next().await?, answers))
        });
        Ok(parts.boxed())
    }

    async fn events(
        &self,
        actor: &Actor,
        context: String,
        query: EventQuery,
    ) -> Answer<Vec<Event>> {
        let question = Question::Events(wire::ListEventsQuery {
            namespace: query.namespace,
            kind: query.kind,
            name: query.name,
            limit: query.limit,
        });
        list(self, actor, context, question).await
    }

    async fn endpoints(
        &self,
        actor: &Actor,
        context: String,
        namespace: String,
        service: String,
    ) -> Answer<Vec<EndpointSubset>> {
        let question = Question::Endpoints(wire::EndpointsQuery { namespace, service });
        list(self, actor, context, question).await
    }
}

/// Asks the actor's worker for a list.
async fn list<T: DeserializeOwned>(
    control: &Control,
    actor: &Actor,
    context: String,
    question: Question,
) -> Answer<Vec<T>> {
    let answers = control
        .ask(actor, &ClusterAccess::context(context), question)
        .await?;
    let parts: Vec<Vec<T>> = answers.all(ASK_TIMEOUT).await?;
    Ok(parts.into_iter().flatten().collect())
}
