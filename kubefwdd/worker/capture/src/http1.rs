//! HTTP/1 observed from outside: requests and answers are paired in order, bodies are skipped.
//!
//! Where two parsers could see different messages in the same bytes, recording stops: a wrong pair would be worse than none.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::exchange::{Exchange, Protocol, Seen, Unclear};
use crate::text::Method;
use body::Body;
use head::{Answered, Asked, Collector};

mod body;
mod head;

/// Requests of one connection that wait for an answer.
const MAX_PENDING: usize = 32;

#[derive(Debug)]
pub(super) struct Connection {
    keep_queries: bool,
    /// Requests without a whole answer, oldest first.
    pending: VecDeque<Pending>,
    /// The text that `pending` holds, bytes.
    held: usize,
    request: Half,
    response: Half,
    /// The answer to the oldest request, from its head on.
    current: Option<Current>,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    head: Collector,
    body: Option<Body>,
    /// When the head that is not whole yet began.
    began: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    began: Instant,
    method: Method,
    path: Box<str>,
    protocol: Protocol,
    is_head: bool,
    is_connect: bool,
    expects: bool,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    status: u16,
    bytes: u64,
    /// Where the next request begins is unknown after it.
    last: bool,
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
            current: None,
        }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        let heads = self.request.head.held() + self.response.head.held();
        self.held + self.pending.capacity() * size_of::<Pending>() + heads
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
            let asked = Asked::parse(&head, self.keep_queries)?;
            self.asked(asked, began)?;
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
            if let (Some(body), Some(current)) = (&mut self.response.body, &mut self.current) {
                let skipped = body.skip(&mut bytes)?;
                current.bytes += skipped.payload;
                if skipped.whole {
                    self.response.body = None;
                    self.complete(now, seen)?;
                }
                continue;
            }
            // An answer without a request.
            if self.pending.is_empty() {
                return Err(Unclear);
            }
            let Some(head) = self.response.head.take(&mut bytes)? else {
                return Ok(());
            };
            self.answered(&Answered::parse(&head)?, now, seen)?;
        }
        Ok(())
    }

    /// The connection has ended: requests without a full answer are recorded as they are.
    pub(super) fn end(&mut self, now: Instant, seen: &mut impl FnMut(Seen)) {
        let mut current = self.current.take();
        while let Some(pending) = self.pending.pop_front() {
            seen(exchange(pending, current.take(), now));
        }
        self.held = 0;
    }

    fn asked(&mut self, asked: Asked, began: Instant) -> Result<(), Unclear> {
        if self.pending.len() >= MAX_PENDING {
            return Err(Unclear);
        }
        let Asked {
            method,
            target,
            protocol,
            is_head,
            is_connect,
            expects,
            body,
        } = asked;
        self.request.body = body;
        self.held += target.len();
        self.pending.push_back(Pending {
            began,
            method,
            path: target,
            protocol,
            is_head,
            is_connect,
            expects,
        });
        Ok(())
    }

    fn answered(
        &mut self,
        answered: &Answered,
        now: Instant,
        seen: &mut impl FnMut(Seen),
    ) -> Result<(), Unclear> {
        let only = self.pending.len() == 1;
        let request = self.pending.front_mut().ok_or(Unclear)?;
        let status = answered.status;
        let switched = status == 101 || request.is_connect && matches!(status, 200..300);
        if matches!(status, 100..200) && !switched {
            request.expects = false;
            return Ok(());
        }
        let bodiless = request.is_head || switched || matches!(status, 204 | 304);
        self.current = Some(Current {
            status,
            bytes: 0,
            // Without a 100 Continue the client may omit its body, or send it anyway.
            last: switched || only && request.expects && self.request.body.is_some(),
        });
        self.response.body = answered.body().filter(|_| !bodiless);
        if self.response.body.is_none() {
            self.complete(now, seen)?;
        }
        Ok(())
    }

    fn complete(&mut self, now: Instant, seen: &mut impl FnMut(Seen)) -> Result<(), Unclear> {
        let current = self.current.take().ok_or(Unclear)?;
        let pending = self.pending.pop_front().ok_or(Unclear)?;
        self.held -= pending.path.len();
        seen(exchange(pending, Some(current), now));
        if current.last {
            return Err(Unclear);
        }
        Ok(())
    }
}

fn exchange(pending: Pending, current: Option<Current>, now: Instant) -> Seen {
    let duration: Duration = now.saturating_duration_since(pending.began);
    Seen::Exchange(Exchange {
        began: pending.began,
        duration,
        method: pending.method,
        path: pending.path,
        status: current.map_or(0, |current| current.status),
        response_bytes: current.map_or(0, |current| current.bytes),
        protocol: pending.protocol,
        grpc_status: None,
    })
}
