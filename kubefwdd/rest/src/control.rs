//! What REST asks of the daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use kubefwd_core::policy::{Actor, Via};
use kubefwd_core::requests::{NamespaceRequest, Reconnect, ServiceRequest};
use kubefwd_core::state::View;
use kubefwd_core::status::{HostsStatus, Info};
use kubefwd_model::discovery::{
    Contexts, EndpointSubset, Event, LogPart, Namespace, Pod, PodDetail, Service,
};
use kubefwd_model::text::Text;
use kubefwd_model::{Failure, Finding, Health, NamespaceKey, ServiceKey, Uid};
use kubefwd_telemetry::Telemetry;
use tokio::sync::watch;

/// The result of a request.
pub type Answer<T> = Result<T, Failure>;

/// The lines of a log as they come; dropping it ends the request.
pub type LogStream = BoxStream<'static, Result<LogPart, Failure>>;

/// The daemon, as REST sees it. Whoever implements it decides what an actor may do.
#[async_trait]
pub trait Control: Cluster {
    /// Facts about the daemon.
    fn info(&self) -> &Info;
    /// The histories.
    fn telemetry(&self) -> &Arc<Telemetry>;
    /// The latest snapshot, of everybody's objects.
    fn view(&self) -> Arc<View>;
    /// Snapshots from now on.
    fn watch(&self) -> watch::Receiver<Arc<View>>;
    /// The hosts file.
    fn hosts(&self) -> HostsStatus;
    /// How well the daemon works.
    fn health(&self) -> Health;
    /// What is wrong with the daemon and with what the actor forwards.
    fn diagnose(&self, actor: &Actor) -> Vec<Finding>;

    /// The user who has the other end of a TCP connection now; `None` if nobody does.
    async fn tcp_owner(&self, peer: SocketAddr, local: SocketAddr) -> Option<Uid>;
    /// Whether users other than root are members of the group or have forwards.
    async fn has_other_users(&self) -> bool;
    /// Looks up a user.
    async fn actor(&self, uid: Uid, via: Via) -> Actor;

    /// Forwards a namespace.
    async fn add_namespace(&self, actor: &Actor, request: NamespaceRequest)
    -> Answer<NamespaceKey>;
    /// Forwards a service.
    async fn add_service(&self, actor: &Actor, request: ServiceRequest) -> Answer<ServiceKey>;
    /// Stops forwarding a namespace.
    async fn remove_namespace(&self, actor: &Actor, key: &NamespaceKey) -> Answer<()>;
    /// Stops forwarding a service.
    async fn remove_service(&self, actor: &Actor, key: &ServiceKey) -> Answer<()>;
    /// Reopens the tunnels of services, and says of which.
    async fn reconnect(
        &self,
        actor: &Actor,
        owner: Option<Uid>,
        which: Reconnect,
    ) -> Answer<Vec<ServiceKey>>;
    /// Reads the pods of a service again; with `force` its tunnels are reopened too.
    async fn resync(&self, actor: &Actor, key: &ServiceKey, force: bool) -> Answer<ServiceKey>;
    /// Turns the capture of a service's requests on or off.
    async fn set_capture(&self, actor: &Actor, key: &ServiceKey, on: bool) -> Answer<ServiceKey>;

    /// Gives freed memory back to the operating system, after something that took much of it.
    fn release_freed_memory(&self) {}
}

/// What a cluster has, read with the actor's own rights. An empty context is the current one.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// The contexts of the actor's kubeconfig.
    async fn contexts(&self, actor: &Actor) -> Answer<Contexts>;
    /// The namespaces of a cluster.
    async fn namespaces(&self, actor: &Actor, context: String) -> Answer<Vec<Namespace>>;
    /// The services of a namespace, or the one with this name.
    async fn services(
        &self,
        actor: &Actor,
        context: String,
        namespace: String,
        name: Option<String>,
    ) -> Answer<Vec<Service>>;
    /// The pods of a namespace.
    async fn pods(&self, actor: &Actor, context: String, query: PodQuery)
    -> Answer<Vec<Pod<Text>>>;
    /// A pod, if there is one with this name.
    async fn pod(
        &self,
        actor: &Actor,
        context: String,
        namespace: String,
        name: String,
    ) -> Answer<Option<PodDetail>>;
    /// The log of a container.
    async fn logs(&self, actor: &Actor, context: String, query: LogQuery) -> Answer<LogStream>;
    /// The events of a namespace, newest first.
    async fn events(&self, actor: &Actor, context: String, query: EventQuery)
    -> Answer<Vec<Event>>;
    /// The endpoints of a service.
    async fn endpoints(
        &self,
        actor: &Actor,
        context: String,
        namespace: String,
        service: String,
    ) -> Answer<Vec<EndpointSubset>>;
}

/// Pods of a namespace.
#[derive(Debug)]
pub struct PodQuery {
    /// Their namespace.
    pub namespace: String,
    /// Only those that match; empty: all.
    pub label_selector: String,
    /// Only those that match; empty: all.
    pub field_selector: String,
    /// Only those of this service; empty: all.
    pub service: String,
}

/// Events of a namespace.
#[derive(Debug)]
pub struct EventQuery {
    /// Their namespace.
    pub namespace: String,
    /// Only about objects of this kind; empty: all.
    pub kind: String,
    /// Only about objects with this name; empty: all.
    pub name: String,
    /// The most events.
    pub limit: u32,
}

/// Lines of a log.
#[derive(Debug)]
pub struct LogQuery {
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container; empty: the only or first one.
    pub container: String,
    /// The most lines.
    pub tail_lines: u32,
    /// Only lines after this time.
    pub since_time: Option<SystemTime>,
    /// Of the previous container.
    pub previous: bool,
    /// With the time of each line.
    pub timestamps: bool,
    /// Goes on with lines as they come.
    pub follow: bool,
}
