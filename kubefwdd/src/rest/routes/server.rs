//! The daemon itself, and the names it gave.

use std::collections::BTreeSet;

use axum::extract::State;
use kubefwd_model::Uid;
use serde::Serialize;
use utoipa::ToSchema;

use crate::rest::Face;
use crate::rest::envelope::{ApiError, Envelope, Refusals, json};
use crate::rest::extract::Caller;
use crate::rest::keys;
use crate::rest::types::server::{HealthAnswer, InfoData};

/// Names that lead to forwards.
#[derive(Serialize, ToSchema)]
pub(crate) struct HostnameList {
    /// Sorted by name.
    hostnames: Vec<Hostname>,
    /// How many.
    #[schema(example = 2)]
    total: usize,
    /// Names that the caller's services did not get.
    conflicts: Vec<NameConflict>,
}

/// A name.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub(crate) struct Hostname {
    /// The name.
    #[schema(example = "api")]
    hostname: String,
    /// Its address.
    #[schema(example = "127.1.27.1")]
    ip: String,
    /// The service.
    #[schema(example = "api")]
    service: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Its context.
    #[schema(example = "kind")]
    context: String,
    /// The uid of the user who forwards it.
    #[schema(example = 1000)]
    owner: Uid,
}

/// A name that was not available.
#[derive(Serialize, ToSchema)]
pub(crate) struct NameConflict {
    /// The name.
    #[schema(example = "db")]
    hostname: String,
    /// The service that needed it.
    #[schema(example = "db.shop.kind")]
    service: String,
    /// Why it did not get it.
    #[schema(example = "already taken by db.shop.other (uid 1000)")]
    reason: String,
}

/// Health
///
/// The daemon's health. Anybody may ask. The fields are repeated next to the envelope.
#[utoipa::path(get, path = "/api/health", tag = "Health & Info", responses(
    (status = 200, description = "The health", body = HealthAnswer), Refusals,
))]
pub(crate) async fn health(State(face): State<Face>) -> axum::response::Response {
    let (health, _) = face.control.health();
    json(
        http::StatusCode::OK,
        &HealthAnswer::new(health, face.control.info()),
    )
}

/// Information
///
/// Version and times of the daemon, and what the caller forwards.
#[utoipa::path(get, path = "/api/info", tag = "Health & Info", responses(
    (status = 200, description = "The facts", body = Envelope<InfoData>), Refusals,
))]
pub(crate) async fn info(State(face): State<Face>, caller: Caller) -> Envelope<InfoData> {
    let view = face.control.view();
    let own = view.namespaces.keys().filter(|key| caller.sees(key.uid));
    let contexts: BTreeSet<String> = own.clone().map(|key| key.context.to_string()).collect();
    let namespaces: BTreeSet<String> = own.map(|key| key.namespace.to_string()).collect();
    Envelope::new(InfoData::new(
        face.control.info(),
        namespaces.into_iter().collect(),
        contexts.into_iter().collect(),
    ))
}

/// Names
///
/// Every name of the caller's forwards, and those that were not available.
#[utoipa::path(get, path = "/api/v1/hostnames", tag = "Names", responses(
    (status = 200, description = "The names", body = Envelope<HostnameList>), Refusals,
))]
pub(crate) async fn hostnames(
    State(face): State<Face>,
    caller: Caller,
) -> Result<Envelope<HostnameList>, ApiError> {
    let view = face.control.view();
    let mut hostnames = BTreeSet::new();
    let mut conflicts = Vec::new();
    for service in keys::visible(&view, &caller) {
        let key = &service.key;
        let own = service.address.map(|address| (address, &service.hostnames));
        let of_forwards = service
            .forwards
            .iter()
            .map(|forward| (forward.address, &forward.hostnames));
        for (address, names) in own.into_iter().chain(of_forwards) {
            hostnames.extend(names.iter().map(|name| Hostname {
                hostname: name.to_string(),
                ip: address.to_string(),
                service: key.service.to_string(),
                namespace: key.namespace.to_string(),
                context: key.context.to_string(),
                owner: key.uid,
            }));
        }
        conflicts.extend(service.refused_names.iter().map(|refused| NameConflict {
            hostname: refused.name.clone(),
            service: key.to_string(),
            reason: refused.reason.clone(),
        }));
    }
    let total = hostnames.len();
    let list = HostnameList {
        hostnames: hostnames.into_iter().collect(),
        total,
        conflicts,
    };
    Ok(Envelope::list(list, total))
}
