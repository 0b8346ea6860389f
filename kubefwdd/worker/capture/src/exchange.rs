//! What is recorded of a connection.

use std::borrow::Cow;
use std::time::{Duration, Instant};

/// One request with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// When the request's first byte was seen.
    pub began: Instant,
    /// From then to the answer's last byte, or to the end of the connection.
    pub duration: Duration,
    pub method: Cow<'static, str>,
    /// The path, or the authority of a CONNECT.
    pub path: Box<str>,
    /// The status; 0 when no answer came.
    pub status: u16,
    /// Bytes of the answer's body, without chunks' and frames' own.
    pub response_bytes: u64,
    pub protocol: Protocol,
    /// Of gRPC, when the answer said it.
    pub grpc_status: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http10,
    Http11,
    Http2,
    /// gRPC, over HTTP/2
    Grpc,
}

/// What a sniffer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A request that was answered, or never will be.
    Exchange(Exchange),
    /// A number of requests of which nothing else is known.
    Unrecorded(u64),
}

/// The bytes are ambiguous, or the rest is not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclear;

impl Exchange {
    /// A request that was not answered yet.
    pub(crate) fn new(
        began: Instant,
        method: Cow<'static, str>,
        path: Box<str>,
        protocol: Protocol,
    ) -> Self {
        Self {
            began,
            duration: Duration::ZERO,
            method,
            path,
            status: 0,
            response_bytes: 0,
            protocol,
            grpc_status: None,
        }
    }

    /// Nothing more comes of it.
    pub(crate) fn end(mut self, now: Instant) -> Seen {
        self.duration = now.saturating_duration_since(self.began);
        Seen::Exchange(self)
    }
}

impl Protocol {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
        }
    }
}
