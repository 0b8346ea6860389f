//! HTTP/1 observed from outside: requests and answers are paired in order, bodies are skipped.
//!
//! Where two parsers could see different messages in the same bytes, recording stops: a wrong pair would be worse than none.

use std::collections::VecDeque;
use std::time::Instant;

use crate::exchange::{Seen, Unclear};
use body::Body;
use head::{Collector, RequestHead, ResponseHead};

mod body;
mod head;

/// Requests of one connection that wait for an answer.
const MAX_PENDING: usize = 32;

#[derive(Debug)]
pub(super) struct Connection {
    keep_queries: bool,
    /// Requests without a whole answer, oldest first.
    pending: VecDeque<RequestHead>,
    /// The text that `pending` holds, bytes.
    held: usize,
    request: Half,
    response: Half,
    /// Where the next request begins is unknown after the current answer.
    last: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    head: Collector,
    body: Option<Body>,
    /// When the head that is not whole yet began.
    began: Option<Instant>,
}

impl Connection {
    pub(super) fn new(keep_queries: bool) -> Self {
        Self {
            keep_queries,
            // Few clients ask again before they have an answer.
            pending: VecDeque::with_capacity(1),
            held: 0,
            request: Half::default(),
            response: Half::default(),
            last: false,
        }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        let heads = self.request.head.held() + self.response.head.held();
        self.held + self.pending.capacity() * size_of::<RequestHead>() + heads
    }

    /// Requests that were seen and not recorded yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes bytes of the client.
    pub(super) fn client(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Unclear> {
        while !bytes.is_empty() {
            if let Some(body) = &mut self.request.body {
                if body.skip(&mut bytes)?.whole {
                    self.request.body = None;
                }
                continue;
            }
            // What follows belongs to the tunnel, if there will be one: the answer says.
            if self.pending.back().is_some_and(|last| last.is_connect) {
                return Err(Unclear);
            }
            if self.request.head.is_empty() {
                // Empty lines before a request are to be ignored (RFC 9112, section 2.2).
                bytes = match bytes {
                    [b'\r' | b'\n', rest @ ..] => rest,
                    _ => bytes,
                };
                if matches!(bytes.first(), None | Some(b'\r' | b'\n')) {
                    continue;
                }
            }
            let began = *self.request.began.get_or_insert(now);
            let Some(head) = self.request.head.take(&mut bytes)? else {
                return Ok(());
            };
            self.request.began = None;
            if self.pending.len() >= MAX_PENDING {
                return Err(Unclear);
            }
            let (request, body) = RequestHead::parse(&head, self.keep_queries, began)?;
            self.request.body = body;
            self.held += request.exchange.path.len();
            self.pending.push_back(request);
        }
        Ok(())
    }

    /// Takes bytes of the server.
    pub(super) fn server(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        seen: &mut impl FnMut(Seen),
    ) -> Result<(), Unclear> {
        while !bytes.is_empty() {
            // An answer without a request.
            let request = self.pending.front_mut().ok_or(Unclear)?;
            if let Some(body) = &mut self.response.body {
                let skipped = body.skip(&mut bytes)?;
                request.exchange.response_bytes += skipped.payload;
                if skipped.whole {
                    self.response.body = None;
                    self.complete(now, seen)?;
                }
                continue;
            }
            let Some(head) = self.response.head.take(&mut bytes)? else {
                return Ok(());
            };
            self.answered(&ResponseHead::parse(&head)?, now, seen)?;
        }
        Ok(())
    }

    /// The connection has ended: requests without a full answer are recorded as they are.
    pub(super) fn end(&mut self, now: Instant, seen: &mut impl FnMut(Seen)) {
        for request in self.pending.drain(..) {
            seen(request.exchange.end(now));
        }
        self.held = 0;
    }

    fn answered(
        &mut self,
        head: &ResponseHead,
        now: Instant,
        seen: &mut impl FnMut(Seen),
    ) -> Result<(), Unclear> {
        let only = self.pending.len() == 1;
        let request = self.pending.front_mut().ok_or(Unclear)?;
        let status = head.status;
        let switched = status == 101 || request.is_connect && matches!(status, 200..300);
        if matches!(status, 100..200) && !switched {
            request.expects = false;
            return Ok(());
        }
        let bodiless = request.is_head || switched || matches!(status, 204 | 304);
        request.exchange.status = status;
        // Without a 100 Continue the client may omit its body, or send it anyway.
        self.last = switched || only && request.expects && self.request.body.is_some();
        self.response.body = head.body().filter(|_| !bodiless);
        if self.response.body.is_none() {
            self.complete(now, seen)?;
        }
        Ok(())
    }

    fn complete(&mut self, now: Instant, seen: &mut impl FnMut(Seen)) -> Result<(), Unclear> {
        let request = self.pending.pop_front().ok_or(Unclear)?;
        self.held -= request.exchange.path.len();
        seen(request.exchange.end(now));
        if self.last {
            return Err(Unclear);
        }
        Ok(())
    }
}
