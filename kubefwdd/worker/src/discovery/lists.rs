//! Contexts, namespaces and services; and lists in pages, since a cluster may have tens of thousands of anything.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Resource};
use kubefwd_model::discovery::{self, Contexts, ServicePort};
use kubefwd_model::text::Text;
use kubefwd_model::{Failure, Reason};
use kubefwd_proto::worker::v1::ListServicesQuery;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sender::{AnswerSender, Stop};
use super::{ask, log_in, valid_name};
use crate::cluster::{Cluster, Clusters};

const PAGE: u32 = 500;
/// Contexts in one part: the longest of them still fit a frame.
const CONTEXTS: usize = 20;

/// Sends the contexts in parts, at least one. As a text is bounded, so is a part.
pub(super) async fn contexts(
    clusters: &Clusters,
    files: &[String],
    answers: &AnswerSender,
) -> Result<(), Stop> {
    let mut listed = clusters.contexts(files).await?;
    while listed.contexts.len() > CONTEXTS {
        let part = Contexts {
            contexts: listed.contexts.drain(..CONTEXTS).collect(),
            current_context: listed.current_context.clone(),
        };
        answers.send_part(&part, false).await?;
    }
    answers.send_part(&listed, true).await
}

pub(super) async fn namespaces(cluster: &Cluster, answers: &AnswerSender) -> Result<(), Stop> {
    log_in(cluster).await?;
    let pages = Pages::new(Api::all(cluster.client.clone()), ListParams::default());
    let sent = pages.send(answers, namespace).await;
    sent.map_err(|stop| match stop {
        Stop::Failed(failure) if failure.reason == Reason::ForbiddenByCluster => {
            let hint =
                "forwarding a namespace does not need permission to list them: give its name";
            Stop::Failed(failure.hint(hint))
        }
        other => other,
    })
}

pub(super) async fn services(
    cluster: &Cluster,
    question: ListServicesQuery,
    answers: &AnswerSender,
) -> Result<(), Stop> {
    valid_name("namespace", &question.namespace)?;
    log_in(cluster).await?;
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), &question.namespace);
    if question.name.is_empty() {
        return Pages::new(api, ListParams::default())
            .send(answers, service)
            .await;
    }
    valid_name("service", &question.name)?;
    let found = service(ask(api.get(&question.name)).await?);
    answers.send_list([found], true).await
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
    pub(super) async fn send<T: Serialize>(
        mut self,
        answers: &AnswerSender,
        convert: impl Fn(K) -> T,
    ) -> Result<(), Stop> {
        while let Some((items, last)) = self.next().await? {
            let items = items.into_iter().map(&convert);
            answers.send_list(items, last).await?;
        }
        Ok(())
    }
}

fn namespace(namespace: Namespace) -> discovery::Namespace {
    discovery::Namespace {
        name: namespace.metadata.name.into(),
        status: namespace.status.and_then(|status| status.phase).into(),
    }
}

fn service(service: Service) -> discovery::Service {
    let spec = service.spec.unwrap_or_default();
    let port = |port: k8s_openapi::api::core::v1::ServicePort| ServicePort {
        port: number(port.port),
        // Without a target port, it is the service's own port.
        target_port: match port.target_port {
            Some(IntOrString::String(name)) => name.into(),
            Some(IntOrString::Int(target)) if target != 0 => target.to_string().into(),
            _ => port.port.to_string().into(),
        },
        name: Text::non_empty(port.name),
        protocol: protocol(port.protocol),
    };
    discovery::Service {
        name: service.metadata.name.into(),
        namespace: service.metadata.namespace.into(),
        kind: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()).into(),
        cluster_ip: spec.cluster_ip.into(),
        ports: spec.ports.into_iter().flatten().map(port).collect(),
        selector: texts(spec.selector.unwrap_or_default()),
    }
}

pub(super) fn texts(map: BTreeMap<String, String>) -> BTreeMap<Text, Text> {
    let pairs = map
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()));
    pairs.collect()
}

/// What a port carries where it does not say so.
pub(super) fn protocol(protocol: Option<String>) -> Text {
    protocol.unwrap_or_else(|| "TCP".to_owned()).into()
}

/// A count or a port, which is never negative.
pub(super) fn number(value: i32) -> u32 {
    u32::try_from(value).unwrap_or_default()
}
