//! Observes one connection: detects its protocol, then follows it.

use std::time::Instant;

use crate::classify::{Guess, Opening};
use crate::exchange::{Seen, Unclear};
use crate::{http1, http2};

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Sniffer {
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

impl Sniffer {
    pub(crate) fn new(keep_queries: bool) -> Self {
        Self {
            state: State::Opening(Opening::default(), None),
            keep_queries,
        }
    }

    /// Whether nothing more will be seen.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Bytes that it holds beyond its own size.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Opening(_, None) | State::Over => 0,
            State::Http1(http) => size_of::<http1::Connection>() + http.held(),
            State::Opening(_, Some(http)) | State::Http2(http) => {
                size_of::<http2::Connection>() + http.held()
            }
        }
    }

    /// Looks at bytes that the client sent.
    pub(crate) fn client(&mut self, mut bytes: &[u8], now: Instant, seen: &mut impl FnMut(Seen)) {
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
    pub(crate) fn server(&mut self, bytes: &[u8], now: Instant, seen: &mut impl FnMut(Seen)) {
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

    pub(crate) fn end(&mut self, now: Instant, seen: &mut impl FnMut(Seen)) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Opening(..) | State::Over => {}
            State::Http1(mut http) => http.end(now, seen),
            State::Http2(mut http) => http.end(now, seen),
        }
    }

    /// Stops observing; requests that were not recorded are only counted.
    pub(crate) fn give_up(&mut self, seen: &mut impl FnMut(Seen)) {
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
