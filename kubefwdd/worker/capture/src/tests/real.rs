//! Real clients and servers: what hyper asks and answers is what is seen.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::{Side, Talk, watch, watch_in};

type Body = BoxBody<Bytes, Infallible>;

/// The client's end of a connection; it keeps all that passes.
struct Tee {
    io: DuplexStream,
    talk: Arc<Mutex<Talk>>,
}

impl AsyncRead for Tee {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = buffer.filled()[before..].to_vec();
        self.talk.lock().unwrap().push((Side::Server, read));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tee {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        let kept = bytes[..written].to_vec();
        self.talk.lock().unwrap().push((Side::Client, kept));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What is asked, and how it is to be answered.
#[derive(Clone, Debug)]
struct Ask {
    method: &'static str,
    upload: usize,
    /// The request's length is said in its head.
    sized: bool,
    status: u16,
    download: usize,
    chunked: bool,
    headers: Vec<(String, String)>,
    grpc: Option<u8>,
}

impl Ask {
    fn path(&self, number: usize) -> String {
        let Self {
            status,
            download,
            chunked,
            grpc,
            ..
        } = self;
        let grpc = grpc.map_or("-".to_owned(), |status| status.to_string());
        format!("/{number}/{status}/{download}/{chunked}/{grpc}")
    }

    fn request(&self, number: usize) -> Request<Body> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("http://host{}?q=secret", self.path(number)));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if self.grpc.is_some() {
            request = request.header("content-type", "application/grpc");
        }
        request.body(body(self.upload, !self.sized, None)).unwrap()
    }

    /// What should be seen of it.
    fn line(&self, number: usize, protocol: &str) -> String {
        let bodiless = self.method == "HEAD" || matches!(self.status, 204 | 304);
        let size = if bodiless { 0 } else { self.download };
        let protocol = match self.grpc {
            Some(status) => format!("gRPC {status}"),
            None => protocol.to_owned(),
        };
        format!(
            "{} {} {} {size} {protocol}",
            self.method,
            self.path(number),
            self.status
        )
    }
}

/// Bytes in several frames, or at once with their length.
fn body(length: usize, streamed: bool, trailers: Option<HeaderMap>) -> Body {
    if !streamed && trailers.is_none() {
        return Full::new(Bytes::from(vec![b'x'; length])).boxed();
    }
    let pieces = vec![b'y'; length];
    let mut frames: Vec<Result<Frame<Bytes>, Infallible>> = pieces
        .chunks(700)
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    frames.extend(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
    StreamBody::new(futures_util::stream::iter(frames)).boxed()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    // Over HTTP/1 hyper leaves the body out by itself.
    let keeps_quiet = request.version() == http::Version::HTTP_2;
    let is_head = request.method() == http::Method::HEAD;
    let words: Vec<&str> = path.split('/').collect();
    let _ = request.into_body().collect().await;
    let [_, _, status, download, chunked, grpc] = words[..] else {
        return Ok(Response::new(body(0, false, None)));
    };
    let trailers = grpc.parse::<u8>().ok().map(|status| {
        HeaderMap::from_iter([(
            "grpc-status".parse().unwrap(),
            HeaderValue::from(u16::from(status)),
        )])
    });
    let length = download.parse().unwrap();
    let bodiless = is_head || matches!(status, "204" | "304");
    let mut response = if keeps_quiet && bodiless {
        Response::new(body(0, false, None))
    } else {
        Response::new(body(length, chunked == "true", trailers))
    };
    *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
    Ok(response)
}

async fn over_http1(asks: &[Ask]) -> Talk {
    let (near, far) = duplex(3000);
    let server = tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service_fn(answer)),
    );
    let talk = Arc::new(Mutex::new(Talk::new()));
    let tee = TokioIo::new(Tee {
        io: near,
        talk: Arc::clone(&talk),
    });
    let (mut client, connection) = hyper::client::conn::http1::handshake(tee).await.unwrap();
    let connection = tokio::spawn(connection);
    for (number, ask) in asks.iter().enumerate() {
        client.ready().await.unwrap();
        let mut request = ask.request(number);
        let path = request.uri().path_and_query().unwrap().as_str().parse();
        *request.uri_mut() = path.unwrap();
        let answer = client.send_request(request).await.unwrap();
        let _ = answer.into_body().collect().await.unwrap();
    }
    drop(client);
    connection.await.unwrap().unwrap();
    let _ = server.await.unwrap();
    Arc::into_inner(talk).unwrap().into_inner().unwrap()
}

async fn over_http2(asks: &[Ask]) -> Talk {
    let (near, far) = duplex(3000);
    let server = tokio::spawn(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), service_fn(answer)),
    );
    let talk = Arc::new(Mutex::new(Talk::new()));
    let tee = TokioIo::new(Tee {
        io: near,
        talk: Arc::clone(&talk),
    });
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), tee)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let all = asks.iter().enumerate().map(|(number, ask)| {
        let mut client = client.clone();
        async move {
            let answer = client.send_request(ask.request(number)).await.unwrap();
            let _ = answer.into_body().collect().await.unwrap();
        }
    });
    join_all(all).await;
    drop(client);
    connection.await.unwrap().unwrap();
    server.abort();
    let _ = server.await;
    let talk = talk.lock().unwrap();
    talk.clone()
}

fn asks(http2: bool) -> impl Strategy<Value = Vec<Ask>> {
    let methods = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "PROPFIND"]);
    let statuses = prop::sample::select(vec![200_u16, 201, 204, 302, 304, 404, 500, 503]);
    let header = ("x-[a-z]{1,6}", "[ -~]{0,60}").prop_map(|(n, v)| (n, v.trim().to_owned()));
    let grpc = if http2 {
        prop::option::of(0..16_u8).boxed()
    } else {
        Just(None).boxed()
    };
    let ask = (
        methods,
        0..5000_usize,
        any::<bool>(),
        statuses,
        0..9000_usize,
        any::<bool>(),
        prop::collection::vec(header, 0..6),
        grpc,
    )
        .prop_map(
            |(method, upload, sized, status, download, chunked, headers, grpc)| {
                let plain = Ask {
                    method,
                    // An upload with these is legal and strange: hyper says its length or chunks.
                    upload: if matches!(method, "GET" | "HEAD") {
                        0
                    } else {
                        upload
                    },
                    sized: sized || matches!(method, "GET" | "HEAD"),
                    status,
                    download,
                    chunked,
                    headers,
                    grpc,
                };
                match grpc {
                    Some(_) => Ask {
                        method: "POST",
                        status: 200,
                        ..plain
                    },
                    None => plain,
                }
            },
        );
    prop::collection::vec(ask, 1..12)
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn http1_is_seen_as_it_was_asked(asks in asks(false), sizes in prop::collection::vec(1..3000_usize, 1..6)) {
        let talk = run(over_http1(&asks));
        let expected: Vec<String> = asks
            .iter()
            .enumerate()
            .map(|(number, ask)| ask.line(number, "HTTP/1.1"))
            .collect();
        let record = watch(&talk);
        prop_assert_eq!(&record.lines, &expected);
        prop_assert_eq!(watch_in(&talk, &sizes), record);
    }

    #[test]
    fn http2_is_seen_as_it_was_asked(asks in asks(true), sizes in prop::collection::vec(1..3000_usize, 1..6)) {
        let talk = run(over_http2(&asks));
        let mut expected: Vec<String> = asks
            .iter()
            .enumerate()
            .map(|(number, ask)| ask.line(number, "HTTP/2"))
            .collect();
        let record = watch(&talk);
        prop_assert_eq!(watch_in(&talk, &sizes), watch(&talk));
        let mut lines = record.lines;
        lines.sort();
        expected.sort();
        prop_assert_eq!(lines, expected);
        prop_assert!(record.to_the_end);
    }
}
