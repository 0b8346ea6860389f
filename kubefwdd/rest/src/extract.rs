//! What handlers take from a request, with every mistake answered in the envelope.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::StatusCode;
use http::request::Parts;
use kubefwd_core::policy::{Actor, Via};
use kubefwd_telemetry::meters::Reading;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;

use super::ApiState;
use super::control::Control;
use super::error::{ApiError, Code};
use super::keys::{self, FoundService};

/// The largest body of a request, bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What every handler needs: the daemon, and the user who sent the request.
pub(crate) struct Call {
    /// The daemon.
    pub(crate) control: Arc<dyn Control>,
    /// The user, as the guard found.
    pub(crate) caller: Actor,
    /// Cancelled when REST stops: streams end.
    pub(crate) stop: CancellationToken,
}

/// Parameters of the path, decoded; usually it is one key.
pub(crate) struct Key<T = String>(pub(crate) T);

/// The query, in either spelling of its names.
pub(crate) struct Query<T>(pub(crate) T);

/// A JSON body, in either spelling of its names.
pub(crate) struct Body<T>(pub(crate) T);

// === impl Call ===

impl Call {
    /// The service, or the pod of a headless one, that a key selects.
    pub(crate) fn service(&self, key: &str) -> Result<FoundService, ApiError> {
        keys::service(&self.control.view(), &self.caller, key)
    }

    /// The meters as they are now. Nothing can be counted while they are held.
    pub(crate) fn meters(&self) -> Reading<'_> {
        self.control.telemetry().meters.read(SystemTime::now())
    }
}

impl FromRequestParts<ApiState> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Infallible> {
        // Without the guard nobody is known, and nobody may do anything.
        let caller = parts.extensions.get::<Actor>().cloned();
        Ok(Self {
            control: api.control.clone(),
            caller: caller.unwrap_or(Actor::unknown(Via::TcpPeer)),
            stop: api.stop.clone(),
        })
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<ApiState> for Key<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let Path(key) = Path::<T>::from_request_parts(parts, api).await?;
        Ok(Self(key))
    }
}

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        // Invalid UTF-8 would be replaced silently.
        let query = parts.uri.query().unwrap_or_default();
        if percent_decode_str(query).decode_utf8().is_err() {
            return Err(ApiError::bad_request("the query string is not valid UTF-8"));
        }
        match axum::extract::Query::<T>::from_request_parts(parts, api).await {
            Ok(query) => Ok(Self(query.0)),
            Err(rejection) => {
                let text = rejection.body_text();
                let cause = text.rsplit("query string: ").next().unwrap_or(&text);
                Err(ApiError::bad_request(format!("invalid query: {cause}")))
            }
        }
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &ApiState) -> Result<Self, ApiError> {
        let bytes = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, api)).await;
        let bytes = match bytes {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rejection)) => return Err(unreadable(&rejection)),
            Err(_) => {
                let message = format!(
                    "the body did not arrive within {} s",
                    BODY_TIMEOUT.as_secs()
                );
                return Err(ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    Code::BadRequest,
                    message,
                ));
            }
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            ApiError::bad_request(format!("the body is not the expected JSON: {error}"))
                .hint("see /docs")
        })
    }
}

fn unreadable(rejection: &BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => ApiError::bad_request(format!("cannot read the body: {}", rejection.body_text())),
    }
}

/// The refusal of a body beyond the limit.
pub(crate) fn too_large() -> ApiError {
    let message = format!("the body is larger than {} KiB", MAX_BODY / 1024);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, Code::BadRequest, message)
}

/// An integer in a query, from `MIN` to `MAX`; anything else is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number<const MIN: u32, const MAX: u32>(u32);

// === impl Number ===

impl<const MIN: u32, const MAX: u32> Number<MIN, MAX> {
    pub(crate) fn get(self) -> usize {
        self.0 as usize
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text
            .parse::<u32>()
            .ok()
            .filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is not a number from {MIN} to {MAX}"))
        })
    }
}

/// A text in a query or body; an empty one counts as absent.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    if text.as_ref().is_some_and(|text| text.len() > 4_096) {
        return Err(serde::de::Error::custom("a text is longer than 4096 bytes"));
    }
    Ok(text.filter(|text| !text.is_empty()))
}

/// A switch in a query: `true`, `false`, `1`, `0`.
pub(crate) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(serde::de::Error::custom(format!(
            "{other:?} is neither true nor false"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sample {
        #[serde(default, alias = "label_selector", deserialize_with = "text")]
        label_selector: Option<String>,
        #[serde(default)]
        count: Option<Number<1, 500>>,
        #[serde(default, deserialize_with = "switch")]
        force: bool,
    }

    fn read(query: &str) -> Result<Sample, String> {
        let uri = format!("http://h/?{query}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri)
            .map(|query: axum::extract::Query<Sample>| query.0)
            .map_err(|error| error.body_text())
    }

    #[test]
    fn both_spellings_are_read() {
        for query in [
            "labelSelector=a%3Db&force=1",
            "label_selector=a%3Db&force=true",
        ] {
            let sample = read(query).unwrap();
            assert_eq!(
                (sample.label_selector.as_deref(), sample.force),
                (Some("a=b"), true)
            );
        }
        assert_eq!(read("label_selector=").unwrap().label_selector, None);
        assert_eq!(read("count=500").unwrap().count.unwrap().get(), 500);
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_never_replaced_by_a_default() {
        for query in [
            "count=0",
            "count=501",
            "count=-1",
            "count=x",
            "count=",
            "force=yes",
            "count=1&count=2",
        ] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
