//! The wrapper around every answer, and every refusal in it.

use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use kubefwd_core::policy::Denied;
use kubefwd_model::{Failure, Reason, Time};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// A successful response.
#[derive(Serialize, ToSchema)]
pub(crate) struct Envelope<T> {
    /// Always true.
    #[schema(example = true)]
    pub(crate) success: bool,
    /// The requested data.
    pub(crate) data: T,
    /// Always null.
    pub(crate) error: (),
    /// Response metadata.
    pub(crate) meta: Meta,
}

/// Response metadata.
#[derive(Serialize, ToSchema)]
pub(crate) struct Meta {
    /// When the response was made.
    pub(crate) timestamp: Time,
    /// Number of items in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub(crate) count: Option<usize>,
}

/// A refusal or failure.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorResponse {
    /// Always false.
    #[schema(example = false)]
    success: bool,
    /// Always null.
    data: (),
    /// What went wrong.
    error: ErrorBody,
    /// Response metadata.
    meta: Meta,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// A machine-readable code.
    pub(crate) code: Code,
    /// What went wrong and why, for humans.
    #[schema(example = "no service has the key \"api.shop.kind\"")]
    pub(crate) message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "see GET /api/v1/services")]
    pub(crate) hint: Option<String>,
    /// With `wait`: what is not active, and why.
    #[serde(rename = "notReady", skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_ready: Vec<NotReady>,
}

/// Something that did not become active in time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NotReady {
    /// Its key.
    #[schema(example = "api.shop.kind")]
    pub(crate) key: String,
    /// Its status.
    #[schema(example = "pending")]
    pub(crate) status: &'static str,
    /// Why it is not active.
    #[schema(example = "no pod is ready")]
    pub(crate) reason: String,
}

/// Why a request was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Code {
    /// The request is invalid.
    BadRequest,
    /// A token is required.
    Unauthorized,
    /// The caller is not allowed to do this.
    Forbidden,
    /// Not found.
    NotFound,
    /// Already forwarded.
    AlreadyExists,
    /// It conflicts with the current state.
    Conflict,
    /// The cluster or the worker is unreachable.
    Unavailable,
    /// An internal error of the daemon.
    InternalError,
}

/// A refusal with its status.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) body: ErrorBody,
}

/// The refusals that any route may give.
#[derive(IntoResponses)]
#[expect(
    dead_code,
    reason = "only describes answers that are made from `ApiError`"
)]
pub(crate) enum ErrorResponses {
    /// The request is invalid: a malformed key, body or query value.
    #[response(status = 400)]
    BadRequest(#[to_schema] ErrorResponse),
    /// A token is required, and is missing or wrong.
    #[response(status = 401)]
    Unauthorized(#[to_schema] ErrorResponse),
    /// The caller may not use the daemon or do this, or the request comes from a foreign page.
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorResponse),
    /// There is no such key, route, context, namespace or service.
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorResponse),
    /// The body did not arrive in time.
    #[response(status = 408)]
    TooSlow(#[to_schema] ErrorResponse),
    /// Already forwarded, or in conflict with the current state.
    #[response(status = 409)]
    Conflict(#[to_schema] ErrorResponse),
    /// The body is larger than 64 KiB.
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorResponse),
    /// The body is not declared as JSON.
    #[response(status = 415)]
    NotJson(#[to_schema] ErrorResponse),
    /// An internal error of the daemon; the message contains an id to look up in its log.
    #[response(status = 500)]
    Internal(#[to_schema] ErrorResponse),
    /// The cluster or the worker is unreachable; the message says which and what to do.
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorResponse),
}

// === impl Envelope ===

impl<T: Serialize> Envelope<T> {
    /// An answer that is no list.
    pub(crate) fn new(data: T) -> Self {
        Self {
            success: true,
            data,
            error: (),
            meta: Meta::now(None),
        }
    }

    /// An answer that is or holds a list of `count` things.
    pub(crate) fn list(data: T, count: usize) -> Self {
        Self {
            success: true,
            data,
            error: (),
            meta: Meta::now(Some(count)),
        }
    }
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}

// === impl Meta ===

impl Meta {
    pub(crate) fn now(count: Option<usize>) -> Self {
        Self {
            timestamp: Time::now(),
            count,
        }
    }
}

// === impl ApiError ===

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        let (message, hint, not_ready) = (message.into(), None, Vec::new());
        Self {
            status,
            body: ErrorBody {
                code,
                message,
                hint,
                not_ready,
            },
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadRequest, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
    }

    /// A defect: the details go to the log under an id, and only the id to the caller.
    pub(crate) fn defect(details: &str) -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        tracing::error!(id, details, "an internal error of the REST API");
        let message = format!("internal error; the kubefwdd log has the details under id {id}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::InternalError,
            message,
        )
    }

    /// The whole answer as it goes over a connection that is closed after it, whatever is asked there.
    pub(crate) fn to_http1(&self) -> Vec<u8> {
        let status = self.status;
        let body = serde_json::to_vec(&self.clone().refusal()).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    fn refusal(self) -> ErrorResponse {
        ErrorResponse {
            success: false,
            data: (),
            error: self.body,
            meta: Meta::now(None),
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.body.hint = Some(hint).filter(|hint| !hint.is_empty());
        self
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let (status, code) = match failure.reason {
            Reason::InvalidArgument | Reason::Unsupported => {
                (StatusCode::BAD_REQUEST, Code::BadRequest)
            }
            Reason::NotFound
            | Reason::ContextNotFound
            | Reason::NamespaceNotFound
            | Reason::ServiceNotFound
            | Reason::PodNotFound => (StatusCode::NOT_FOUND, Code::NotFound),
            Reason::AlreadyExists => (StatusCode::CONFLICT, Code::AlreadyExists),
            Reason::Conflict => (StatusCode::CONFLICT, Code::Conflict),
            Reason::PermissionDenied | Reason::ForbiddenByCluster => {
                (StatusCode::FORBIDDEN, Code::Forbidden)
            }
            Reason::Unauthenticated => (StatusCode::UNAUTHORIZED, Code::Unauthorized),
            Reason::ClusterUnreachable
            | Reason::ClusterUntrusted
            | Reason::KubeconfigInvalid
            | Reason::CredentialsNeeded
            | Reason::WorkerUnavailable
            | Reason::LimitExceeded
            | Reason::Timeout
            | Reason::PortUnavailable
            | Reason::ConnectionRefused
            | Reason::ConnectionLost => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            Reason::Internal => return Self::defect(&failure.to_string()),
        };
        Self::new(status, code, failure.message).hint(failure.hint)
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Failure::from(denied).into()
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(format!("invalid path: {}", rejection.body_text()))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = json(status, &self.refusal());
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"kubefwd\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// A JSON body with a status.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (status, kind, bytes).into_response()
        }
        // Maps with keys that are no text do not occur in our types; if one ever does, say so instead of panicking.
        Err(error) => {
            tracing::error!(%error, "cannot write a response");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_envelope_is_there() {
        let value = serde_json::to_value(Envelope::list([1, 2], 2)).unwrap();
        assert_eq!(value["success"], true);
        assert_eq!(value["data"], serde_json::json!([1, 2]));
        assert!(value.as_object().unwrap().contains_key("error") && value["error"].is_null());
        assert_eq!(value["meta"]["count"], 2);
        let text = serde_json::to_string(&Envelope::new(())).unwrap();
        assert!(!text.contains("count"), "{text}");
    }

    #[test]
    fn reasons_become_the_codes_of_the_contract() {
        for (reason, status, code) in [
            (Reason::InvalidArgument, 400, Code::BadRequest),
            (Reason::PermissionDenied, 403, Code::Forbidden),
            (Reason::NamespaceNotFound, 404, Code::NotFound),
            (Reason::AlreadyExists, 409, Code::AlreadyExists),
            (Reason::Conflict, 409, Code::Conflict),
            (Reason::CredentialsNeeded, 503, Code::Unavailable),
            (Reason::Internal, 500, Code::InternalError),
        ] {
            let error = ApiError::from(Failure::new(reason, "secret details").hint("do this"));
            assert_eq!((error.status.as_u16(), error.body.code), (status, code));
            let hidden = code == Code::InternalError;
            assert_eq!(error.body.message.contains("secret"), !hidden);
        }
    }
}
