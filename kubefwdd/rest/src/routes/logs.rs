//! The daemon's log.

use axum::response::Response;
use http::HeaderMap;
use kubefwd_core::policy::{self, Actor, Verb};
use kubefwd_telemetry::events::Logged;
use kubefwd_telemetry::logs::LogLine;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses, Outcome};
use crate::extract::{Call, Number, Query, text};
use crate::sse;
use crate::types::logs::{Cleared, Log, LogLevel, LogList, SystemLogs};

/// Which lines.
#[derive(Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 5000, default = 100, example = 50)]
    count: Option<Number<1, 5000>>,
    /// Only this level or higher.
    #[param(inline)]
    level: Option<LogLevel>,
    /// Only lines about the service with this name or key.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "api.shop.kind")]
    service: Option<String>,
}

/// Which lines to follow.
#[derive(Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamFilter {
    /// Only this level or higher.
    #[param(inline)]
    level: Option<LogLevel>,
    /// Only lines about the service with this name or key.
    #[serde(default, deserialize_with = "text")]
    #[param(example = "api.shop.kind")]
    service: Option<String>,
}

/// Which lines of the daemon as a whole.
#[derive(Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SystemFilter {
    /// Maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 5000, default = 100, example = 50)]
    count: Option<Number<1, 5000>>,
    /// Only this level or higher.
    #[param(inline)]
    level: Option<LogLevel>,
}

/// Whether a caller may see a line: it is about nobody in particular, or about one whose forwards they see.
fn visible(actor: &Actor, line: &LogLine) -> bool {
    line.uid.is_none_or(|uid| actor.sees(uid))
}

fn is_about(line: &LogLine, service: &str) -> bool {
    let key = line.service.as_deref().unwrap_or_default();
    key == service
        || key
            .strip_prefix(service)
            .is_some_and(|rest| rest.starts_with('.'))
}

fn matches(line: &LogLine, level: Option<LogLevel>, service: Option<&str>) -> bool {
    level.is_none_or(|level| LogLevel::from(line.level) >= level)
        && service.is_none_or(|service| is_about(line, service))
}

/// Log lines
///
/// Newest first: log lines of the daemon and of the caller's worker.
#[utoipa::path(get, path = "/api/v1/logs", tag = "Logs", params(Filter), responses(
    (status = 200, description = "The lines", body = Envelope<LogList>), ErrorResponses,
))]
pub(crate) async fn list(call: Call, Query(filter): Query<Filter>) -> Envelope<LogList> {
    let wanted = |logged: &Logged<LogLine>| {
        visible(&call.caller, &logged.event)
            && matches(&logged.event, filter.level, filter.service.as_deref())
    };
    let lines = call
        .control
        .telemetry()
        .logs
        .lines()
        .newest_where(filter.count.map_or(100, Number::get), wanted);
    let logs: Vec<Log> = lines
        .iter()
        .map(|logged| Log::from(&logged.event))
        .collect();
    let count = logs.len();
    Envelope::list(LogList { logs }, count)
}

/// Follow log lines
///
/// Server-sent events of type `log`, from now on; with `Last-Event-ID` from after that line.
#[utoipa::path(
    get, path = "/api/v1/logs/stream", tag = "Logs",
    params(StreamFilter, ("Last-Event-ID" = Option<u64>, Header, description = "The last line seen")),
    responses(
        (status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String,
         example = "id: 4\nevent: log\ndata: {\"timestamp\":\"2026-01-15T10:30:00.000Z\",\"level\":\"info\",\"message\":\"ready\"}\n\n"),
        ErrorResponses,
    ),
)]
pub(crate) async fn stream(
    call: Call,
    Query(filter): Query<StreamFilter>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let from = sse::last_event_id(&headers)?;
    let telemetry = call.control.telemetry().clone();
    let caller = call.caller.clone();
    let encode = move |logged: &Logged<LogLine>| {
        let line = &logged.event;
        let wanted =
            visible(&call.caller, line) && matches(line, filter.level, filter.service.as_deref());
        wanted.then(|| sse::numbered(logged.id, "log", &Log::from(line)))
    };
    Ok(sse::follow(
        telemetry,
        |telemetry| telemetry.logs.lines(),
        from,
        caller,
        encode,
        call.stop.clone(),
    ))
}

/// Daemon log lines
///
/// Lines that concern no service, newest first.
#[utoipa::path(
    get, path = "/api/v1/logs/system", tag = "Logs",
    params(SystemFilter),
    responses((status = 200, description = "The lines", body = Envelope<SystemLogs>), ErrorResponses),
)]
pub(crate) async fn system(call: Call, Query(filter): Query<SystemFilter>) -> Envelope<SystemLogs> {
    let ring = &call.control.telemetry().logs;
    let cleared = ring.cleared_by(call.caller.uid());
    let own = |logged: &Logged<LogLine>| {
        logged.id > cleared
            && logged.event.service.is_none()
            && visible(&call.caller, &logged.event)
    };
    let total_count = ring.lines().count_where(own);
    let lines = ring
        .lines()
        .newest_where(filter.count.map_or(100, Number::get), |logged| {
            own(logged) && matches(&logged.event, filter.level, None)
        });
    let logs: Vec<Log> = lines
        .iter()
        .map(|logged| Log::from(&logged.event))
        .collect();
    let count = logs.len();
    Envelope::list(SystemLogs { logs, total_count }, count)
}

/// Clear the daemon log lines
///
/// Hides earlier lines from the caller; others still see them.
#[utoipa::path(
    delete, path = "/api/v1/logs/system", tag = "Logs",
    responses((status = 200, description = "Cleared", body = Envelope<Cleared>), ErrorResponses),
)]
pub(crate) async fn clear(call: Call) -> Outcome<Cleared> {
    policy::authorize(&call.caller, Verb::Change, call.caller.uid())?;
    if let Some(uid) = call.caller.uid() {
        call.control.telemetry().logs.clear_for(uid);
    }
    let message = "earlier lines are now hidden from you";
    Ok(Envelope::new(Cleared {
        cleared: true,
        message,
    }))
}
