//! Counters, rates and their history.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::response::{IntoResponse, Response};
use kubefwd_model as model;
use kubefwd_model::duration as time;
use kubefwd_telemetry::history::{MINUTES_KEPT, SECONDS_KEPT};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::envelope::Envelope;
use crate::error::{ApiError, ErrorResponses, Outcome};
use crate::extract::{Call, Key, Number, Query, text};
use crate::types::metrics::{MetricsHistory, MetricsSummary, Sample, ServiceMetrics};
use crate::types::services::Summary;
use crate::{keys, list};

/// The most steps in one answer: an hour of seconds.
const MAX_STEPS: u64 = 3_600;
/// The default step.
const DEFAULT_STEP: u64 = 60;

/// Which time, in which steps.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Window {
    /// How far back, at most a day: `1h`, `30m`, `90s`.
    #[serde(default, deserialize_with = "text")]
    #[param(pattern = "^([1-9](m|h))?$", example = "1h")]
    duration: Option<String>,
    /// Length of a step: `1m`, `5m`, `10s`. Steps that are not whole minutes reach back at most an hour.
    #[serde(default, deserialize_with = "text")]
    #[param(pattern = "^([1-5]m)?$", example = "1m")]
    interval: Option<String>,
    /// Only the last N steps; without other parameters, N seconds.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 3600, example = 60)]
    points: Option<Number<1, 3600>>,
}

// === impl Window ===

impl Window {
    /// Length of a step in seconds, and how many.
    fn steps(&self) -> Result<(u64, u64), ApiError> {
        let most = self.points.map_or(u64::MAX, |points| points.get() as u64);
        if self.points.is_some() && self.duration.is_none() && self.interval.is_none() {
            return Ok((1, most));
        }
        let duration = seconds("duration", self.duration.as_deref(), SECONDS_KEPT)?;
        let step = seconds(
            "interval",
            self.interval.as_deref(),
            DEFAULT_STEP.min(duration),
        )?;
        let kept = if step.is_multiple_of(60) {
            MINUTES_KEPT
        } else {
            SECONDS_KEPT
        };
        if duration > kept {
            let kept = time::long(Duration::from_secs(kept));
            let message =
                format!("steps of {step} s are kept for {kept}, but duration is {duration} s");
            return Err(ApiError::bad_request(message)
                .hint("use an interval of whole minutes, for at most 24h"));
        }
        let count = duration.div_ceil(step).min(most);
        if count > MAX_STEPS {
            let message = format!("{count} steps are more than the maximum of {MAX_STEPS}");
            return Err(ApiError::bad_request(message).hint("use a longer interval"));
        }
        Ok((step, count))
    }
}

fn seconds(name: &str, text: Option<&str>, usual: u64) -> Result<u64, ApiError> {
    let Some(text) = text else { return Ok(usual) };
    let found = time::parse(text)
        .map(|duration| duration.as_secs())
        .filter(|seconds| *seconds > 0);
    found.ok_or_else(|| {
        ApiError::bad_request(format!(
            "{name} = {text:?} is not a duration such as \"1h\", \"5m\" or \"30s\""
        ))
    })
}

/// Totals
///
/// Totals over everything that the caller forwards.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "Metrics", responses(
    (status = 200, description = "The sums", body = Envelope<MetricsSummary>), ErrorResponses,
))]
pub(crate) async fn summary(call: Call) -> Envelope<MetricsSummary> {
    let sums = Summary::of(&*call.control, &call.caller);
    let uptime = time::since(call.control.info().started_at);
    Envelope::new(MetricsSummary::new(sums, uptime))
}

/// Metrics of all services
#[utoipa::path(get, path = "/api/v1/metrics/services", tag = "Metrics", responses(
    (status = 200, description = "By service", body = Envelope<Vec<ServiceMetrics<'static>>>), ErrorResponses,
))]
pub(crate) async fn services(call: Call) -> Response {
    let view = call.control.view();
    let telemetry = call.control.telemetry().clone();
    let services: Vec<Arc<model::Service>> = keys::visible(&view, &call.caller).cloned().collect();
    let shell = Envelope::list([(); 0], services.len());
    list::respond(&shell, services, move |service, out| {
        let metrics = ServiceMetrics::new(service, &telemetry.meters.read(SystemTime::now()));
        serde_json::to_writer(out, &metrics)
    })
}

/// Metrics of a service
///
/// With the last minute, second by second.
#[utoipa::path(get, path = "/api/v1/metrics/services/{key}", tag = "Metrics", params(
    ("key" = String, Path, description = "Key of the service", example = "api.shop.kind"),
), responses(
    (status = 200, description = "The metrics", body = Envelope<ServiceMetrics<'static>>), ErrorResponses,
))]
pub(crate) async fn service(call: Call, Key(key): Key) -> Result<Response, ApiError> {
    let found = call.service(&key)?;
    let metrics = ServiceMetrics::with_history(&found.service, &call.meters());
    Ok(Envelope::new(metrics).into_response())
}

/// History of a service
///
/// Traffic per time step, oldest first: an hour in steps of a second, or a day in steps of a minute.
#[utoipa::path(get, path = "/api/v1/metrics/services/{key}/history", tag = "Metrics", params(
    ("key" = String, Path, description = "Key of the service", example = "api.shop.kind"), Window,
), responses(
    (status = 200, description = "The steps", body = Envelope<MetricsHistory>), ErrorResponses,
))]
pub(crate) async fn history(
    call: Call,
    Key(key): Key,
    Query(window): Query<Window>,
) -> Outcome<MetricsHistory> {
    let (step, steps) = window.steps()?;
    let found = call.service(&key)?;
    let buckets = call.meters().history(&found.service.key, step, steps);
    let history: Vec<Sample> = buckets
        .into_iter()
        .map(|bucket| Sample::new(bucket, step))
        .collect();
    let count = history.len();
    Ok(Envelope::list(MetricsHistory { key, history }, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(query: &str) -> Result<(u64, u64), String> {
        let uri = format!("http://h/?{query}").parse().unwrap();
        let window = axum::extract::Query::<Window>::try_from_uri(&uri);
        let window = window.map_err(|error| error.body_text())?;
        window.0.steps().map_err(|error| error.body.message)
    }

    #[test]
    fn a_window_is_read_as_the_page_has_it() {
        assert_eq!(window(""), Ok((60, 60)));
        assert_eq!(window("duration=1h"), Ok((60, 60)));
        assert_eq!(window("duration=30m&interval=5m"), Ok((300, 6)));
        assert_eq!(window("duration=1d&interval=1m"), Ok((60, 1_440)));
        assert_eq!(window("duration=30s"), Ok((30, 1)));
        assert_eq!(window("points=60"), Ok((1, 60)));
        assert_eq!(window("points=6&duration=1h"), Ok((60, 6)));
    }

    #[test]
    fn what_is_not_kept_is_refused() {
        for query in [
            "duration=25h",
            "duration=2h&interval=7s",
            "duration=x",
            "interval=0s",
            "points=3601",
        ] {
            assert!(window(query).is_err(), "{query}");
        }
    }
}
