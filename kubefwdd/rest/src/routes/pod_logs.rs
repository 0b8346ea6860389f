//! Logs of pods: read as a whole, or followed.

use std::time::{Duration, SystemTime};

use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt, unfold};
use jiff::Timestamp;
use kubefwd_model::Failure;
use kubefwd_model::discovery::LogPart;
use kubefwd_model::text::clean;
use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::kubernetes::{InContext, checked, context};
use super::pods::{label, pod_name};
use crate::control::{LogQuery, LogStream};
use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses};
use crate::extract::{Call, Key, Number, Query, switch, text};
use crate::sse;
use crate::types::pods::{PodLogLine, PodLogs};

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
        InContext, LogFilter,
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
    call: Call,
    Key((namespace, pod)): Key<(String, String)>,
    Query(place): Query<InContext>,
    Query(filter): Query<LogFilter>,
) -> Result<Response, ApiError> {
    label(filter.container.as_deref())?;
    let context = context(place.context)?;
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
    let mut parts = call
        .control
        .logs(&call.caller, context.clone(), query)
        .await?;
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
    let parts = stream::iter(first.map(Ok)).chain(parts).boxed();
    Ok(follow(parts, call.stop))
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

/// The lines as they come. When the client leaves, the question to the worker is dropped, which ends it there.
fn follow(parts: LogStream, stop: CancellationToken) -> Response {
    let events = unfold(Some((parts, stop)), |following| async {
        let (mut parts, stop) = following?;
        let part = tokio::select! {
            () = stop.cancelled() => return None,
            part = parts.next() => part,
        };
        let goes_on = matches!(part, Some(Ok(_))).then_some((parts, stop));
        Some((stream::iter(events_of(part)), goes_on))
    });
    sse::respond(events.flatten())
}

fn events_of(part: Option<Result<LogPart, Failure>>) -> Vec<Event> {
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
        Some(Err(failure)) => vec![sse::unnumbered("error", &ApiError::from(failure).body)],
        None => vec![Event::default().event("end").data("{}")],
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
