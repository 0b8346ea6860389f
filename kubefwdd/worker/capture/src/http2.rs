//! HTTP/2 with prior knowledge, and gRPC, observed from outside: requests and answers are paired by stream.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use crate::exchange::{Exchange, Protocol, Seen, Unclear};
use crate::text::{authority, method, target};
use frames::{Frames, Item};
use hpack::{Decoder, Name};

mod frames;
pub(crate) mod hpack;
mod huffman;

/// Streams followed at a time; the rest are only counted.
const STREAMS: usize = 256;

/// One connection, behind its preface.
#[derive(Debug)]
pub(super) struct Connection {
    keep_queries: bool,
    client: Direction,
    server: Direction,
    streams: HashMap<u32, Exchange>,
    /// The text that `streams` holds, bytes.
    held: usize,
    /// The last stream that the client opened.
    last: u32,
}

#[derive(Debug, Default)]
struct Direction {
    frames: Frames,
    fields: Decoder,
}

/// The fields of one header block.
#[derive(Default)]
struct Fields {
    method: Option<Cow<'static, str>>,
    path: Option<Box<str>>,
    authority: Option<Box<str>>,
    status: Option<u16>,
    grpc: bool,
    grpc_status: Option<i32>,
}

impl Connection {
    pub(super) fn new(keep_queries: bool) -> Self {
        Self {
            keep_queries,
            client: Direction::default(),
            server: Direction::default(),
            streams: HashMap::new(),
            held: 0,
            last: 0,
        }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        let directions = [&self.client, &self.server];
        let in_directions: usize = directions
            .iter()
            .map(|direction| direction.frames.held() + direction.fields.held())
            .sum();
        self.held + self.streams.capacity() * size_of::<(u32, Exchange)>() + in_directions
    }

    /// Requests that were seen and not recorded yet.
    pub(super) fn pending(&self) -> usize {
        self.streams.len()
    }

    /// Takes bytes of the client, behind the preface.
    pub(super) fn client(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        seen: &mut impl FnMut(Seen),
    ) -> Result<(), Unclear> {
        while let Some(item) = self.client.frames.next(&mut bytes, now)? {
            match item {
                Item::Headers { stream, began, .. } => self.request(stream, began, seen)?,
                Item::Reset { stream } => self.finish(stream, now, seen),
                Item::Promise => return Err(Unclear),
                Item::Data { .. } | Item::GoAway { .. } => {}
            }
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
        while let Some(item) = self.server.frames.next(&mut bytes, now)? {
            match item {
                Item::Headers { stream, end, .. } => {
                    let fields = self.server.fields(self.keep_queries)?;
                    if let Some(exchange) = self.streams.get_mut(&stream) {
                        fields.answer(exchange);
                    }
                    if end {
                        self.finish(stream, now, seen);
                    }
                }
                Item::Data { stream, bytes, end } => {
                    if let Some(exchange) = self.streams.get_mut(&stream) {
                        exchange.response_bytes += bytes as u64;
                    }
                    if end {
                        self.finish(stream, now, seen);
                    }
                }
                Item::Reset { stream } => self.finish(stream, now, seen),
                // A push promise is not a request of the client, but its fields change the table.
                Item::Promise => drop(self.server.fields(self.keep_queries)?),
                Item::GoAway { last } => self.finish_above(last, now, seen),
            }
        }
        Ok(())
    }

    /// The connection has ended: requests without a full answer are recorded as they are.
    pub(super) fn end(&mut self, now: Instant, seen: &mut impl FnMut(Seen)) {
        self.finish_above(0, now, seen);
    }

    /// Records streams above one as they stand, in the order in which they were opened.
    fn finish_above(&mut self, last: u32, now: Instant, seen: &mut impl FnMut(Seen)) {
        let mut open: Vec<u32> = self.streams.keys().copied().collect();
        open.retain(|stream| *stream > last);
        open.sort_unstable();
        for stream in open {
            self.finish(stream, now, seen);
        }
    }

    fn request(
        &mut self,
        stream: u32,
        began: Instant,
        seen: &mut impl FnMut(Seen),
    ) -> Result<(), Unclear> {
        let fields = self.client.fields(self.keep_queries)?;
        if stream <= self.last {
            // Trailers.
            return Ok(());
        }
        self.last = stream;
        if self.streams.len() >= STREAMS {
            seen(Seen::Unrecorded(1));
            return Ok(());
        }
        let method = fields.method.ok_or(Unclear)?;
        let path = fields.path.or(fields.authority).unwrap_or_default();
        let protocol = if fields.grpc {
            Protocol::Grpc
        } else {
            Protocol::Http2
        };
        self.held += path.len();
        let exchange = Exchange::new(began, method, path, protocol);
        self.streams.insert(stream, exchange);
        Ok(())
    }

    fn finish(&mut self, stream: u32, now: Instant, seen: &mut impl FnMut(Seen)) {
        if let Some(exchange) = self.streams.remove(&stream) {
            self.held -= exchange.path.len();
            seen(exchange.end(now));
        }
    }
}

impl Direction {
    /// The fields of the header block that was put together.
    fn fields(&mut self, keep_queries: bool) -> Result<Fields, Unclear> {
        let Self {
            frames,
            fields: decoder,
        } = self;
        let mut fields = Fields::default();
        decoder.decode(frames.block(), |name, value| match name {
            Name::Method => fields.method = Some(method(value)),
            Name::Path => fields.path = Some(target(value, keep_queries)),
            Name::Authority => fields.authority = Some(authority(value)),
            Name::Status => fields.status = number(value),
            Name::ContentType => fields.grpc = is_grpc(value),
            Name::GrpcStatus => fields.grpc_status = number(value),
            Name::Other => {}
        })?;
        Ok(fields)
    }
}

impl Fields {
    /// Notes the head of an answer, or its trailers; an interim answer says nothing.
    fn answer(&self, exchange: &mut Exchange) {
        match self.status {
            Some(100..200) => return,
            Some(status) => exchange.status = status,
            None => {}
        }
        if exchange.protocol == Protocol::Grpc && self.grpc_status.is_some() {
            exchange.grpc_status = self.grpc_status;
        }
    }
}

/// `application/grpc`, also with a format or parameters behind it; gRPC-Web is another protocol.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
