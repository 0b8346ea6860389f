//! Pods: all of a namespace, one, those with certain labels, or those behind a service.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::ListParams;
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::{ListPodsAnswer, ListPodsQuery};

use super::lists::Pages;
use super::outlet::{Outlet, Stop};
use super::pod::pod;
use super::{ask, log_in, valid_name};
use crate::cluster::Cluster;

pub(super) async fn pods(
    cluster: &Cluster,
    question: ListPodsQuery,
    outlet: &Outlet,
) -> Result<(), Stop> {
    valid_name("namespace", &question.namespace)?;
    log_in(cluster).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &question.namespace);
    let wrap = |pods| Content::Pods(ListPodsAnswer { pods });
    if !question.name.is_empty() {
        valid_name("pod", &question.name)?;
        let found = pod(ask(api.get(&question.name)).await?);
        return outlet.send(wrap(vec![found]), true).await;
    }

    let mut selectors = vec![question.label_selector.clone()];
    if !question.service.is_empty() {
        valid_name("service", &question.service)?;
        let api: Api<Service> = Api::namespaced(cluster.client().clone(), &question.namespace);
        let service = ask(api.get(&question.service)).await?;
        let selector = service
            .spec
            .and_then(|spec| spec.selector)
            .unwrap_or_default();
        if selector.is_empty() {
            // A service without selector stands for no pods; an empty selector here would stand for all.
            return outlet.send(wrap(Vec::new()), true).await;
        }
        selectors.extend(
            selector
                .into_iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
    }
    selectors.retain(|selector| !selector.is_empty());
    let mut params = ListParams::default();
    if !selectors.is_empty() {
        params = params.labels(&selectors.join(","));
    }
    if !question.field_selector.is_empty() {
        params = params.fields(&question.field_selector);
    }
    Pages::new(api, params).send(outlet, pod, wrap).await
}
