//! The HTTP applications in the pods.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | `N` bytes of the [pattern] with `Content-Length` |
//! | `/chunked/N` | the same, chunked |
//! | `/slow?ms=N` | the ordinary answer, `N` milliseconds later |
//! | `/status/N` | status `N` |
//! | `/upload` | the number of body bytes received |
//! | anything else | method, path, pod, namespace and port, one per line |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::sleep;

use super::behaviour::Place;
use super::pattern::{MAX_SLICE, pattern};
use super::pipe::Conn;

/// Serves HTTP/1.1 on a connection.
pub(crate) async fn serve_http1(conn: Conn, place: Place) -> io::Result<()> {
    let service = service_fn(move |request| answer(request, place.clone()));
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(conn), service)
        .await
        .map_err(io::Error::other)
}

/// Serves HTTP/2 with prior knowledge on a connection.
pub(crate) async fn serve_h2c(conn: Conn, place: Place) -> io::Result<()> {
    let service = service_fn(move |request| grpc_answer(request, place.clone()));
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(conn), service)
        .await
        .map_err(io::Error::other)
}

async fn answer(request: Request<Incoming>, place: Place) -> Result<Response<AppBody>, Infallible> {
    let path = request.uri().path().to_owned();
    let argument = |prefix: &str| path.strip_prefix(prefix)?.parse::<u64>().ok();
    if let Some(length) = argument("/bytes/") {
        return Ok(Response::new(AppBody::pattern(length, true)));
    }
    if let Some(length) = argument("/chunked/") {
        return Ok(Response::new(AppBody::pattern(length, false)));
    }
    if path == "/slow" {
        let query = request.uri().query().unwrap_or_default();
        let wanted = query.split('&').find_map(|pair| pair.strip_prefix("ms="));
        let wanted = wanted.and_then(|ms| ms.parse().ok()).unwrap_or(1000);
        sleep(Duration::from_millis(wanted)).await;
    }
    if path == "/upload" {
        let mut received = 0;
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            received += frame.data_ref().map_or(0, Bytes::len);
        }
        return Ok(Response::new(AppBody::text(format!("{received}\n"))));
    }
    let status = argument("/status/")
        .and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok())
        .unwrap_or(StatusCode::OK);
    let text = format!(
        "{} {}\npod: {}\nnamespace: {}\nport: {}\n",
        request.method(),
        request.uri(),
        place.pod,
        place.namespace,
        place.port
    );
    let mut response = Response::new(AppBody::text(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// One length-prefixed gRPC message with the pod's name, then `grpc-status: 0` in the trailers.
async fn grpc_answer(
    request: Request<Incoming>,
    place: Place,
) -> Result<Response<AppBody>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(place.pod.len()).unwrap_or(0).to_be_bytes());
    message.extend_from_slice(place.pod.as_bytes());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(AppBody::frames([
        Frame::data(Bytes::from(message)),
        Frame::trailers(trailers),
    ]));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// The body of an application's answer.
enum AppBody {
    Frames(VecDeque<Frame<Bytes>>),
    Pattern { sent: u64, length: u64, sized: bool },
}

impl AppBody {
    fn text(text: String) -> Self {
        Self::frames([Frame::data(Bytes::from(text))])
    }

    fn frames(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self::Frames(frames.into_iter().collect())
    }

    fn pattern(length: u64, sized: bool) -> Self {
        Self::Pattern {
            sent: 0,
            length,
            sized,
        }
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match self.get_mut() {
            Self::Frames(frames) => frames.pop_front().map(Ok),
            Self::Pattern { sent, length, .. } if *sent < *length => {
                let left = (*length - *sent).min(MAX_SLICE as u64) as usize;
                let chunk = pattern(*sent, left);
                *sent += chunk.len() as u64;
                Some(Ok(Frame::data(chunk)))
            }
            Self::Pattern { .. } => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Frames(frames) => frames.is_empty(),
            Self::Pattern { sent, length, .. } => sent == length,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Frames(frames) if frames.len() == 1 => {
                SizeHint::with_exact(frames[0].data_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Pattern {
                sent,
                length,
                sized: true,
            } => SizeHint::with_exact(length - sent),
            _ => SizeHint::default(),
        }
    }
}
