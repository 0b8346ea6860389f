//! A daemon that forwards nothing and whose cluster cannot be reached, for tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use kubefwd_core::policy::{Actor, User, Via};
use kubefwd_core::requests::{NamespaceRequest, Reconnect, ServiceRequest};
use kubefwd_core::state::View;
use kubefwd_core::status::{HostsStatus, Info};
use kubefwd_model::discovery::{
    Contexts, EndpointSubset, Event, Namespace, Pod, PodDetail, Service,
};
use kubefwd_model::text::Text;
use kubefwd_model::{Failure, Finding, Health, NamespaceKey, Reason, ServiceKey, Uid};
use kubefwd_telemetry::Telemetry;
use tokio::sync::watch;

use super::control::{Answer, Cluster, Control, EventQuery, LogQuery, LogStream, PodQuery};

/// The daemon.
pub(crate) struct Fake {
    info: Info,
    telemetry: Arc<Telemetry>,
    views: watch::Sender<Arc<View>>,
}

fn refused<T>(reason: Reason) -> Answer<T> {
    Err(Failure::new(reason, "nothing here"))
}

fn unreachable<T>() -> Answer<T> {
    refused(Reason::ClusterUnreachable)
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            info: Info {
                version: "1.2.3",
                started_at: SystemTime::now(),
                pid: 1,
                config_path: "/etc/kubefwd/kubefwdd.toml".into(),
                state_path: "/var/lib/kubefwd".into(),
                hosts_path: "/etc/hosts".into(),
                address_range: "127.0.0.0/8".to_owned(),
            },
            telemetry: Arc::default(),
            views: watch::Sender::default(),
        }
    }
}

#[async_trait]
impl Control for Fake {
    fn info(&self) -> &Info {
        &self.info
    }

    fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    fn hosts(&self) -> HostsStatus {
        HostsStatus::default()
    }

    fn health(&self) -> Health {
        Health::Healthy
    }

    fn diagnose(&self, _: &Actor) -> Vec<Finding> {
        Vec::new()
    }

    async fn has_other_users(&self) -> bool {
        false
    }

    async fn tcp_owner(&self, _: SocketAddr, _: SocketAddr) -> Option<Uid> {
        None
    }

    /// Only root may do anything.
    async fn actor(&self, uid: Uid, via: Via) -> Actor {
        let user = User {
            uid,
            gid: uid.get(),
            name: None,
            member: false,
        };
        let user = Some(user);
        Actor { user, via }
    }

    async fn add_namespace(&self, _: &Actor, _: NamespaceRequest) -> Answer<NamespaceKey> {
        unreachable()
    }

    async fn add_service(&self, _: &Actor, _: ServiceRequest) -> Answer<ServiceKey> {
        unreachable()
    }

    async fn remove_namespace(&self, _: &Actor, _: &NamespaceKey) -> Answer<()> {
        refused(Reason::NotFound)
    }

    async fn remove_service(&self, _: &Actor, _: &ServiceKey) -> Answer<()> {
        refused(Reason::NotFound)
    }

    async fn reconnect(&self, _: &Actor, _: Option<Uid>, _: Reconnect) -> Answer<Vec<ServiceKey>> {
        Ok(Vec::new())
    }

    async fn resync(&self, _: &Actor, _: &ServiceKey, _: bool) -> Answer<ServiceKey> {
        refused(Reason::NotFound)
    }

    async fn set_capture(&self, _: &Actor, _: &ServiceKey, _: bool) -> Answer<ServiceKey> {
        refused(Reason::NotFound)
    }
}

#[async_trait]
impl Cluster for Fake {
    async fn contexts(&self, _: &Actor) -> Answer<Contexts> {
        unreachable()
    }

    async fn namespaces(&self, _: &Actor, _: String) -> Answer<Vec<Namespace>> {
        unreachable()
    }

    async fn services(
        &self,
        _: &Actor,
        _: String,
        _: String,
        _: Option<String>,
    ) -> Answer<Vec<Service>> {
        unreachable()
    }

    async fn pods(&self, _: &Actor, _: String, _: PodQuery) -> Answer<Vec<Pod<Text>>> {
        unreachable()
    }

    async fn pod(&self, _: &Actor, _: String, _: String, _: String) -> Answer<Option<PodDetail>> {
        unreachable()
    }

    async fn logs(&self, _: &Actor, _: String, _: LogQuery) -> Answer<LogStream> {
        unreachable()
    }

    async fn events(&self, _: &Actor, _: String, _: EventQuery) -> Answer<Vec<Event>> {
        unreachable()
    }

    async fn endpoints(
        &self,
        _: &Actor,
        _: String,
        _: String,
        _: String,
    ) -> Answer<Vec<EndpointSubset>> {
        unreachable()
    }
}
