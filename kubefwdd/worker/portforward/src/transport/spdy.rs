//! SPDY/3.1 for the client of a port-forward: parses and writes frames.
//!
//! The far end is `moby/spdystream` in the container runtime. It has no flow control (it reads `SETTINGS` and
//! `WINDOW_UPDATE` and ignores them) and it closes the connection on a control type that it does not know, so this client
//! sends only `SYN_STREAM`, `RST_STREAM`, `PING` and `DATA`.
//!
//! [`Parser`] is incremental: it takes the byte stream cut at any place and hands out payload as slices of its input,
//! without waiting for the end of a frame and without copying.

mod headers;

use thiserror::Error;

/// Bytes in front of every frame.
pub(crate) const HEADER: usize = 8;
/// The largest payload of one frame (24 bits).
pub(crate) const MAX_PAYLOAD: usize = 0xff_ffff;

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FLAG_FIN: u8 = 1;
const STATUS_CANCEL: u32 = 5;

/// The stream of a pair that carries the runtime's error, or nothing.
pub(crate) const ERROR: &str = "error";
/// The stream of a pair that carries the bytes.
pub(crate) const DATA: &str = "data";

/// A frame, or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A piece of the payload of a DATA frame.
    Data {
        /// The stream that it belongs to.
        stream: u32,
        /// The payload, as far as the input holds it.
        bytes: &'a [u8],
        /// This is the last piece of the frame.
        end: bool,
        /// This is the last piece of the stream.
        fin: bool,
    },
    /// The runtime took the stream. It has not dialled yet.
    Accepted {
        /// The stream that was taken.
        stream: u32,
    },
    /// The runtime gave the stream up.
    Reset {
        /// The stream that was given up.
        stream: u32,
    },
    /// An answer to a PING, or a PING of the peer's own.
    Ping {
        /// Odd where it answers one of ours.
        id: u32,
    },
    /// The peer takes no more streams.
    GoAway,
}

/// Bytes that are not SPDY/3.1.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    #[error("SPDY control frame of version {0}, expected 3")]
    Version(u16),
    #[error("SPDY control frame of type {kind} has {length} bytes, too few for its type")]
    Short { kind: u16, length: usize },
}

/// Cuts a byte stream into [`Event`]s.
#[derive(Default)]
pub(crate) struct Parser {
    header: [u8; HEADER],
    have: usize,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    Data {
        stream: u32,
        fin: bool,
        left: usize,
    },
    Control {
        kind: u16,
        left: usize,
        fields: [u8; 4],
        have: usize,
    },
}

impl Parser {
    /// The next event, and `input` moved behind it; `None` once `input` is used up.
    ///
    /// # Errors
    /// The bytes are not SPDY/3.1; the connection can no longer be used.
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, FrameError> {
        loop {
            match &mut self.state {
                State::Header => {
                    self.have += fill(&mut self.header[self.have..], input);
                    if self.have < HEADER {
                        return Ok(None);
                    }
                    self.have = 0;
                    self.state = start(&self.header)?;
                }
                State::Data { stream, fin, left } => {
                    if *left > 0 && input.is_empty() {
                        return Ok(None);
                    }
                    let (bytes, rest) = input.split_at((*left).min(input.len()));
                    *input = rest;
                    *left -= bytes.len();
                    let end = *left == 0;
                    let event = Event::Data {
                        stream: *stream,
                        bytes,
                        end,
                        fin: end && *fin,
                    };
                    if end {
                        self.state = State::Header;
                    }
                    return Ok(Some(event));
                }
                State::Control {
                    kind,
                    left,
                    fields,
                    have,
                } => {
                    let taken = fill(&mut fields[*have..], &mut &input[..input.len().min(*left)]);
                    *have += taken;
                    let skipped = (*left).min(input.len());
                    *input = &input[skipped..];
                    *left -= skipped;
                    if *left > 0 {
                        return Ok(None);
                    }
                    let event = control(*kind, u32::from_be_bytes(*fields));
                    self.state = State::Header;
                    if event.is_some() {
                        return Ok(event);
                    }
                }
            }
        }
    }
}

/// Copies as much of `input` as `into` has room for, and moves `input` behind it.
fn fill(into: &mut [u8], input: &mut &[u8]) -> usize {
    let taken = into.len().min(input.len());
    let (head, rest) = input.split_at(taken);
    into[..taken].copy_from_slice(head);
    *input = rest;
    taken
}

fn start(header: &[u8; HEADER]) -> Result<State, FrameError> {
    let [a, b, c, d, flags, l0, l1, l2] = *header;
    let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
    if a & 0x80 == 0 {
        return Ok(State::Data {
            stream: u32::from_be_bytes([a, b, c, d]),
            fin: flags & FLAG_FIN != 0,
            left: length,
        });
    }
    let version = u16::from_be_bytes([a & 0x7f, b]);
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let kind = u16::from_be_bytes([c, d]);
    let needed = match kind {
        SYN_REPLY | PING => 4,
        RST_STREAM | GOAWAY => 8,
        _ => 0,
    };
    if length < needed {
        return Err(FrameError::Short { kind, length });
    }
    Ok(State::Control {
        kind,
        left: length,
        fields: [0; 4],
        have: 0,
    })
}

/// The events of control frames, decided by their first field. Header blocks of the runtime are empty and are skipped.
fn control(kind: u16, field: u32) -> Option<Event<'static>> {
    let stream = field & 0x7fff_ffff;
    match kind {
        SYN_REPLY => Some(Event::Accepted { stream }),
        RST_STREAM => Some(Event::Reset { stream }),
        PING => Some(Event::Ping { id: field }),
        GOAWAY => Some(Event::GoAway),
        _ => None,
    }
}

/// Appends a `SYN_STREAM` without flags and with the lowest priority number.
pub(crate) fn syn_stream(out: &mut Vec<u8>, stream: u32, kind: &str, port: u16, request: u32) {
    let block = headers::block(kind, port, request, stream == 1);
    let length = 10 + block.len();
    out.extend_from_slice(&control_header(SYN_STREAM, length));
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&block);
}

/// Appends a `RST_STREAM` with the status CANCEL.
pub(crate) fn rst_stream(out: &mut Vec<u8>, stream: u32) {
    out.extend_from_slice(&control_header(RST_STREAM, 8));
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&STATUS_CANCEL.to_be_bytes());
}

pub(crate) fn ping(out: &mut Vec<u8>, id: u32) {
    out.extend_from_slice(&control_header(PING, 4));
    out.extend_from_slice(&id.to_be_bytes());
}

/// Appends an empty `DATA` frame that ends our side of the stream.
pub(crate) fn fin(out: &mut Vec<u8>, stream: u32) {
    let mut header = data_header(stream, 0);
    header[4] = FLAG_FIN;
    out.extend_from_slice(&header);
}

/// The header of a `DATA` frame; `length` is at most [`MAX_PAYLOAD`].
pub(crate) fn data_header(stream: u32, length: usize) -> [u8; HEADER] {
    debug_assert!(length <= MAX_PAYLOAD);
    let [a, b, c, d] = stream.to_be_bytes();
    let [_, l0, l1, l2] = (length as u32).to_be_bytes();
    [a, b, c, d, 0, l0, l1, l2]
}

fn control_header(kind: u16, length: usize) -> [u8; HEADER] {
    let [k0, k1] = kind.to_be_bytes();
    let [_, l0, l1, l2] = (length as u32).to_be_bytes();
    [0x80, VERSION as u8, k0, k1, 0, l0, l1, l2]
}

#[cfg(test)]
#[path = "spdy/tests.rs"]
mod tests;
