//! The API server's request handling: authentication, authorization, faults, routing.

pub(crate) mod accept;
mod apps;
mod discovery;
mod list;
mod logs;
mod protobuf;
pub(crate) mod respond;
mod review;
mod table;
pub(crate) mod uri;
mod watch;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use self::accept::{Form, negotiate};
use self::respond::{Answer, Body, status};
use self::uri::{Query, ResourcePath};
use crate::auth::Identity;
use crate::faults::{RequestEffect, RequestFacts};
use crate::json;
use crate::kinds::Kind;
use crate::portforward;
use crate::state::State;
use crate::status::Status;

/// What is known about the connection a request came on.
pub(crate) struct Peer {
    /// The client certificate, if one was presented.
    pub(crate) certificate: Option<Vec<u8>>,
    /// Cuts the connection and what was upgraded from it.
    pub(crate) cut: CancellationToken,
}

/// The longest request body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// Answers a request.
pub(crate) async fn handle(state: &Arc<State>, request: Request<Incoming>, peer: &Peer) -> Answer {
    let pretty = wants_pretty(&request);
    let mut answer = route(state, request, peer).await;
    state.counters.answer(answer.status().as_u16());
    if pretty {
        make_pretty(&mut answer);
    }
    answer
}

async fn route(state: &Arc<State>, request: Request<Incoming>, peer: &Peer) -> Answer {
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query());
    let target = ResourcePath::parse(&path);
    let method = request.method().clone();
    let resource = target.as_ref().map(ResourcePath::full_resource);
    let verb = match &target {
        Some(target) => target.verb(&method, &query),
        None => non_resource_verb(&method),
    };
    count(state, &method, verb, resource.as_deref(), &path);

    let Some(who) = authenticate(state, request.headers(), peer) else {
        return status(&Status::unauthorized());
    };
    let facts = RequestFacts {
        method: method.as_str(),
        path: &path,
        resource: resource.as_deref().unwrap_or_default(),
        verb,
        user: &who.user,
    };
    match state.requests.take(facts) {
        None => {}
        Some(RequestEffect::Delay(pause)) => tokio::time::sleep(pause).await,
        Some(RequestEffect::Hang) => std::future::pending().await,
        Some(RequestEffect::Close) => {
            peer.cut.cancel();
            std::future::pending().await
        }
        Some(RequestEffect::Answer(code)) => {
            return injected(code, &who, verb, target.as_ref());
        }
    }
    match target {
        Some(target) => {
            let long_running = verb == "watch" || target.subresource.is_some();
            let answer = resources(state, request, target, &query, verb, &who, peer).await;
            with_flow_headers(answer, !long_running || verb == "watch")
        }
        None => with_flow_headers(paths(state, &request, &path, verb, &who), true),
    }
}

fn count(state: &State, method: &Method, verb: &str, resource: Option<&str>, path: &str) {
    let what = match (verb, resource) {
        ("watch", Some(resource)) => format!("WATCH {resource}"),
        ("list", Some(resource)) => format!("LIST {resource}"),
        (_, Some(resource)) => format!("{method} {resource}"),
        (_, None) => format!("{method} {path}"),
    };
    state.counters.request(what);
}

fn non_resource_verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "post",
        Method::PUT => "put",
        Method::DELETE => "delete",
        _ => "get",
    }
}

/// A bearer token decides before the client certificate; without either the request is anonymous.
fn authenticate(state: &State, headers: &HeaderMap, peer: &Peer) -> Option<Identity> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = value.to_str().ok()?.strip_prefix("Bearer ")?;
        return state.access.identify(token.trim());
    }
    match &peer.certificate {
        Some(certificate) => state.authority.identify(certificate),
        None => Some(Identity::anonymous()),
    }
}

fn injected(code: u16, who: &Identity, verb: &str, target: Option<&ResourcePath>) -> Answer {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    status(&match (code.as_u16(), target) {
        (401, _) => Status::unauthorized(),
        (403, Some(target)) => forbidden(who, verb, target),
        (404, Some(target)) => match &target.name {
            Some(name) => Status::not_found(&target.group, &target.resource, name),
            None => Status::no_such_resource(),
        },
        (404, None) => Status::no_such_resource(),
        (429, _) => Status::too_many_requests(),
        _ => Status::server_error(code),
    })
}

fn forbidden(who: &Identity, verb: &str, target: &ResourcePath) -> Status {
    Status::forbidden(
        who,
        verb,
        &target.group,
        &target.full_resource(),
        target.name.as_deref(),
        target.namespace.as_deref(),
    )
}

/// Requests that name no resource: version, health, discovery.
fn paths(
    state: &Arc<State>,
    request: &Request<Incoming>,
    path: &str,
    verb: &str,
    who: &Identity,
) -> Answer {
    if !state.access.allows_path(who, path) {
        return status(&Status::forbidden_path(who, verb, path));
    }
    if request.method() != Method::GET {
        return status(&Status::method_not_allowed());
    }
    match negotiate(request.headers(), true) {
        Err(refusal) => status(&refusal),
        Ok(form) => discovery::answer(
            state.flavour.read().minor,
            path,
            form == Form::AggregatedDiscovery,
        ),
    }
}

/// Requests for stored objects and subresources.
async fn resources(
    state: &Arc<State>,
    request: Request<Incoming>,
    target: ResourcePath,
    query: &Query,
    verb: &'static str,
    who: &Identity,
    peer: &Peer,
) -> Answer {
    if let Some(refusal) = refused(state, who, &target, verb, &request) {
        return refusal;
    }
    let review = target.resource == "selfsubjectaccessreviews"
        || target.resource == "selfsubjectrulesreviews";
    if target.group == "authorization.k8s.io" && review {
        return match body(request).await {
            Ok(body) => review::answer(state, who, &target, &body),
            Err(refusal) => status(&refusal),
        };
    }
    if apps::is_about(&target) {
        let method = request.method().clone();
        return match body(request).await {
            Ok(body) => apps::answer(state, &method, &target, &body),
            Err(refusal) => status(&refusal),
        };
    }
    let Some(kind) = target.kind() else {
        return unknown(&target);
    };
    match (kind, target.subresource.as_deref()) {
        (Kind::Pod, Some("portforward")) => {
            let (namespace, name) = (target.namespace.as_deref(), target.name.as_deref());
            let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
            portforward::handle(state, request, namespace, name, &peer.cut)
        }
        (Kind::Pod, Some("log")) => logs::answer(state, &target, query),
        (_, Some(_)) => status(&Status::no_such_resource()),
        (_, None) => match *request.method() {
            Method::GET | Method::HEAD => {
                list::answer(state, &request, kind, &target, query, verb).await
            }
            Method::POST => match body(request).await {
                Ok(body) => write::create(state, kind, &target, &body),
                Err(refusal) => status(&refusal),
            },
            Method::PATCH => match body(request).await {
                Ok(body) => write::apply(state, kind, &target, &body),
                Err(refusal) => status(&refusal),
            },
            Method::DELETE => write::delete(state, kind, &target),
            _ => status(&Status::method_not_allowed()),
        },
    }
}

/// The refusal of the authorizer, if it refuses.
fn refused(
    state: &State,
    who: &Identity,
    target: &ResourcePath,
    verb: &'static str,
    request: &Request<Incoming>,
) -> Option<Answer> {
    let resource = target.full_resource();
    // `GET /api/v1/namespaces/NAME` is authorized in that namespace.
    let namespace = match (&target.namespace, target.kind()) {
        (Some(namespace), _) => namespace.as_str(),
        (None, Some(Kind::Namespace)) => target.name.as_deref().unwrap_or_default(),
        (None, _) => "",
    };
    if !state.access.allows(who, verb, &resource, namespace) {
        let mut refused = target.clone();
        if refused.namespace.is_none() && !namespace.is_empty() {
            refused.namespace = Some(namespace.to_owned());
        }
        return Some(status(&forbidden(who, verb, &refused)));
    }
    let websocket_forward = resource == "pods/portforward"
        && verb == "get"
        && request
            .headers()
            .get(http::header::UPGRADE)
            .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && state.flavour.read().websocket_needs_create;
    (websocket_forward && !state.access.allows(who, "create", &resource, namespace))
        .then(|| status(&forbidden(who, "create", target)))
}

/// Unknown groups are answered by the mux in plain text, unknown resources of known groups with a Status.
fn unknown(target: &ResourcePath) -> Answer {
    if discovery::knows(&target.group, &target.version) {
        return status(&Status::no_such_resource());
    }
    let mut response = respond::api(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        Body::Whole(Some(Bytes::from_static(b"404 page not found\n"))),
    );
    response.headers_mut().insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Status> {
    let limited = http_body_util::Limited::new(request.into_body(), MAX_BODY);
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(Status::bad_request(format!(
            "the request body cannot be read: {error}"
        ))),
    }
}

/// The headers of API priority and fairness, which long-running requests do not pass; 401 comes before it.
fn with_flow_headers(mut answer: Answer, classified: bool) -> Answer {
    if classified && answer.headers().contains_key("audit-id") {
        let headers = answer.headers_mut();
        headers.insert(
            HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
            HeaderValue::from_static("6ee45a56-d21a-4e33-b4b3-b7733b843de0"),
        );
        headers.insert(
            HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
            HeaderValue::from_static("dc9ef84e-11ae-4f21-905b-e5b4134dadad"),
        );
    }
    answer
}

/// The API server indents for people: on request, for curl, wget and browsers.
fn wants_pretty(request: &Request<Incoming>) -> bool {
    let query = Query::parse(request.uri().query());
    match query.get("pretty") {
        Some(value) => matches!(value, "true" | "1"),
        None => request
            .headers()
            .get(USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .is_some_and(|agent| {
                ["curl", "Wget", "Mozilla/5.0"]
                    .iter()
                    .any(|known| agent.starts_with(known))
            }),
    }
}

fn make_pretty(answer: &mut Answer) {
    let is_json = answer
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    if let (true, Body::Whole(Some(body))) = (is_json, answer.body_mut()) {
        *body = json::pretty(body).into();
    }
}
