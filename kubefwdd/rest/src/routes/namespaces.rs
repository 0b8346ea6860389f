//! Namespaces.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kubefwd_core::requests::{ClusterAccess, NamespaceRequest};
use kubefwd_model::Selection;
use kubefwd_model::entry::NamespaceEntry;

use crate::envelope::{Envelope, json};
use crate::error::{ApiError, ErrorResponses, Outcome};
use crate::extract::{Body, Call, Key};
use crate::keys;
use crate::types::namespaces::{AddNamespace, AddedNamespace, NamespaceList};
use crate::types::services::Removed;
use crate::wait::{self, Awaited};

/// List namespaces
///
/// Every namespace that the caller forwards, whole or in part.
#[utoipa::path(get, path = "/api/v1/namespaces", tag = "Namespaces", responses(
    (status = 200, description = "The namespaces", body = Envelope<NamespaceList<'static>>), ErrorResponses,
))]
pub(crate) async fn list(call: Call) -> Response {
    let view = call.control.view();
    let namespaces: Vec<_> = view
        .namespaces
        .values()
        .filter(|namespace| call.caller.sees(namespace.key.uid))
        .map(|namespace| NamespaceEntry::new(namespace, &view.counts_of(&namespace.key)))
        .collect();
    let count = namespaces.len();
    Envelope::list(NamespaceList { namespaces }, count).into_response()
}

/// Add a namespace
///
/// Forwards every service of a namespace, or those that match the selectors. With `wait` the response comes
/// when all of them are active, or says which are not and why.
#[utoipa::path(post, path = "/api/v1/namespaces", tag = "Namespaces", request_body = AddNamespace, responses(
    (status = 201, description = "Added", body = Envelope<AddedNamespace<'static>>), ErrorResponses,
))]
pub(crate) async fn add(call: Call, Body(body): Body<AddNamespace>) -> Result<Response, ApiError> {
    if body.namespace.is_empty() {
        return Err(ApiError::bad_request("namespace must not be empty"));
    }
    let request = NamespaceRequest {
        access: ClusterAccess::context(body.context.unwrap_or_default()),
        namespace: body.namespace,
        selection: Selection {
            label_selector: body.selector.unwrap_or_default(),
            field_selector: body.field_selector.unwrap_or_default(),
            include: body.include.unwrap_or_default(),
            exclude: body.exclude.unwrap_or_default(),
        },
        ..Default::default()
    };
    let key = call.control.add_namespace(&call.caller, request).await?;
    let target = Awaited::Namespace(key.clone());
    let view = wait::until_active(call.control.watch(), &target, body.wait).await?;
    let added = AddedNamespace {
        key: key.to_string(),
        id: (&key).into(),
        services: view
            .services_of(&key)
            .map(|service| (&service.key).into())
            .collect(),
    };
    Ok(json(StatusCode::CREATED, &Envelope::new(added)))
}

/// Get a namespace
///
/// The key is `namespace.context`.
#[utoipa::path(get, path = "/api/v1/namespaces/{key}", tag = "Namespaces", params(
    ("key" = String, Path, description = "Key of the namespace", example = "shop.kind"),
), responses(
    (status = 200, description = "The namespace", body = Envelope<NamespaceEntry<'static>>), ErrorResponses,
))]
pub(crate) async fn get(call: Call, Key(key): Key) -> Result<Response, ApiError> {
    let view = call.control.view();
    let found = keys::namespace(&view, &call.caller, &key)?;
    let sums = view.counts_of(&found.key);
    Ok(Envelope::new(NamespaceEntry::new(&found, &sums)).into_response())
}

/// Stop forwarding a namespace
///
/// Removes all of its services, including those added one by one.
#[utoipa::path(delete, path = "/api/v1/namespaces/{key}", tag = "Namespaces", params(
    ("key" = String, Path, description = "Key of the namespace", example = "staging.minikube"),
), responses(
    (status = 200, description = "Removed", body = Envelope<Removed>), ErrorResponses,
))]
pub(crate) async fn remove(call: Call, Key(key): Key) -> Outcome<Removed> {
    let found = keys::namespace(&call.control.view(), &call.caller, &key)?;
    let key = &found.key;
    call.control.remove_namespace(&call.caller, key).await?;
    Ok(Envelope::new(Removed::new(key)))
}
