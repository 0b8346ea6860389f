//! A daemon that forwards nothing and whose cluster cannot be reached, for tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use kubefwd_core::policy::{Actor, User, Via};
use kubefwd_core::state::View;
use kubefwd_core::status::{HostsStatus, Info};
use kubefwd_model::discovery::{
    Contexts, EndpointSubset, Event, Namespace, Pod, PodDetail, Service,
};
use kubefwd_model::text::Text;
use kubefwd_model::{Failure, Finding, Health, NamespaceKey, Reason, ServiceKey, Uid};
use kubefwd_telemetry::Telemetry;
use tokio::sync::watch;

use super::control::{
    Answer, Cluster, Control, EventQuery, LogQuery, LogStream, NewNamespace, NewService, PodQuery,
    Reconnect,
};

/// The daemon.
pub(crate) struct Fake {
    info: Info,
    telemetry: Arc<Telemetry>,
    views: watch::Sender<Arc<View>>,
}

fn refused<T: Send + 'static>(reason: Reason) -> Answer<'static, T> {
    ready(Err(Failure::new(reason, "nothing here"))).boxed()
}

fn unreachable<T: Send + 'static>() -> Answer<'static, T> {
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

    fn tcp_owner(&self, _: SocketAddr, _: SocketAddr) -> BoxFuture<'_, Option<Uid>> {
        ready(None).boxed()
    }

    /// Only root may do anything.
    fn actor(&self, uid: Uid, via: Via) -> BoxFuture<'_, Actor> {
        let user = User {
            uid,
            gid: uid.get(),
            name: None,
            member: false,
        };
        let user = Some(user);
        ready(Actor { user, via }).boxed()
    }

    fn add_namespace<'a>(&'a self, _: &'a Actor, _: NewNamespace) -> Answer<'a, NamespaceKey> {
        unreachable()
    }

    fn add_service<'a>(&'a self, _: &'a Actor, _: NewService) -> Answer<'a, ServiceKey> {
        unreachable()
    }

    fn remove_namespace<'a>(&'a self, _: &'a Actor, _: &'a NamespaceKey) -> Answer<'a, ()> {
        refused(Reason::NotFound)
    }

    fn remove_service<'a>(&'a self, _: &'a Actor, _: &'a ServiceKey) -> Answer<'a, ()> {
        refused(Reason::NotFound)
    }

    fn reconnect<'a>(&'a self, _: &'a Actor, _: Reconnect<'a>) -> Answer<'a, Vec<ServiceKey>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn resync<'a>(&'a self, _: &'a Actor, _: &'a ServiceKey, _: bool) -> Answer<'a, ServiceKey> {
        refused(Reason::NotFound)
    }

    fn set_capture<'a>(
        &'a self,
        _: &'a Actor,
        _: &'a ServiceKey,
        _: bool,
    ) -> Answer<'a, ServiceKey> {
        refused(Reason::NotFound)
    }
}

impl Cluster for Fake {
    fn contexts<'a>(&'a self, _: &'a Actor) -> Answer<'a, Contexts> {
        unreachable()
    }

    fn namespaces<'a>(&'a self, _: &'a Actor, _: String) -> Answer<'a, Vec<Namespace>> {
        unreachable()
    }

    fn services<'a>(
        &'a self,
        _: &'a Actor,
        _: String,
        _: String,
        _: Option<String>,
    ) -> Answer<'a, Vec<Service>> {
        unreachable()
    }

    fn pods<'a>(&'a self, _: &'a Actor, _: String, _: PodQuery) -> Answer<'a, Vec<Pod<Text>>> {
        unreachable()
    }

    fn pod<'a>(
        &'a self,
        _: &'a Actor,
        _: String,
        _: String,
        _: String,
    ) -> Answer<'a, Option<PodDetail>> {
        unreachable()
    }

    fn logs<'a>(&'a self, _: &'a Actor, _: String, _: LogQuery) -> Answer<'a, LogStream> {
        unreachable()
    }

    fn events<'a>(&'a self, _: &'a Actor, _: String, _: EventQuery) -> Answer<'a, Vec<Event>> {
        unreachable()
    }

    fn endpoints<'a>(
        &'a self,
        _: &'a Actor,
        _: String,
        _: String,
        _: String,
    ) -> Answer<'a, Vec<EndpointSubset>> {
        unreachable()
    }
}
