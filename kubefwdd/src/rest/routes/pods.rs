//! Pods of a cluster and their logs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use jiff::Timestamp;
use kubefwd_model as model;
use kubefwd_model::{ContextName, DnsLabel, Failure, PodName};
use kubefwd_proto::convert::timestamp;
use kubefwd_proto::worker::v1::{self as wire, answer::Answer as Content, query::Question};
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::kubernetes::{InContext, access, ask, checked, namespace_key, odd, resolved};

use crate::rest::Face;
use crate::rest::envelope::{ApiError, Envelope, Refusals};
use crate::rest::extract::{Caller, Keys, Number, Query, switch, text};
use crate::rest::sse;
use crate::rest::types::pods::{Pod, PodDetail, PodLogLine, PodLogs};
use crate::rest::wait::services_of;
use crate::workers::Answers;
use kubefwd_core::policy::Actor;
use kubefwd_core::state::View;

/// How often a quiet stream says that it is alive.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long a log may take to be read.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most lines in one answer.
const MOST_LINES: usize = 10_000;

/// Which pods.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// A context of the caller's kubeconfig; default: the current one.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "minikube")]
    context: Option<String>,
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

/// Which lines.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct LogFilter {
    /// A context of the caller's kubeconfig; default: the current one.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "minikube")]
    context: Option<String>,
    /// The container; default: the only or first one.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "api", pattern = "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$")]
    container: Option<String>,
    /// Number of lines from the end.
    #[serde(alias = "tail_lines")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000, default = 100, example = 100)]
    tail_lines: Option<Number<1, 10_000>>,
    /// Only lines after this time.
    #[serde(default, alias = "since_time", deserialize_with = "moment")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-15T10:30:00Z")]
    since_time: Option<SystemTime>,
    /// The log of the previous container.
    #[serde(default, deserialize_with = "switch")]
    #[param(value_type = Option<bool>)]
    previous: bool,
    /// Prefix each line with its time.
    #[serde(default, deserialize_with = "switch")]
    #[param(value_type = Option<bool>)]
    timestamps: bool,
    /// Follow the log, as server-sent events.
    #[serde(default, deserialize_with = "switch")]
    #[param(value_type = Option<bool>)]
    follow: bool,
}

/// Pods of a namespace
#[utoipa::path(
    get, path = "/api/v1/kubernetes/pods/{namespace}", tag = "Kubernetes Discovery",
    params(("namespace" = String, Path, description = "The namespace", example = "default"), Filter),
    responses((status = 200, description = "The pods", body = Envelope<Vec<Pod>>), Refusals),
)]
pub(crate) async fn list(
    State(face): State<Face>,
    caller: Caller,
    Keys(namespace): Keys<String>,
    Query(filter): Query<Filter>,
) -> Result<Envelope<Vec<Pod>>, ApiError> {
    let access = access(filter.context);
    label(filter.service_name.as_deref())?;
    let mut selectors = filter.label_selector.iter().chain(&filter.field_selector);
    if selectors.any(|selector| selector.contains(char::is_control)) {
        return Err(ApiError::bad_request(
            "a selector contains a control character",
        ));
    }
    let question = Question::Pods(wire::ListPodsQuery {
        namespace: checked(&namespace)?,
        name: String::new(),
        label_selector: filter.label_selector.unwrap_or_default(),
        field_selector: filter.field_selector.unwrap_or_default(),
        service: filter.service_name.unwrap_or_default(),
    });
    let Content::Pods(mut answer) = ask(&face, &caller, &access, question).await? else {
        return Err(odd());
    };
    answer.pods.sort_by(|a, b| a.name.cmp(&b.name));
    let context = resolved(&face, &caller, &access).await;
    let view = face.control.view();
    let forwards = Forwards::new(&view, &caller, context.as_ref(), &namespace);
    let pod = |pod: wire::KubePod| {
        let forward = forwards.to(&pod.name);
        Pod::new(pod, forward)
    };
    let pods: Vec<Pod> = answer.pods.into_iter().map(pod).collect();
    let count = pods.len();
    Ok(Envelope::list(pods, count))
}

/// A pod
#[utoipa::path(
    get, path = "/api/v1/kubernetes/pods/{namespace}/{pod}", tag = "Kubernetes Discovery",
    params(
        ("namespace" = String, Path, description = "The namespace", example = "default"),
        ("pod" = String, Path, description = "The pod", example = "api-6f"),
        InContext,
    ),
    responses((status = 200, description = "The pod", body = Envelope<PodDetail>), Refusals),
)]
pub(crate) async fn get(
    State(face): State<Face>,
    caller: Caller,
    Keys((namespace, name)): Keys<(String, String)>,
    Query(query): Query<InContext>,
) -> Result<Envelope<PodDetail>, ApiError> {
    let access = access(query.context);
    let question = Question::Pods(wire::ListPodsQuery {
        namespace: checked(&namespace)?,
        name: pod_name(&name)?,
        ..Default::default()
    });
    let Content::Pods(answer) = ask(&face, &caller, &access, question).await? else {
        return Err(odd());
    };
    let pod = answer.pods.into_iter().find(|pod| pod.name == name);
    let pod =
        pod.ok_or_else(|| ApiError::not_found(format!("namespace {namespace} has no pod {name}")))?;
    let context = resolved(&face, &caller, &access).await;
    let view = face.control.view();
    let forward = Forwards::new(&view, &caller, context.as_ref(), &namespace).to(&name);
    let context = context
        .map(|context| context.to_string())
        .unwrap_or_default();
    Ok(Envelope::new(PodDetail::new(pod, context, forward)))
}

/// Log of a pod
///
/// The last lines of a container, oldest first. With `follow=true` server-sent events of type `log`, one for each line, and
/// at the end one of type `end` (or `error`, with what went wrong).
#[utoipa::path(
    get, path = "/api/v1/kubernetes/pods/{namespace}/{pod}/logs", tag = "Kubernetes Discovery",
    params(
        ("namespace" = String, Path, description = "The namespace", example = "default"),
        ("pod" = String, Path, description = "The pod", example = "api-6f"),
        LogFilter,
    ),
    responses(
        (status = 200, description = "The lines", content(
            (Envelope<PodLogs> = "application/json"),
            (String = "text/event-stream", example = "event: log\ndata: {\"containerName\":\"api\",\"line\":\"ready\"}\n\n"),
        )),
        Refusals,
    ),
)]
pub(crate) async fn logs(
    State(face): State<Face>,
    caller: Caller,
    Keys((namespace, pod)): Keys<(String, String)>,
    Query(filter): Query<LogFilter>,
) -> Result<Response, ApiError> {
    label(filter.container.as_deref())?;
    let context = filter.context.clone().unwrap_or_default();
    let tail = filter.tail_lines.map_or(100, Number::get);
    let question = Question::Logs(wire::PodLogsQuery {
        namespace: checked(&namespace)?,
        pod: pod_name(&pod)?,
        container: filter.container.unwrap_or_default(),
        tail_lines: u32::try_from(tail).unwrap_or(u32::MAX),
        since_time: filter.since_time.map(timestamp),
        previous: filter.previous,
        timestamps: filter.timestamps,
        follow: filter.follow,
    });
    let mut answers = face
        .control
        .ask(&caller, &access(filter.context), question)
        .await?;
    // What cannot be followed is refused with a status; only then does the stream begin.
    let first = tokio::time::timeout(PATIENCE, answers.next()).await;
    let first =
        first.map_err(|_| ApiError::unavailable("the cluster did not send the log in time"))?;
    if filter.follow {
        let first = first.transpose()?;
        return Ok(follow(first, answers, face.stop.clone()));
    }
    let mut logs = PodLogs {
        pod_name: pod,
        namespace,
        context,
        container_name: String::new(),
        logs: Vec::new(),
        line_count: 0,
        truncated: false,
    };
    let mut part = first;
    while let Some(answer) = part {
        let Content::Logs(answer) = answer? else {
            return Err(odd());
        };
        logs.container_name = answer.container;
        logs.truncated |= answer.truncated;
        let room = MOST_LINES.saturating_sub(logs.logs.len());
        logs.truncated |= answer.lines.len() > room;
        logs.logs.extend(answer.lines.into_iter().take(room));
        let next = tokio::time::timeout(PATIENCE, answers.next()).await;
        part =
            next.map_err(|_| ApiError::unavailable("the cluster did not send the log in time"))?;
    }
    logs.line_count = logs.logs.len();
    let count = logs.line_count;
    Ok(Envelope::list(logs, count).into_response())
}

struct Following {
    first: Option<Content>,
    answers: Answers,
    quiet_until: Instant,
    stop: CancellationToken,
    over: bool,
}

/// The lines as they come. When the client leaves, the question to the worker is dropped, which ends it there.
fn follow(first: Option<Content>, answers: Answers, stop: CancellationToken) -> Response {
    let quiet_until = Instant::now() + KEEPALIVE;
    let over = first.is_none();
    let following = Following {
        first,
        answers,
        quiet_until,
        stop,
        over,
    };
    let connected = futures_util::stream::iter([Ok(Bytes::from_static(b": connected\n\n"))]);
    let lines = unfold(following, |mut following| async move {
        let frame = following.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(frame)), following))
    });
    sse::respond(futures_util::StreamExt::chain(connected, lines))
}

// === impl Following ===

impl Following {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(self.part(Ok(first)));
        }
        if self.over {
            return None;
        }
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = sleep_until(self.quiet_until) => {
                self.quiet_until = Instant::now() + KEEPALIVE;
                Some(": keepalive\n\n".to_owned())
            }
            answer = self.answers.next() => Some(match answer {
                Some(answer) => self.part(answer),
                None => {
                    self.over = true;
                    "event: end\ndata: {}\n\n".to_owned()
                }
            }),
        }
    }

    fn part(&mut self, answer: Result<Content, Failure>) -> String {
        self.quiet_until = Instant::now() + KEEPALIVE;
        match answer {
            Ok(Content::Logs(logs)) => {
                let container_name = logs.container.as_str();
                let lines = logs.lines.iter().map(|line| PodLogLine {
                    container_name,
                    line,
                });
                lines.map(|line| sse::unnumbered("log", &line)).collect()
            }
            Ok(_) => {
                self.over = true;
                sse::unnumbered("error", &odd().problem)
            }
            Err(failure) => {
                self.over = true;
                sse::unnumbered("error", &ApiError::from(failure).problem)
            }
        }
    }
}

/// The forwards of one namespace, to be looked up by pod.
struct Forwards<'a>(Vec<&'a Arc<model::Service>>);

// === impl Forwards ===

impl<'a> Forwards<'a> {
    fn new(view: &'a View, caller: &Actor, context: Option<&ContextName>, namespace: &str) -> Self {
        let key = namespace_key(caller, context, namespace);
        Self(
            key.map(|key| services_of(view, &key).collect())
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
fn label(name: Option<&str>) -> Result<(), ApiError> {
    match name.map(DnsLabel::parse) {
        Some(Err(error)) => Err(ApiError::bad_request(error.to_string())),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn pod_name(name: &str) -> Result<String, ApiError> {
    let parsed = PodName::parse(name);
    parsed
        .map(String::from)
        .map_err(|error| ApiError::bad_request(error.to_string()))
}

/// A time in RFC 3339.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let Some(text) = text(deserializer)? else {
        return Ok(None);
    };
    let time: Timestamp = text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "{text:?} is not a time such as 2026-01-15T10:30:00Z"
        ))
    })?;
    Ok(Some(time.into()))
}
