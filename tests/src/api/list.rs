//! GET of one object and of lists: selectors, pages, versions, and the forms they are answered in.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::accept::{Form, negotiate};
use super::respond::{Answer, json, status};
use super::uri::{Query, ResourcePath};
use super::{table, watch};
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::state::State;
use crate::status::Status;
use crate::store::{Object, Snapshot, VersionError};

/// Label and field selectors of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    labels: Selector,
    fields: Selector,
    /// Whether the field selector needs more than name and namespace.
    deep: bool,
}

impl Filter {
    pub(crate) fn of(query: &Query, kind: Kind) -> Result<Self, Status> {
        let labels = Selector::labels(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let fields = Selector::fields(query.get("fieldSelector").unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let mut deep = false;
        for key in fields.keys() {
            if matches!(key, "metadata.name" | "metadata.namespace") {
                continue;
            }
            if !selectable(kind).contains(&key) {
                return Err(Status::bad_request(format!(
                    "field label not supported: {key}"
                )));
            }
            deep = true;
        }
        Ok(Self {
            labels,
            fields,
            deep,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn selects(&self, object: &Object) -> bool {
        if !self.labels.matches(|key| object.label(key)) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        let value = if self.deep {
            object.value()
        } else {
            serde_json::Value::Null
        };
        self.fields.matches(|key| match key {
            "metadata.name" => Some(object.key.1.as_str()),
            "metadata.namespace" => Some(object.key.0.as_str()),
            path => {
                let pointer = format!("/{}", path.replace('.', "/"));
                Some(
                    value
                        .pointer(&pointer)
                        .and_then(|v| v.as_str())
                        .unwrap_or(""),
                )
            }
        })
    }
}

/// The fields beside name and namespace that a kind can be selected by.
fn selectable(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        Kind::Service => &["spec.clusterIP", "spec.type"],
        Kind::Namespace => &["status.phase"],
        Kind::Node => &["spec.unschedulable"],
        Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "reason",
            "reportingComponent",
            "type",
        ],
        Kind::Endpoints | Kind::EndpointSlice => &[],
    }
}

/// Answers a GET.
pub(crate) async fn answer(
    state: &Arc<State>,
    request: &Request<Incoming>,
    kind: Kind,
    target: &ResourcePath,
    query: &Query,
    verb: &str,
) -> Answer {
    let form = match negotiate(request.headers(), false) {
        Ok(form) => form,
        Err(refusal) => return status(&refusal),
    };
    let answer = if let Some(name) = &target.name {
        get(state, kind, target, name, form, query)
    } else {
        match Filter::of(query, kind) {
            Err(refusal) => status(&refusal),
            Ok(filter) if verb == "watch" => {
                let namespace = target.namespace.clone();
                watch::answer(state, kind, namespace, filter, form, query)
            }
            Ok(filter) => list(state, kind, target, &filter, form, query).await,
        }
    };
    with_warning(answer, kind)
}

fn with_warning(mut answer: Answer, kind: Kind) -> Answer {
    if kind == Kind::Endpoints && answer.status().is_success() {
        answer.headers_mut().insert(
            http::header::WARNING,
            http::HeaderValue::from_static(
                "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"",
            ),
        );
    }
    answer
}

fn get(
    state: &State,
    kind: Kind,
    target: &ResourcePath,
    name: &str,
    form: Form,
    query: &Query,
) -> Answer {
    let namespace = target.namespace.clone().unwrap_or_default();
    let Some(object) = state.store.get(kind, &(namespace, name.to_owned())) else {
        return status(&Status::not_found(kind.group(), kind.plural(), name));
    };
    let mut out = Vec::new();
    match form {
        Form::Table => table::write(
            kind,
            &object.version.to_string(),
            None,
            std::slice::from_ref(&object),
            include_object(query),
            true,
            &mut out,
        ),
        Form::Metadata => table::write_metadata(&object, &mut out),
        Form::Objects | Form::AggregatedDiscovery => object.write_full(kind, &mut out),
    }
    json(StatusCode::OK, out)
}

/// Which part of the objects a Table carries.
pub(crate) fn include_object(query: &Query) -> table::Include {
    match query.get("includeObject") {
        Some("None") => table::Include::Nothing,
        Some("Object") => table::Include::Object,
        _ => table::Include::Metadata,
    }
}

/// What a `continue` token holds.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    v: String,
    rv: u64,
    start: String,
}

async fn list(
    state: &Arc<State>,
    kind: Kind,
    target: &ResourcePath,
    filter: &Filter,
    form: Form,
    query: &Query,
) -> Answer {
    let namespace = target.namespace.as_deref();
    let token = match query.get("continue").map(parse_token).transpose() {
        Ok(token) => token,
        Err(refusal) => return status(&refusal),
    };
    let snapshot = match (&token, query.get("resourceVersion")) {
        (Some(token), _) => match state.store.list_at(kind, namespace, token.rv) {
            Ok(snapshot) => snapshot,
            Err(_) => {
                let fresh = write_token(state.store.version(), &token.start);
                return status(&Status::expired_continue(fresh));
            }
        },
        (None, Some(version)) => {
            let exact = query.get("resourceVersionMatch") == Some("Exact");
            match at_version(state, kind, namespace, version, exact).await {
                Ok(snapshot) => snapshot,
                Err(refusal) => return status(&refusal),
            }
        }
        (None, None) => state.store.list(kind, namespace),
    };
    let version = snapshot.version;
    let mut objects = snapshot.objects;
    if !filter.is_empty() {
        objects.retain(|object| filter.selects(object));
    }
    if let Some(token) = &token {
        objects.retain(|object| position(object) > token.start);
    }
    let mut page = None;
    if let Some(limit) = query.number("limit").filter(|limit| *limit > 0) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if objects.len() > limit {
            let left = objects.len() - limit;
            objects.truncate(limit);
            let start = objects.last().map(|o| position(o)).unwrap_or_default();
            // With a selector the server does not know how many are left.
            page = Some((
                write_token(version, &start),
                filter.is_empty().then_some(left),
            ));
        }
    }
    let mut out = Vec::new();
    let version = version.to_string();
    match form {
        Form::Table => table::write(
            kind,
            &version,
            page.as_ref(),
            &objects,
            include_object(query),
            true,
            &mut out,
        ),
        Form::Metadata => table::write_metadata_list(&version, page.as_ref(), &objects, &mut out),
        Form::Objects | Form::AggregatedDiscovery => {
            write_list(kind, &version, page.as_ref(), &objects, &mut out);
        }
    }
    json(StatusCode::OK, out)
}

/// The place of an object in the order of lists.
fn position(object: &Object) -> String {
    format!("{}/{}", object.key.0, object.key.1)
}

fn parse_token(text: &str) -> Result<Continue, Status> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| {
            Status::bad_request(
                "continue key is not valid: illegal base64 data or not a continue token",
            )
        })
}

fn write_token(rv: u64, start: &str) -> String {
    let token = Continue {
        v: "meta.k8s.io/v1".to_owned(),
        rv,
        start: start.to_owned(),
    };
    URL_SAFE_NO_PAD.encode(crate::json::compact(&token))
}

/// The objects at a version: exactly then, or not older than that, waiting a little for versions of the future.
async fn at_version(
    state: &State,
    kind: Kind,
    namespace: Option<&str>,
    version: &str,
    exact: bool,
) -> Result<Snapshot, Status> {
    let asked: u64 = version
        .parse()
        .map_err(|_| Status::bad_request(format!("invalid resource version \"{version}\"")))?;
    if asked > state.store.version() {
        let mut changes = state.store.subscribe(kind);
        let caught_up = async {
            while state.store.version() < asked {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _waited = tokio::time::timeout(state.timing.future_version_wait, caught_up).await;
        let current = state.store.version();
        if current < asked {
            return Err(Status::too_large_version(asked, current));
        }
    }
    if !exact {
        return Ok(state.store.list(kind, namespace));
    }
    state
        .store
        .list_at(kind, namespace, asked)
        .map_err(|error| match error {
            VersionError::TooOld { .. } => Status::expired_list(),
            VersionError::TooLarge { current } => Status::too_large_version(asked, current),
        })
}

/// `continue` and the number of items left, where it is known.
pub(crate) type Page = (String, Option<usize>);

/// `"metadata":{…}` of a list.
pub(crate) fn write_list_metadata(version: &str, page: Option<&Page>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\"metadata\":{{\"resourceVersion\":\"{version}\"").as_bytes());
    if let Some((token, left)) = page {
        out.extend_from_slice(format!(",\"continue\":\"{token}\"").as_bytes());
        if let Some(left) = left {
            out.extend_from_slice(format!(",\"remainingItemCount\":{left}").as_bytes());
        }
    }
    out.push(b'}');
}

fn write_list(
    kind: Kind,
    version: &str,
    page: Option<&Page>,
    objects: &[Arc<Object>],
    out: &mut Vec<u8>,
) {
    let size: usize = objects.iter().map(|object| object.item().len() + 1).sum();
    out.reserve(size + 200);
    out.extend_from_slice(
        format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",",
            kind.name(),
            kind.api_version()
        )
        .as_bytes(),
    );
    write_list_metadata(version, page, out);
    out.extend_from_slice(b",\"items\":[");
    for (n, object) in objects.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(object.item());
    }
    out.extend_from_slice(b"]}");
}
