//! `/metrics`: OpenMetrics text, made from a snapshot whenever it is asked for.
//!
//! `docs/metrics.md` lists the metrics. Services and forwards that were never used have no series of their own.

mod scrape;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap};
use tokio::task::spawn_blocking;

use super::error::ApiError;
use super::extract::Call;
use scrape::Scrape;

/// The newer format, for those who ask for it.
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older one, which everybody reads.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The endpoint.
pub(crate) async fn metrics(call: Call, headers: HeaderMap) -> Result<Response, ApiError> {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    let open = accepted.any(|value| value.contains("application/openmetrics-text"));
    let scrape = Scrape::new(&call);
    // Thousands of series take a while: the runtime has other things to do.
    let written = spawn_blocking(move || {
        let text = scrape.encode()?;
        Ok::<_, fmt::Error>(if open { text } else { classic(&text) })
    });
    match written.await {
        Ok(Ok(text)) => {
            let kind = if open { OPEN } else { CLASSIC };
            Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
        }
        Ok(Err(error)) => Err(ApiError::defect(&format!("cannot write metrics: {error}"))),
        Err(_) => Err(ApiError::unavailable("the daemon is stopping")),
    }
}

/// The same in the older format: there a counter has its whole name everywhere, an info is a gauge, and there are neither
/// units nor an end.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    // The type follows the help, whose name depends on it.
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                text.push_str(&format!("# HELP {name}{ending} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
