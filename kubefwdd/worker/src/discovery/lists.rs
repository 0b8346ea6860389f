//! Contexts, namespaces and services; and lists in pages, since a cluster may have tens of thousands of anything.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Resource};
use kubefwd_model::{Failure, Reason};
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::{
    KubeContext, KubeNamespace, KubeService, KubeServicePort, ListNamespacesAnswer,
    ListServicesAnswer, ListServicesQuery,
};
use prost::Message;
use serde::de::DeserializeOwned;

use super::outlet::{Outlet, Stop};
use super::{ask, log_in, valid_name};
use crate::auth::kubeconfig::Listed;
use crate::cluster::Cluster;

const PAGE: u32 = 500;

pub(super) fn context(listed: Listed) -> KubeContext {
    KubeContext {
        name: listed.name,
        cluster: listed.cluster,
        user: listed.user,
        namespace: listed.namespace,
        server: listed.server,
    }
}

pub(super) async fn namespaces(cluster: &Cluster, outlet: &Outlet) -> Result<(), Stop> {
    log_in(cluster).await?;
    let pages = Pages::new(Api::all(cluster.client().clone()), ListParams::default());
    let wrap = |namespaces| Content::Namespaces(ListNamespacesAnswer { namespaces });
    let sent = pages.send(outlet, namespace, wrap).await;
    sent.map_err(|stop| match stop {
        Stop::Failed(failure) if failure.reason == Reason::ForbiddenByCluster => {
            let hint = "you need no right to list namespaces to forward one: name it";
            Stop::Failed(failure.hint(hint))
        }
        other => other,
    })
}

pub(super) async fn services(
    cluster: &Cluster,
    question: ListServicesQuery,
    outlet: &Outlet,
) -> Result<(), Stop> {
    valid_name("namespace", &question.namespace)?;
    log_in(cluster).await?;
    let api: Api<Service> = Api::namespaced(cluster.client().clone(), &question.namespace);
    let wrap = |services| Content::Services(ListServicesAnswer { services });
    if question.name.is_empty() {
        return Pages::new(api, ListParams::default())
            .send(outlet, service, wrap)
            .await;
    }
    valid_name("service", &question.name)?;
    let found = service(ask(api.get(&question.name)).await?);
    outlet.send(wrap(vec![found]), true).await
}

/// A list, page by page.
pub(super) struct Pages<K> {
    api: Api<K>,
    params: ListParams,
    ended: bool,
}

impl<K> Pages<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    pub(super) fn new(api: Api<K>, params: ListParams) -> Self {
        Self {
            api,
            params: params.limit(PAGE),
            ended: false,
        }
    }

    /// The next page, and whether it is the last; `None` after that.
    pub(super) async fn next(&mut self) -> Result<Option<(Vec<K>, bool)>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let page = ask(self.api.list(&self.params)).await?;
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        // A server that gives the same token again would make the list endless.
        self.ended = token.is_none() || token == self.params.continue_token;
        self.params.continue_token = token;
        Ok(Some((page.items, self.ended)))
    }

    /// Sends every page as it comes.
    pub(super) async fn send<T: Message>(
        mut self,
        outlet: &Outlet,
        convert: impl Fn(K) -> T,
        wrap: impl Fn(Vec<T>) -> Content,
    ) -> Result<(), Stop> {
        while let Some((items, last)) = self.next().await? {
            let items = items.into_iter().map(&convert).collect();
            outlet.send_items(items, last, &wrap).await?;
        }
        Ok(())
    }
}

fn namespace(namespace: Namespace) -> KubeNamespace {
    let status = namespace.status.and_then(|status| status.phase);
    KubeNamespace {
        name: namespace.metadata.name.unwrap_or_default(),
        status: status.unwrap_or_default(),
    }
}

fn service(service: Service) -> KubeService {
    let spec = service.spec.unwrap_or_default();
    KubeService {
        name: service.metadata.name.unwrap_or_default(),
        namespace: service.metadata.namespace.unwrap_or_default(),
        r#type: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
        cluster_ip: spec.cluster_ip.unwrap_or_default(),
        ports: spec
            .ports
            .unwrap_or_default()
            .into_iter()
            .map(|port| KubeServicePort {
                port: number(port.port),
                // Where none is given, it is the service's own port.
                target_port: match port.target_port {
                    Some(IntOrString::String(name)) => name,
                    Some(IntOrString::Int(target)) if target != 0 => target.to_string(),
                    _ => port.port.to_string(),
                },
                name: port.name.unwrap_or_default(),
                protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
            })
            .collect(),
        selector: spec.selector.unwrap_or_default().into_iter().collect(),
    }
}

/// A count or a port of a cluster, which are never negative.
pub(super) fn number(value: i32) -> u32 {
    u32::try_from(value).unwrap_or_default()
}
