//! Every refusal and failure, in the envelope.

use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use kubefwd_model::{Failure, NameError, Reason};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::envelope::{Envelope, Meta, json};

/// A refusal or failure.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorResponse {
    /// Always false.
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
    pub(crate) message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// With `wait`: what is not active, and why.
    #[serde(rename = "notReady", skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_ready: Vec<NotReady>,
}

/// Something that did not become active in time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NotReady {
    /// Its key.
    pub(crate) key: String,
    /// Its status.
    pub(crate) status: &'static str,
    /// Why it is not active.
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

/// What most handlers give.
pub(crate) type Outcome<T> = Result<Envelope<T>, ApiError>;

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
    /// No such key, route, context, namespace or service.
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

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
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

#[cfg(test)]
mod tests;
