//! Pods of a cluster.

use std::sync::Arc;

use kubefwd_core::policy::Actor;
use kubefwd_core::state::View;
use kubefwd_model as model;
use kubefwd_model::discovery::{self};
use kubefwd_model::{ContextName, DnsLabel, PodName};
use serde::Deserialize;
use utoipa::IntoParams;

use super::kubernetes::{InContext, checked, context, namespace_key, resolved};
use crate::control::PodQuery;
use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses, Outcome};
use crate::extract::{Call, Key, Query, text};
use crate::types::pods::{Pod, PodDetail};

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only pods matching this label selector.
    #[serde(default, alias = "label_selector", deserialize_with = "text")]
    #[param(
        example = "app=api",
        pattern = "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?(=[A-Za-z0-9]{0,63})?)?$"
    )]
    label_selector: Option<String>,
    /// Only pods matching this field selector.
    #[serde(default, alias = "field_selector", deserialize_with = "text")]
    #[param(
        example = "status.phase=Running",
        pattern = r"^((metadata\.name|spec\.nodeName|status\.phase)=[A-Za-z0-9]{1,63})?$"
    )]
    field_selector: Option<String>,
    /// Only pods of this service.
    #[serde(default, alias = "service_name", deserialize_with = "text")]
    #[param(example = "api", pattern = "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$")]
    service_name: Option<String>,
}

/// Pods of a namespace
#[utoipa::path(
    get, path = "/api/v1/kubernetes/pods/{namespace}", tag = "Kubernetes Discovery",
    params(("namespace" = String, Path, description = "The namespace", example = "default"), InContext, Filter),
    responses((status = 200, description = "The pods", body = Envelope<Vec<Pod>>), ErrorResponses),
)]
pub(crate) async fn list(
    call: Call,
    Key(namespace): Key<String>,
    Query(place): Query<InContext>,
    Query(filter): Query<Filter>,
) -> Outcome<Vec<Pod>> {
    let context = context(place.context)?;
    label(filter.service_name.as_deref())?;
    let mut selectors = filter.label_selector.iter().chain(&filter.field_selector);
    if selectors.any(|selector| selector.contains(char::is_control)) {
        return Err(ApiError::bad_request(
            "a selector contains a control character",
        ));
    }
    let query = PodQuery {
        namespace: checked(&namespace)?,
        label_selector: filter.label_selector.unwrap_or_default(),
        field_selector: filter.field_selector.unwrap_or_default(),
        service: filter.service_name.unwrap_or_default(),
    };
    let mut found = call
        .control
        .pods(&call.caller, context.clone(), query)
        .await?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let context = resolved(&call, context).await;
    let view = call.control.view();
    let forwards = Forwards::new(&view, &call.caller, context.as_ref(), &namespace);
    let pod = |pod: discovery::Pod<_>| {
        let forward = forwards.to(&pod.name);
        Pod::new(pod, forward)
    };
    Ok(found.into_iter().map(pod).collect())
}

/// A pod
#[utoipa::path(
    get, path = "/api/v1/kubernetes/pods/{namespace}/{pod}", tag = "Kubernetes Discovery",
    params(
        ("namespace" = String, Path, description = "The namespace", example = "default"),
        ("pod" = String, Path, description = "The pod", example = "api-6f"),
        InContext,
    ),
    responses((status = 200, description = "The pod", body = Envelope<PodDetail>), ErrorResponses),
)]
pub(crate) async fn get(
    call: Call,
    Key((namespace, name)): Key<(String, String)>,
    Query(query): Query<InContext>,
) -> Outcome<PodDetail> {
    let (checked, pod) = (checked(&namespace)?, pod_name(&name)?);
    let context = context(query.context)?;
    let found = call
        .control
        .pod(&call.caller, context.clone(), checked, pod);
    let pod = found
        .await?
        .ok_or_else(|| ApiError::not_found(format!("namespace {namespace} has no pod {name}")))?;
    let context = resolved(&call, context).await;
    let view = call.control.view();
    let forward = Forwards::new(&view, &call.caller, context.as_ref(), &namespace).to(&name);
    let context = context
        .map(|context| context.to_string())
        .unwrap_or_default();
    Ok(Envelope::new(PodDetail::new(pod, context, forward)))
}

/// The forwards of one namespace, to be looked up by pod.
struct Forwards<'a>(Vec<&'a Arc<model::Service>>);

// === impl Forwards ===

impl<'a> Forwards<'a> {
    fn new(view: &'a View, caller: &Actor, context: Option<&ContextName>, namespace: &str) -> Self {
        let key = namespace_key(caller, context, namespace);
        Self(
            key.map(|key| view.services_of(&key).collect())
                .unwrap_or_default(),
        )
    }

    fn to(&self, pod: &str) -> Option<(&'a model::Service, &'a model::Forward)> {
        self.0.iter().find_map(|service| {
            let forward = service.forwards.iter().find(|forward| forward.pod == pod)?;
            Some((&***service, forward))
        })
    }
}

/// Checks the name of a service or container.
pub(super) fn label(name: Option<&str>) -> Result<(), ApiError> {
    name.map(DnsLabel::parse).transpose()?;
    Ok(())
}

pub(super) fn pod_name(name: &str) -> Result<String, ApiError> {
    Ok(PodName::parse(name)?.into())
}
