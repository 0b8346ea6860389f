//! The envelope of every successful answer.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use kubefwd_model::Time;
use serde::Serialize;
use utoipa::ToSchema;

/// A successful response.
#[derive(Serialize, ToSchema)]
pub(crate) struct Envelope<T> {
    /// Always true.
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
    pub(crate) count: Option<usize>,
}

// === impl Envelope ===

impl<T: Serialize> Envelope<T> {
    /// An answer that is not a list.
    pub(crate) fn new(data: T) -> Self {
        Self::with(data, Meta::now(None))
    }

    /// An answer that holds a list of `count` things.
    pub(crate) fn list(data: T, count: usize) -> Self {
        Self::with(data, Meta::now(Some(count)))
    }

    fn with(data: T, meta: Meta) -> Self {
        Self {
            success: true,
            data,
            error: (),
            meta,
        }
    }
}

/// An answer that is a list.
impl<T: Serialize> FromIterator<T> for Envelope<Vec<T>> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items: Vec<T> = items.into_iter().collect();
        let count = items.len();
        Self::list(items, count)
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

/// A JSON body with a status.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (status, kind, bytes).into_response()
        }
        // Our types have no maps with keys other than text; if one ever does, it is logged instead of a panic.
        Err(error) => {
            tracing::error!(%error, "cannot write a response");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests;
