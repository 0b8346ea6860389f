//! WebSocket (RFC 6455) for a client of a Kubernetes API server: the handshake's key, and frames in both directions.
//!
//! [`Deframer`] hands payload out as slices of its input and never assembles messages: on the SPDY tunnel a message
//! boundary means nothing, and on `v4.channel.k8s.io` only the first byte of a message matters.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use thiserror::Error;

/// The most bytes that [`header`] writes.
pub(crate) const MAX_HEADER: usize = 14;
/// What a control frame may carry (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;

const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A piece of what the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// Payload of a message.
    Data {
        /// The payload, as far as the input holds it; never empty.
        bytes: &'a [u8],
        /// These are the first bytes of a message.
        start: bool,
    },
    /// A ping, to be answered with a pong of the same payload.
    Ping(Vec<u8>),
    /// The server closes; 1000 is its normal end, 1005 where it gave no code.
    Close(u16),
}

/// Bytes that a server must not send.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    #[error("WebSocket frame with reserved bits set")]
    Reserved,
    #[error("WebSocket frame with unknown opcode {0}")]
    Opcode(u8),
    #[error("masked WebSocket frame from a server")]
    Masked,
    #[error("WebSocket control frame that is fragmented or longer than 125 bytes")]
    Control,
    #[error("WebSocket frame with a length of more than 63 bits")]
    Length,
}

/// Cuts what the server sends into [`Item`]s.
#[derive(Default)]
pub(crate) struct Deframer {
    header: [u8; 10],
    have: usize,
    state: State,
    starting: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    Payload {
        left: u64,
    },
    Control {
        opcode: u8,
        left: usize,
        payload: Vec<u8>,
    },
}

impl Deframer {
    /// The next item, and `input` moved behind it; `None` once `input` is used up.
    ///
    /// # Errors
    /// The bytes are not what a WebSocket server may send; the connection can no longer be used.
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Item<'a>>, FrameError> {
        loop {
            match &mut self.state {
                State::Header => {
                    let needed = header_length(&self.header[..self.have]);
                    if self.have < needed {
                        let Some((byte, rest)) = input.split_first() else {
                            return Ok(None);
                        };
                        self.header[self.have] = *byte;
                        self.have += 1;
                        *input = rest;
                        continue;
                    }
                    let header = self.header;
                    let have = std::mem::take(&mut self.have);
                    self.start(&header[..have])?;
                }
                State::Payload { left: 0 } => self.state = State::Header,
                State::Payload { left } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let length = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(input.len());
                    let (bytes, rest) = input.split_at(length);
                    *input = rest;
                    *left -= length as u64;
                    let start = std::mem::take(&mut self.starting);
                    return Ok(Some(Item::Data { bytes, start }));
                }
                State::Control {
                    opcode,
                    left,
                    payload,
                } => {
                    let (bytes, rest) = input.split_at((*left).min(input.len()));
                    payload.extend_from_slice(bytes);
                    *left -= bytes.len();
                    *input = rest;
                    if *left > 0 {
                        return Ok(None);
                    }
                    let item = control(*opcode, std::mem::take(payload));
                    self.state = State::Header;
                    if item.is_some() {
                        return Ok(item);
                    }
                }
            }
        }
    }

    fn start(&mut self, header: &[u8]) -> Result<(), FrameError> {
        let opcode = header[0] & 0x0f;
        if header[0] & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        if header[1] & MASK != 0 {
            return Err(FrameError::Masked);
        }
        let length = match header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => {
                let [_, _, eight @ ..] = self.header;
                u64::from_be_bytes(eight)
            }
            short => u64::from(short),
        };
        if length > i64::MAX as u64 {
            return Err(FrameError::Length);
        }
        match opcode {
            CONTINUATION | TEXT | BINARY => {
                self.starting |= opcode != CONTINUATION;
                self.state = State::Payload { left: length };
            }
            CLOSE | PING | PONG => {
                if header[0] & FIN == 0 || length > MAX_CONTROL as u64 {
                    return Err(FrameError::Control);
                }
                self.state = State::Control {
                    opcode,
                    left: length as usize,
                    payload: Vec::new(),
                };
            }
            other => return Err(FrameError::Opcode(other)),
        }
        Ok(())
    }
}

/// The length of the header whose first bytes are given; grows once the second byte is there.
fn header_length(have: &[u8]) -> usize {
    match have.get(1).map(|byte| byte & 0x7f) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    }
}

fn control(opcode: u8, payload: Vec<u8>) -> Option<Item<'static>> {
    match opcode {
        PING => Some(Item::Ping(payload)),
        CLOSE => Some(Item::Close(match payload[..] {
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 1005,
        })),
        _ => None,
    }
}

/// Makes a binary message of the payload behind room for the header, [`MAX_HEADER`]; returns where it starts. The payload is
/// masked with `key`.
pub(crate) fn message(wire: &mut [u8], key: [u8; 4]) -> usize {
    let (room, payload) = wire.split_at_mut(MAX_HEADER);
    mask(payload, key);
    let (header, start) = header(BINARY, payload.len(), key);
    room[start..].copy_from_slice(&header[start..]);
    start
}

/// The header of a frame, right-aligned: returns the bytes and where they start.
fn header(opcode: u8, length: usize, key: [u8; 4]) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0; MAX_HEADER];
    header[10..].copy_from_slice(&key);
    let start = if length < 126 {
        header[9] = MASK | length as u8;
        8
    } else if let Ok(short) = u16::try_from(length) {
        header[7] = MASK | 126;
        header[8..10].copy_from_slice(&short.to_be_bytes());
        6
    } else {
        header[1] = MASK | 127;
        header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        0
    };
    header[start] = FIN | opcode;
    (header, start)
}

pub(crate) fn pong(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    let (header, start) = header(PONG, payload.len(), key);
    out.extend_from_slice(&header[start..]);
    let at = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[at..], key);
}

/// Masks `payload` in place (RFC 6455, 5.3), eight bytes at a time.
pub(crate) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let value = u64::from_ne_bytes([
            word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
        ]);
        word.copy_from_slice(&(value ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// A fresh `Sec-WebSocket-Key`.
pub(crate) fn key() -> String {
    STANDARD.encode(rand::random::<[u8; 16]>())
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455, 4.2.2).
pub(crate) fn accept(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    ))
}

#[cfg(test)]
mod tests;
