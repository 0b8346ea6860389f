//! Pods: all of a namespace, one, those with certain labels, or those behind a service.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::ListParams;
use kubefwd_model::discovery;
use kubefwd_proto::worker::v1::ListPodsQuery;

use super::lists::Pages;
use super::pod::{pod, pod_in_full};
use super::sender::{AnswerSender, Stop};
use super::{ask, log_in, valid_name};
use crate::cluster::Cluster;

pub(super) async fn pods(
    cluster: &Cluster,
    question: ListPodsQuery,
    answers: &AnswerSender,
) -> Result<(), Stop> {
    valid_name("namespace", &question.namespace)?;
    log_in(cluster).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &question.namespace);
    if !question.name.is_empty() {
        valid_name("pod", &question.name)?;
        let found = pod_in_full(ask(api.get(&question.name)).await?);
        return answers.send_list([found], true).await;
    }

    let mut selectors = vec![question.label_selector.clone()];
    if !question.service.is_empty() {
        valid_name("service", &question.service)?;
        let api: Api<Service> = Api::namespaced(cluster.client.clone(), &question.namespace);
        let service = ask(api.get(&question.service)).await?;
        let selector = service.spec.and_then(|spec| spec.selector);
        let selector = selector.unwrap_or_default();
        if selector.is_empty() {
            // A service without selector stands for no pods; an empty selector here would stand for all.
            return answers.send_list::<discovery::PodDetail>([], true).await;
        }
        let pairs = selector.into_iter();
        selectors.extend(pairs.map(|(key, value)| format!("{key}={value}")));
    }
    selectors.retain(|selector| !selector.is_empty());
    let params = ListParams {
        label_selector: Some(selectors.join(",")).filter(|labels| !labels.is_empty()),
        field_selector: Some(question.field_selector).filter(|fields| !fields.is_empty()),
        ..ListParams::default()
    };
    Pages::new(api, params).send(answers, pod).await
}
