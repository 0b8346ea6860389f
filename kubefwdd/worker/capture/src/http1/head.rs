//! Heads of HTTP/1 messages: assembled from any pieces, and parsed for what decides where the message ends.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::time::Instant;

use httparse::{Header, ParserConfig, Request, Response, Status};

use super::body::Body;
use crate::exchange::{Exchange, Protocol, Unclear};
use crate::text::{self, authority, target};

/// The longest head, bytes.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Puts a head together.
#[derive(Debug, Default)]
pub(super) struct Collector {
    bytes: Vec<u8>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) exchange: Exchange,
    /// Its answer has no body, whatever it says.
    pub(super) is_head: bool,
    /// The connection is another one's once it is accepted.
    pub(super) is_connect: bool,
    /// The client may leave the body out when the answer comes first.
    pub(super) expects: bool,
}

#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    framing: Framing,
}

#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    expects: bool,
}

impl Collector {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes a whole head off `input`; `None` when it is not whole yet and all of `input` was kept.
    pub(super) fn take<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Cow<'a, [u8]>>, Unclear> {
        let before = self.bytes.len();
        let room = MAX_HEAD - before;
        let offered = &input[..input.len().min(room)];
        let found = if before == 0 {
            end(offered, 0)?
        } else {
            self.bytes.extend_from_slice(offered);
            end(&self.bytes, before)?
        };
        let Some(end) = found else {
            if offered.len() == room {
                return Err(Unclear);
            }
            if before == 0 {
                self.bytes.extend_from_slice(offered);
            }
            *input = &[];
            return Ok(None);
        };
        let (head, rest) = input.split_at(end - before);
        *input = rest;
        if before == 0 {
            return Ok(Some(Cow::Borrowed(head)));
        }
        let mut head = std::mem::take(&mut self.bytes);
        head.truncate(end);
        Ok(Some(Cow::Owned(head)))
    }
}

/// Where the head ends, looking at lines that end at or behind `from`. A line that ends with LF alone is unclear: not
/// everybody takes that for an end.
fn end(bytes: &[u8], from: usize) -> Result<Option<usize>, Unclear> {
    for at in memchr::memchr_iter(b'\n', &bytes[from..]) {
        let line = &bytes[..=from + at];
        if !line.ends_with(b"\r\n") {
            return Err(Unclear);
        }
        if line.ends_with(b"\r\n\r\n") {
            return Ok(Some(line.len()));
        }
    }
    Ok(None)
}

impl RequestHead {
    /// The request, and its body if it has one.
    pub(super) fn parse(
        head: &[u8],
        keep_query: bool,
        began: Instant,
    ) -> Result<(Self, Option<Body>), Unclear> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = Request::new(&mut []);
        let parsed = request
            .parse_with_uninit_headers(head, &mut headers)
            .map_err(|_| Unclear)?;
        if parsed != Status::Complete(head.len()) {
            return Err(Unclear);
        }
        let (Some(method), Some(path), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(Unclear);
        };
        let framing = Framing::new(version, request.headers)?;
        let is_connect = method == "CONNECT";
        let path = if is_connect {
            authority(path.as_bytes())
        } else {
            target(path.as_bytes(), keep_query)
        };
        let name = text::method(method.as_bytes());
        let protocol = match version {
            0 => Protocol::Http10,
            _ => Protocol::Http11,
        };
        let request = Self {
            exchange: Exchange::new(began, name, path, protocol),
            is_head: method == "HEAD",
            is_connect,
            expects: framing.expects,
        };
        Ok((request, framing.body()))
    }
}

impl ResponseHead {
    pub(super) fn parse(head: &[u8]) -> Result<Self, Unclear> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = Response::new(&mut []);
        let parsed = ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, head, &mut headers)
            .map_err(|_| Unclear)?;
        if parsed != Status::Complete(head.len()) || !head.starts_with(b"HTTP/") {
            return Err(Unclear);
        }
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(Unclear);
        };
        let framing = Framing::new(version, response.headers)?;
        Ok(Self { status, framing })
    }

    /// The body of an answer that has one.
    pub(super) fn body(&self) -> Option<Body> {
        match (self.framing.length, self.framing.chunked) {
            (None, false) => Some(Body::Rest),
            _ => self.framing.body(),
        }
    }
}

impl Framing {
    /// Refuses what two readers could understand differently.
    fn new(version: u8, headers: &[Header<'_>]) -> Result<Self, Unclear> {
        let mut framing = Self::default();
        let mut codings = 0;
        for Header { name, value } in headers {
            if name.eq_ignore_ascii_case("content-length") {
                if framing.length.replace(length(value)?).is_some() {
                    return Err(Unclear);
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                codings += 1;
                framing.chunked = is_chunked(value);
            } else if name.eq_ignore_ascii_case("expect") {
                framing.expects = true;
            }
        }
        let wrong_coding = codings > 0
            && (codings > 1 || !framing.chunked || framing.length.is_some() || version == 0);
        if wrong_coding {
            return Err(Unclear);
        }
        Ok(framing)
    }

    fn body(&self) -> Option<Body> {
        match self.length {
            _ if self.chunked => Some(Body::chunked()),
            None | Some(0) => None,
            Some(length) => Some(Body::Length(length)),
        }
    }
}

/// A length is digits and nothing else.
fn length(value: &[u8]) -> Result<u64, Unclear> {
    let digits = value.trim_ascii();
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Unclear);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Unclear)?;
    text.parse().map_err(|_| Unclear)
}

fn is_chunked(value: &[u8]) -> bool {
    let last = value.rsplit(|byte| *byte == b',').next();
    last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests;
