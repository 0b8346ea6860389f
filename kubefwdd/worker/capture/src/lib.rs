//! HTTP requests seen in bytes that were already forwarded.
//!
//! A [`Sniffer`] sees both directions of one connection after the bytes were forwarded: it cannot delay, change or stop
//! them. It does no I/O, holds a bounded amount of memory, and gives up on a connection for good as soon as it is unsure
//! what the bytes mean: a wrong record would be worse than none.
//!
//! | module | responsibility |
//! |---|---|
//! | `classify` | detects the protocol from the client's first bytes |
//! | `http1` | heads and bodies; pairs requests and answers in order |
//! | `http2` | frames and HPACK; pairs requests and answers by stream; gRPC |
//! | `budget` | bounds the memory of all sniffers together |
//! | `text` | methods and targets, shortened and cleaned |
//! | [`recorder`] | collects records for the daemon, and samples them |

use std::time::{Duration, Instant};

use classify::{Guess, Opening};

mod budget;
mod classify;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
#[cfg(feature = "http2")]
mod http2;
#[cfg(not(feature = "http2"))]
#[path = "http2_off.rs"]
mod http2;
pub mod recorder;
mod sync;
mod text;

pub use text::Method;

/// One request with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the request's first byte was seen.
    pub began: Instant,
    /// From then to the answer's last byte, or to the end of the connection.
    pub duration: Duration,
    /// The method.
    pub method: Method,
    /// The path, or the authority of a CONNECT.
    pub path: Box<str>,
    /// The status; 0 when no answer came.
    pub status: u16,
    /// Bytes of the answer's body, without chunks' and frames' own.
    pub response_bytes: u64,
    /// What was spoken.
    pub protocol: Protocol,
    /// Of gRPC, when the answer said it.
    pub grpc_status: Option<i32>,
}

/// What was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
    /// gRPC, over HTTP/2
    Grpc,
}

/// What a sniffer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A request that was answered, or never will be.
    Exchange(Exchange),
    /// A number of requests of which nothing else is known.
    Unrecorded(u64),
}

/// The bytes are ambiguous, or the rest is not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unclear;

/// Watches one connection.
#[derive(Debug)]
pub struct Sniffer {
    state: State,
    keep_queries: bool,
}

#[derive(Debug)]
enum State {
    /// The client has not sent enough yet; an HTTP/2 server may send its settings first.
    Opening(Opening, Option<Box<http2::Connection>>),
    Http1(Box<http1::Connection>),
    Http2(Box<http2::Connection>),
    /// No longer observed.
    Over,
}

// === impl Protocol ===

impl Protocol {
    /// The usual name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
        }
    }
}

// === impl Sniffer ===

impl Sniffer {
    /// For a new connection.
    pub fn new(keep_queries: bool) -> Self {
        Self {
            state: State::Opening(Opening::default(), None),
            keep_queries,
        }
    }

    /// Whether nothing more will be seen.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Bytes that it holds beyond its own size.
    pub fn held(&self) -> usize {
        match &self.state {
            State::Opening(_, None) | State::Over => 0,
            State::Http1(http) => size_of::<http1::Connection>() + http.held(),
            State::Opening(_, Some(http)) | State::Http2(http) => {
                size_of::<http2::Connection>() + http.held()
            }
        }
    }

    /// Looks at bytes that the client sent.
    pub fn client(&mut self, mut bytes: &[u8], now: Instant, seen: &mut impl FnMut(Seen)) {
        let result = match &mut self.state {
            State::Over => return,
            State::Http1(http) => http.client(bytes, now),
            State::Http2(http) => http.client(bytes, now, seen),
            State::Opening(opening, early) => match opening.take(&mut bytes) {
                Guess::Unknown => return,
                Guess::Other => Err(Unclear),
                // Its servers never speak first.
                Guess::Http1 if early.is_some() => Err(Unclear),
                Guess::Http1 => {
                    let mut http = Box::new(http1::Connection::new(self.keep_queries));
                    let first = http.client(opening.kept(), now);
                    let result = first.and_then(|()| http.client(bytes, now));
                    self.state = State::Http1(http);
                    result
                }
                Guess::Http2 => {
                    let mut http = early.take().unwrap_or_else(|| http2(self.keep_queries));
                    let result = http.client(bytes, now, seen);
                    self.state = State::Http2(http);
                    result
                }
            },
        };
        if result.is_err() {
            self.give_up(seen);
        }
    }

    /// Looks at bytes that the server sent.
    pub fn server(&mut self, bytes: &[u8], now: Instant, seen: &mut impl FnMut(Seen)) {
        let result = match &mut self.state {
            State::Over => return,
            State::Opening(_, early) => {
                let http = early.get_or_insert_with(|| http2(self.keep_queries));
                http.server(bytes, now, seen)
            }
            State::Http1(http) => http.server(bytes, now, seen),
            State::Http2(http) => http.server(bytes, now, seen),
        };
        if result.is_err() {
            self.give_up(seen);
        }
    }

    /// The connection has ended.
    pub fn end(&mut self, now: Instant, seen: &mut impl FnMut(Seen)) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Opening(..) | State::Over => {}
            State::Http1(mut http) => http.end(now, seen),
            State::Http2(mut http) => http.end(now, seen),
        }
    }

    /// Stops observing; requests that were not recorded are only counted.
    pub fn give_up(&mut self, seen: &mut impl FnMut(Seen)) {
        let pending = match std::mem::replace(&mut self.state, State::Over) {
            State::Opening(..) | State::Over => 0,
            State::Http1(http) => http.pending(),
            State::Http2(http) => http.pending(),
        };
        if pending > 0 {
            seen(Seen::Unrecorded(pending as u64));
        }
    }
}

fn http2(keep_queries: bool) -> Box<http2::Connection> {
    Box::new(http2::Connection::new(keep_queries))
}

#[cfg(test)]
mod tests;
