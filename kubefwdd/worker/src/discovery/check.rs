//! May this namespace be forwarded? Context, cluster, namespace, service, rights.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{join_all, join3};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Api;
use kube::api::{ListParams, PostParams};
use kubefwd_model::{Failure, failure};
use kubefwd_proto::worker::v1::answer::Answer as Content;
use kubefwd_proto::worker::v1::{CheckAnswer, CheckQuery};
use tokio::time::timeout;

use super::sender::{AnswerSender, Stop};
use super::{ask, log_in, unless_forbidden, valid_name};
use crate::auth::suggest::nearest;
use crate::cluster::Cluster;
use crate::index::filter::Filter;

/// For all requests to the API server.
const LIMIT: Duration = Duration::from_secs(10);
const SUGGESTED_FROM: u32 = 1000;

/// A verb, and a resource as kubectl writes it: with its subresource or its group.
type Right = (&'static str, &'static str);

/// What forwarding always needs.
const NEEDED: [Right; 3] = [
    ("list", "services"),
    ("watch", "services"),
    ("create", "pods/portforward"),
];
/// What tells which pods are ready: one of the two.
const SLICES: [Right; 2] = [
    ("list", "endpointslices.discovery.k8s.io"),
    ("watch", "endpointslices.discovery.k8s.io"),
];
const PODS: [Right; 2] = [("list", "pods"), ("watch", "pods")];

pub(super) async fn check(
    cluster: &Cluster,
    question: CheckQuery,
    answers: &AnswerSender,
) -> Result<(), Stop> {
    let mut answer = CheckAnswer {
        context: cluster.context.name.clone(),
        namespace: cluster.context.namespace.clone(),
        missing_rights: Vec::new(),
        kubeconfig: paths(&cluster.context.files)?,
    };
    if !question.namespace.is_empty() {
        valid_name("namespace", &question.namespace)?;
    }
    if !question.service.is_empty() {
        valid_name("service", &question.service)?;
    }
    if let Some(selection) = &question.selection {
        Filter::new(Some(selection), [])?;
    }
    if !question.offline && !question.namespace.is_empty() {
        // The user is waiting and may have just logged in.
        cluster.try_credentials_again();
        log_in(cluster).await?;
        let checked = timeout(LIMIT, call(cluster, &question)).await;
        answer.missing_rights = checked.unwrap_or_else(|_| Err(too_slow(cluster)))?;
    }
    answers.send(Content::Check(answer), true).await
}

/// The daemon keeps them as text.
fn paths(files: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let text = |path: &PathBuf| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            failure!(
                KubeconfigInvalid,
                "the kubeconfig path {} is not valid UTF-8",
                path.display()
            )
            .hint("rename the file or link to it, and use that path with --kubeconfig")
        })
    };
    files.iter().map(text).collect()
}

async fn call(cluster: &Cluster, question: &CheckQuery) -> Result<Vec<String>, Failure> {
    namespace_exists(cluster, &question.namespace).await?;
    let (service, selection, missing) = join3(
        service_exists(cluster, question),
        is_understood(cluster, question),
        missing_rights(cluster, &question.namespace),
    )
    .await;
    service?;
    selection?;
    Ok(missing)
}

/// Only the cluster knows which selectors it understands: list one object with them.
async fn is_understood(cluster: &Cluster, question: &CheckQuery) -> Result<(), Failure> {
    let Some(selection) = &question.selection else {
        return Ok(());
    };
    if selection.label_selector.is_empty() && selection.field_selector.is_empty() {
        return Ok(());
    }
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), &question.namespace);
    let list = ListParams::default()
        .labels(&selection.label_selector)
        .fields(&selection.field_selector)
        .limit(1);
    // Missing rights are reported with the others.
    unless_forbidden(ask(api.list_metadata(&list)).await)
}

fn too_slow(cluster: &Cluster) -> Failure {
    let server = cluster.context.cluster.server.as_deref();
    failure!(
        ClusterUnreachable,
        "the API server {} did not answer within {} s",
        server.unwrap_or_default(),
        LIMIT.as_secs()
    )
    .hint("is the network up? is a VPN needed?")
}

/// Fails if the object does not exist, and suggests what was probably meant, if the objects may be listed.
async fn exists<K>(api: Api<K>, name: &str, missing: Failure) -> Result<(), Failure>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match ask(api.get_metadata(name)).await {
        Err(failure) if failure.reason == missing.reason => {}
        answer => return unless_forbidden(answer),
    }
    let listed = ask(api.list_metadata(&ListParams::default().limit(SUGGESTED_FROM))).await;
    let listed = listed.map(|list| list.items).unwrap_or_default();
    let names = listed
        .iter()
        .flat_map(|object| object.metadata.name.as_deref());
    Err(missing.hint(match nearest(name, names) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "is this the right context?".to_owned(),
    }))
}

async fn namespace_exists(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let context = &cluster.context.name;
    let missing = failure!(
        NamespaceNotFound,
        "namespace {name:?} does not exist in context {context:?}"
    );
    exists::<Namespace>(Api::all(cluster.client.clone()), name, missing).await
}

async fn service_exists(cluster: &Cluster, question: &CheckQuery) -> Result<(), Failure> {
    let (namespace, name) = (&question.namespace, &question.service);
    if name.is_empty() {
        return Ok(());
    }
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
    let missing = failure!(
        ServiceNotFound,
        "service {name:?} does not exist in namespace {namespace:?}"
    );
    exists(api, name, missing).await
}

async fn missing_rights(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let ask_all = |rights: &'static [Right]| async move {
        let asked = rights.iter().map(|right| may(cluster, namespace, *right));
        let answers = join_all(asked).await;
        let missing = rights.iter().zip(answers).filter(|(_, may)| !may);
        missing
            .map(|((verb, resource), _)| format!("{verb} {resource}"))
            .collect::<Vec<_>>()
    };
    let (mut missing, slices, pods) =
        join3(ask_all(&NEEDED), ask_all(&SLICES), ask_all(&PODS)).await;
    if !slices.is_empty() && !pods.is_empty() {
        let slices = slices.into_iter();
        missing.extend(slices.map(|right| format!("{right} (or the same on pods)")));
    }
    missing
}

/// Whether the user may do this. If the cluster does not say, assume so: the attempt will tell.
async fn may(cluster: &Cluster, namespace: &str, (verb, resource): Right) -> bool {
    let (path, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (kind, subresource) = path.split_once('/').unwrap_or((path, ""));
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(kind.to_owned()),
                subresource: Some(subresource.to_owned()).filter(|sub| !sub.is_empty()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    match ask(api.create(&PostParams::default(), &review)).await {
        Ok(answer) => answer.status.is_none_or(|status| status.allowed),
        Err(failure) => {
            tracing::debug!(%failure, verb, resource, "the cluster does not report rights");
            true
        }
    }
}
