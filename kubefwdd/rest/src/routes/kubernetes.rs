//! What the cluster has: asked of the caller's own worker, answered with the caller's own rights.

use kubefwd_core::policy::Actor;
use kubefwd_core::state::View;
use kubefwd_model::discovery::{self, Contexts, Event};
use kubefwd_model::{
    ContextName, NamespaceKey, NamespaceName, PodName, ServiceName, ServiceStatus,
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::control::EventQuery;
use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses, Outcome};
use crate::extract::{Call, Key, Number, Query, text};
use crate::types::kubernetes::{
    Endpoints, KubeNamespaces, KubeServices, ListedNamespace, ListedService,
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct InContext {
    /// A context of the caller's kubeconfig; default: the current one.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "minikube")]
    pub(super) context: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct InNamespace {
    /// The namespace.
    #[param(
        example = "default",
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    namespace: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct EventFilter {
    /// Only events about objects of this kind.
    #[serde(default, alias = "resource_kind", deserialize_with = "text")]
    #[param(example = "Pod", pattern = "^([A-Za-z]{1,63})?$")]
    resource_kind: Option<String>,
    /// Only events about objects with this name.
    #[serde(default, alias = "resource_name", deserialize_with = "text")]
    #[param(
        example = "api-6f",
        pattern = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$",
        max_length = 253
    )]
    resource_name: Option<String>,
    /// Maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50, example = 50)]
    limit: Option<Number<1, 1000>>,
}

/// Contexts
///
/// The contexts of the caller's kubeconfig.
#[utoipa::path(get, path = "/api/v1/kubernetes/contexts", tag = "Kubernetes Discovery", responses(
    (status = 200, description = "The contexts", body = Envelope<Contexts>), ErrorResponses,
))]
pub(crate) async fn contexts(call: Call) -> Outcome<Contexts> {
    let mut found = call.control.contexts(&call.caller).await?;
    found.contexts.sort_by(|a, b| a.name.cmp(&b.name));
    for context in &mut found.contexts {
        // The contract has no such field.
        context.server = Default::default();
    }
    let count = found.contexts.len();
    Ok(Envelope::list(found, count))
}

/// Namespaces of a cluster
#[utoipa::path(
    get, path = "/api/v1/kubernetes/namespaces", tag = "Kubernetes Discovery", params(InContext),
    responses((status = 200, description = "The namespaces", body = Envelope<KubeNamespaces>), ErrorResponses),
)]
pub(crate) async fn namespaces(
    call: Call,
    Query(query): Query<InContext>,
) -> Outcome<KubeNamespaces> {
    let context = context(query.context)?;
    let found = call
        .control
        .namespaces(&call.caller, context.clone())
        .await?;
    let context = resolved(&call, context).await;
    let view = call.control.view();
    let mut namespaces: Vec<ListedNamespace> = found
        .into_iter()
        .map(|namespace| ListedNamespace {
            forwarded: namespace_key(&call.caller, context.as_ref(), &namespace.name)
                .is_some_and(|key| view.namespaces.contains_key(&key)),
            namespace,
        })
        .collect();
    namespaces.sort_by(|a, b| a.namespace.name.cmp(&b.namespace.name));
    let count = namespaces.len();
    Ok(Envelope::list(KubeNamespaces { namespaces }, count))
}

/// Services of a cluster
#[utoipa::path(
    get, path = "/api/v1/kubernetes/services", tag = "Kubernetes Discovery", params(InNamespace, InContext),
    responses((status = 200, description = "The services", body = Envelope<KubeServices>), ErrorResponses),
)]
pub(crate) async fn services(
    call: Call,
    Query(InNamespace { namespace }): Query<InNamespace>,
    Query(InContext { context }): Query<InContext>,
) -> Outcome<KubeServices> {
    let mut services = list(&call, context, &namespace, None).await?;
    services.sort_by(|a, b| a.service.name.cmp(&b.service.name));
    let count = services.len();
    Ok(Envelope::list(KubeServices { services }, count))
}

/// A service of a cluster
#[utoipa::path(
    get, path = "/api/v1/kubernetes/services/{namespace}/{name}", tag = "Kubernetes Discovery",
    params(
        ("namespace" = String, Path, description = "The namespace", example = "default"),
        ("name" = String, Path, description = "The service", example = "api-gateway"),
        InContext,
    ),
    responses((status = 200, description = "The service", body = Envelope<ListedService>), ErrorResponses),
)]
pub(crate) async fn service(
    call: Call,
    Key((namespace, name)): Key<(String, String)>,
    Query(query): Query<InContext>,
) -> Outcome<ListedService> {
    ServiceName::parse(&name)?;
    let only = Some(name.clone());
    let found = list(&call, query.context, &namespace, only).await?;
    let mut found = found.into_iter();
    found
        .find(|found| *found.service.name == *name)
        .map(Envelope::new)
        .ok_or_else(|| ApiError::not_found(format!("namespace {namespace} has no service {name}")))
}

async fn list(
    call: &Call,
    context: Option<String>,
    namespace: &str,
    name: Option<String>,
) -> Result<Vec<ListedService>, ApiError> {
    let (namespace, context) = (checked(namespace)?, self::context(context)?);
    let services = call
        .control
        .services(&call.caller, context.clone(), namespace, name);
    let found = services.await?;
    let context = resolved(call, context).await;
    let view = call.control.view();
    let services = found.into_iter().map(|service| {
        let key = forward_key(&view, &call.caller, context.as_ref(), &service);
        ListedService::new(service, key)
    });
    Ok(services.collect())
}

/// Events of a cluster
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/v1/kubernetes/events/{namespace}", tag = "Kubernetes Discovery",
    params(("namespace" = String, Path, description = "The namespace", example = "default"), InContext, EventFilter),
    responses((status = 200, description = "The events", body = Envelope<Vec<Event>>), ErrorResponses),
)]
pub(crate) async fn events(
    call: Call,
    Key(namespace): Key<String>,
    Query(place): Query<InContext>,
    Query(filter): Query<EventFilter>,
) -> Outcome<Vec<Event>> {
    let limit = filter.limit.map_or(50, Number::get);
    let is_word = |kind: &str| kind.len() <= 63 && kind.chars().all(|c| c.is_ascii_alphabetic());
    if let Some(kind) = filter
        .resource_kind
        .as_deref()
        .filter(|kind| !is_word(kind))
    {
        let message = format!("resourceKind = {kind:?} is not a kind such as Pod");
        return Err(ApiError::bad_request(message));
    }
    if let Some(name) = &filter.resource_name {
        PodName::parse(name)?;
    }
    let query = EventQuery {
        namespace: checked(&namespace)?,
        kind: filter.resource_kind.unwrap_or_default(),
        name: filter.resource_name.unwrap_or_default(),
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    let context = context(place.context)?;
    let mut events = call.control.events(&call.caller, context, query).await?;
    events.truncate(limit);
    Ok(events.into_iter().collect())
}

/// Endpoints of a service
#[utoipa::path(
    get, path = "/api/v1/kubernetes/endpoints/{namespace}/{service}", tag = "Kubernetes Discovery",
    params(
        ("namespace" = String, Path, description = "The namespace", example = "default"),
        ("service" = String, Path, description = "The service", example = "api"),
        InContext,
    ),
    responses((status = 200, description = "The endpoints", body = Envelope<Endpoints>), ErrorResponses),
)]
pub(crate) async fn endpoints(
    call: Call,
    Key((namespace, service)): Key<(String, String)>,
    Query(query): Query<InContext>,
) -> Outcome<Endpoints> {
    ServiceName::parse(&service)?;
    let (checked, context) = (checked(&namespace)?, context(query.context)?);
    let endpoints = call
        .control
        .endpoints(&call.caller, context, checked, service.clone());
    let subsets = endpoints.await?;
    Ok(Envelope::new(Endpoints {
        name: service,
        namespace,
        subsets,
    }))
}

/// A context that can be asked for; empty for the current one.
pub(super) fn context(context: Option<String>) -> Result<String, ApiError> {
    let context = context.unwrap_or_default();
    if !context.is_empty() {
        ContextName::parse(&context)?;
    }
    Ok(context)
}

/// A namespace that can be asked for.
pub(super) fn checked(namespace: &str) -> Result<String, ApiError> {
    Ok(NamespaceName::parse(namespace)?.into())
}

/// The context that is meant: the current one where none was named. `None` where that cannot be found out.
pub(super) async fn resolved(call: &Call, context: String) -> Option<ContextName> {
    if !context.is_empty() {
        return ContextName::parse(&context).ok();
    }
    let contexts = call.control.contexts(&call.caller).await.ok()?;
    ContextName::parse(&contexts.current_context).ok()
}

/// The key that a namespace of the caller's has.
pub(super) fn namespace_key(
    caller: &Actor,
    context: Option<&ContextName>,
    namespace: &str,
) -> Option<NamespaceKey> {
    Some(NamespaceKey {
        uid: caller.uid()?,
        context: context?.clone(),
        namespace: NamespaceName::parse(namespace).ok()?,
    })
}

fn forward_key(
    view: &View,
    caller: &Actor,
    context: Option<&ContextName>,
    service: &discovery::Service,
) -> Option<String> {
    let namespace = namespace_key(caller, context, &service.namespace)?;
    let key = namespace.service(ServiceName::parse(&service.name).ok()?);
    let found = view.services.get(&key)?;
    (found.status != ServiceStatus::Unsupported).then(|| key.to_string())
}
