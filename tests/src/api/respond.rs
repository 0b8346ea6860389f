//! Answers with the headers of the API server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::ids;
use crate::status::Status;

/// An answer to a request.
pub(crate) type Answer = Response<Body>;

/// The body of an answer.
pub(crate) enum Body {
    Whole(Option<Bytes>),
    /// Chunks from a task; an error ends the connection in the middle of the body.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(receiver) => receiver
                .poll_recv(context)
                .map(|item| item.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A JSON answer of the API server; the body is compact and gets its newline here.
pub(crate) fn json(code: StatusCode, mut body: Vec<u8>) -> Answer {
    body.push(b'\n');
    api(code, "application/json", Body::Whole(Some(body.into())))
}

/// A streamed answer of the API server.
pub(crate) fn stream(
    content_type: &'static str,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
) -> Answer {
    api(StatusCode::OK, content_type, Body::Stream(receiver))
}

/// An answer of the API server with the headers that all of them have.
pub(crate) fn api(code: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    let audit = HeaderValue::from_str(&ids::uuid()).expect("a UUID is plain ASCII");
    headers.insert(HeaderName::from_static("audit-id"), audit);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    date(&mut response);
    response
}

/// A Status of the API server.
pub(crate) fn status(status: &Status) -> Answer {
    let mut response = json(status.code(), status.to_json());
    if status.code() == StatusCode::FORBIDDEN {
        response.headers_mut().insert(
            http::header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
    }
    if let Some(seconds) = status.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Plain text as the kubelet answers: without the API server's headers.
pub(crate) fn plain(code: StatusCode, text: impl Into<String>) -> Answer {
    let mut response = Response::new(Body::Whole(Some(Bytes::from(text.into()))));
    *response.status_mut() = code;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    date(&mut response);
    response
}

/// An answer without body and headers.
pub(crate) fn empty(code: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// Adds `Date`.
pub(crate) fn date(response: &mut Answer) {
    let now = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let value = HeaderValue::from_str(&now.to_string()).expect("a date is plain ASCII");
    response.headers_mut().insert(DATE, value);
}
