//! Logs of pods: read as a whole, or followed.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use jiff::Timestamp;
use kubefwd_model::Failure;
use kubefwd_model::discovery::LogPart;
use kubefwd_model::text::clean;
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::kubernetes::{checked, context};
use super::pods::{label, pod_name};
use crate::ApiState;
use crate::control::{LogQuery, LogStream};
use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses};
use crate::extract::{Caller, Keys, Number, Query, switch, text};
use crate::sse;
use crate::types::pods::{PodLogLine, PodLogs};

/// How often a quiet stream says that it is alive.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long the next part of a log may take.
const LOG_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest name of a container, bytes.
const CONTAINER_NAME: usize = 63;
/// The most lines in one response.
const MOST_LINES: usize = 10_000;
/// The most text in one response, bytes: as much as a worker reads.
const MOST_BYTES: usize = 16 * 1024 * 1024;

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
        ErrorResponses,
    ),
)]
pub(crate) async fn logs(
    State(api): State<ApiState>,
    caller: Caller,
    Keys((namespace, pod)): Keys<(String, String)>,
    Query(filter): Query<LogFilter>,
) -> Result<Response, ApiError> {
    label(filter.container.as_deref())?;
    let context = context(filter.context)?;
    let tail = filter.tail_lines.map_or(100, Number::get);
    let query = LogQuery {
        namespace: checked(&namespace)?,
        pod: pod_name(&pod)?,
        container: filter.container.unwrap_or_default(),
        tail_lines: u32::try_from(tail).unwrap_or(u32::MAX),
        since_time: filter.since_time,
        previous: filter.previous,
        timestamps: filter.timestamps,
        follow: filter.follow,
    };
    let mut parts = api.control.logs(&caller, context.clone(), query).await?;
    if !filter.follow {
        let log = read(parts).await?;
        let count = log.logs.len();
        let logs = PodLogs {
            pod_name: pod,
            namespace,
            context,
            line_count: count,
            log,
        };
        return Ok(Envelope::list(logs, count).into_response());
    }
    // What cannot be followed is refused with a status; only then does the stream begin.
    let first = in_time(&mut parts).await?;
    Ok(follow(first, parts, api.stop.clone()))
}

/// The whole log, as far as one response may hold it. What is beyond that is not asked for any further.
async fn read(mut parts: LogStream) -> Result<LogPart, ApiError> {
    let mut log = LogPart::default();
    let mut size = 0;
    while let Some(part) = in_time(&mut parts).await? {
        log.container_name = part.container_name;
        log.truncated |= part.truncated;
        for line in part.logs {
            size += line.len();
            if log.logs.len() == MOST_LINES || size > MOST_BYTES {
                log.truncated = true;
                return Ok(log);
            }
            log.logs.push(line);
        }
    }
    Ok(log)
}

async fn in_time(parts: &mut LogStream) -> Result<Option<LogPart>, ApiError> {
    match tokio::time::timeout(LOG_TIMEOUT, parts.next()).await {
        Ok(part) => Ok(part.transpose()?),
        Err(_) => Err(ApiError::unavailable(
            "the cluster did not send the log in time",
        )),
    }
}

struct Following {
    first: Option<LogPart>,
    parts: LogStream,
    quiet_until: Instant,
    stop: CancellationToken,
    over: bool,
}

/// The lines as they come. When the client leaves, the question to the worker is dropped, which ends it there.
fn follow(first: Option<LogPart>, parts: LogStream, stop: CancellationToken) -> Response {
    let quiet_until = Instant::now() + KEEPALIVE;
    let following = Following {
        first,
        parts,
        quiet_until,
        stop,
        over: false,
    };
    let connected = futures_util::stream::iter([Ok(Bytes::from_static(b": connected\n\n"))]);
    let lines = unfold(following, |mut following| async move {
        let frame = following.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(frame)), following))
    });
    sse::respond(connected.chain(lines))
}

// === impl Following ===

impl Following {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(self.event(Some(Ok(first))));
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
            part = self.parts.next() => Some(self.event(part)),
        }
    }

    fn event(&mut self, part: Option<Result<LogPart, Failure>>) -> String {
        self.quiet_until = Instant::now() + KEEPALIVE;
        self.over = !matches!(part, Some(Ok(_)));
        match part {
            Some(Ok(part)) => {
                // It is repeated for each line: a worker must not choose how long it is.
                let container_name = &clean(&part.container_name, CONTAINER_NAME);
                let lines = part.logs.iter().map(|line| PodLogLine {
                    container_name,
                    line,
                });
                lines.map(|line| sse::unnumbered("log", &line)).collect()
            }
            Some(Err(failure)) => sse::unnumbered("error", &ApiError::from(failure).body),
            None => "event: end\ndata: {}\n\n".to_owned(),
        }
    }
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
