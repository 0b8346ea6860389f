//! Forwards.

use std::time::SystemTime;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Count;
use super::services::found_in;
use crate::core::state::ServiceView;
use crate::rest::Face;
use crate::rest::envelope::{ApiError, Envelope, Refusals};
use crate::rest::extract::{Caller, Key, Number, Query, text};
use crate::rest::keys;
use crate::rest::types::forwards::{Forward, ForwardList, ForwardStatus};
use crate::rest::types::http::HttpTraffic;
use crate::rest::types::services::Summary;

/// Which forwards.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only of this namespace.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "shop")]
    namespace: Option<String>,
    /// Only of the service with this name.
    #[serde(
        default,
        deserialize_with = "text",
        alias = "service_name",
        alias = "serviceName"
    )]
    #[param(example = "api")]
    service: Option<String>,
    /// Only of this context.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "kind")]
    context: Option<String>,
    /// Only with this status.
    #[param(inline)]
    status: Option<ForwardStatus>,
    /// Only with this text in their key or one of the names of their service.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "api")]
    search: Option<String>,
    /// How many at most; all without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100000, example = 100)]
    limit: Option<Number<1, 100_000>>,
    /// How many to skip.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 10000000, example = 0)]
    offset: Option<Number<0, 10_000_000>>,
}

// === impl Filter ===

impl Filter {
    fn matches(&self, service: &ServiceView) -> bool {
        let key = &service.key;
        self.namespace
            .as_deref()
            .is_none_or(|namespace| key.namespace.as_str() == namespace)
            && self
                .service
                .as_deref()
                .is_none_or(|name| key.service.as_str() == name)
            && self
                .context
                .as_deref()
                .is_none_or(|context| key.context.as_str() == context)
    }
}

/// List forwards
///
/// Every port that is listened on for the caller; a service may have several.
#[utoipa::path(get, path = "/api/v1/forwards", tag = "Forwards", params(Filter), responses(
    (status = 200, description = "The forwards", body = Envelope<ForwardList>), Refusals,
))]
pub(crate) async fn list(
    State(face): State<Face>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Envelope<ForwardList> {
    let view = face.control.view();
    let meters = face.control.telemetry().meters.read(SystemTime::now());
    let mut summary = Summary::default();
    let mut matching = Vec::new();
    for service in keys::visible(&view, &caller).filter(|service| filter.matches(service)) {
        let by_name = filter
            .search
            .as_deref()
            .is_none_or(|search| found_in(service, search));
        let wanted = service.forwards.iter().filter(|forward| {
            let by_key = || {
                filter
                    .search
                    .as_deref()
                    .is_some_and(|search| forward.key.contains(search))
            };
            filter
                .status
                .is_none_or(|status| status == (&forward.state).into())
                && (by_name || by_key())
        });
        let before = matching.len();
        matching.extend(wanted.map(|forward| (service, forward)));
        let added = matching[before..].iter().map(|(_, forward)| *forward);
        if matching.len() > before {
            summary.add_forwards(service, added, &meters);
        }
    }
    let forwards: Vec<Forward> = matching
        .into_iter()
        .skip(filter.offset.map_or(0, Number::get))
        .take(filter.limit.map_or(usize::MAX, Number::get))
        .map(|(service, forward)| Forward::new(service, forward, &meters))
        .collect();
    let count = forwards.len();
    Envelope::list(ForwardList { forwards, summary }, count)
}

/// Get a forward
///
/// The key is `service.namespace.context.pod.localPort`; `pod.namespace.context`, `pod.service.namespace.context` and
/// `service.namespace.context` lead to the first that matches.
#[utoipa::path(get, path = "/api/v1/forwards/{key}", tag = "Forwards", params(
    ("key" = String, Path, description = "Key of the forward", example = "api.shop.kind.api-6f.80"),
), responses(
    (status = 200, description = "The forward", body = Envelope<Forward>), Refusals,
))]
pub(crate) async fn get(
    State(face): State<Face>,
    caller: Caller,
    Key(key): Key,
) -> Result<Envelope<Forward>, ApiError> {
    let found = keys::forward(&face.control.view(), &caller, &key)?;
    let meters = face.control.telemetry().meters.read(SystemTime::now());
    Ok(Envelope::new(Forward::new(
        &found.service,
        found.forward(),
        &meters,
    )))
}

/// Requests through a forward
///
/// HTTP requests seen in forwarded bytes, newest first; of all forwards where the key leads to several.
#[utoipa::path(get, path = "/api/v1/forwards/{key}/http", tag = "HTTP Traffic", params(
    ("key" = String, Path, description = "Key of the forward", example = "api.shop.kind"), Count,
), responses(
    (status = 200, description = "The requests", body = Envelope<HttpTraffic>), Refusals,
))]
pub(crate) async fn http(
    State(face): State<Face>,
    caller: Caller,
    Key(key): Key,
    Query(count): Query<Count>,
) -> Result<Envelope<HttpTraffic>, ApiError> {
    let found = keys::forwards(&face.control.view(), &caller, &key)?;
    let log = &face.control.telemetry().http;
    let traffic = match found.as_slice() {
        [one] => HttpTraffic::new(&one.service, one.forward(), log, count.get()),
        several => {
            let uid = several.first().map_or(0, |found| found.service.key.uid);
            let forwards = several.iter().map(keys::FoundForward::forward);
            HttpTraffic::merged(&key, uid, forwards, log, count.get())
        }
    };
    let logged = traffic.logs.len();
    Ok(Envelope::list(traffic, logged))
}
