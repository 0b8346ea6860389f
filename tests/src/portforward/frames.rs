//! SPDY/3.1 frames: decoding what a client sends, encoding what the server answers.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::headers::{EMPTY_BLOCK, FIRST_EMPTY_BLOCK, HeaderError, HeaderReader};

/// The status of RST_STREAM that refuses or cancels a stream.
pub(super) const CANCEL: u32 = 5;
/// The status of RST_STREAM for a stream id that is out of order.
pub(super) const PROTOCOL_ERROR: u32 = 1;

const FLAG_FIN: u8 = 1;

/// A frame from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Syn {
        id: u32,
        fin: bool,
        headers: Vec<(String, String)>,
    },
    Data {
        id: u32,
        fin: bool,
        payload: Bytes,
    },
    Rst {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// SETTINGS, HEADERS, WINDOW_UPDATE, SYN_REPLY: read and ignored.
    Other,
}

/// Why the server ends the connection.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum FrameError {
    #[error("control frame of unknown type {0}")]
    UnknownControl(u16),
    #[error("control frame of version {0}, not 3")]
    Version(u16),
    #[error("control frame of type {0} with a wrong length")]
    Length(u16),
    #[error("PING with flags or stream id 0")]
    Invalid,
    #[error(transparent)]
    Headers(#[from] HeaderError),
}

#[derive(Debug, Clone, Copy)]
struct Head {
    bytes: [u8; 8],
    length: usize,
}

/// Cuts a byte stream into frames, whatever pieces it comes in. A payload that lies in one piece is not copied.
#[derive(Debug)]
pub(super) struct Decoder {
    headers: HeaderReader,
    head: Option<Head>,
    /// Bytes of the present frame's head or body that came in earlier pieces.
    partial: BytesMut,
    /// The piece being cut.
    input: BytesMut,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            headers: HeaderReader::new(),
            head: None,
            partial: BytesMut::new(),
            input: BytesMut::new(),
        }
    }

    /// Hands over the next piece; the previous one must have been used up by [`Self::next`].
    pub(super) fn feed(&mut self, piece: BytesMut) {
        debug_assert!(self.input.is_empty(), "frames are taken before more is fed");
        self.input = piece;
    }

    /// The next frame; `None` when more input is needed.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(bytes) = self.take(8) else {
                    return Ok(None);
                };
                let mut head = [0; 8];
                head.copy_from_slice(&bytes);
                let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
                *self.head.insert(Head {
                    bytes: head,
                    length,
                })
            }
        };
        let Some(body) = self.take(head.length) else {
            return Ok(None);
        };
        self.head = None;
        self.frame(head.bytes, body.freeze()).map(Some)
    }

    /// `length` contiguous bytes, or `None` with all input set aside.
    fn take(&mut self, length: usize) -> Option<BytesMut> {
        if self.partial.is_empty() && self.input.len() >= length {
            return Some(self.input.split_to(length));
        }
        let missing = length - self.partial.len();
        if self.input.len() < missing {
            if self.partial.is_empty() {
                self.partial.reserve(length);
            }
            self.partial.extend_from_slice(&self.input);
            self.input.clear();
            return None;
        }
        self.partial.extend_from_slice(&self.input[..missing]);
        self.input.advance(missing);
        Some(std::mem::take(&mut self.partial))
    }

    fn frame(&mut self, head: [u8; 8], body: Bytes) -> Result<Frame, FrameError> {
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let flags = head[4];
        let fin = flags & FLAG_FIN != 0;
        if first & 0x8000_0000 == 0 {
            return Ok(Frame::Data {
                id: first,
                fin,
                payload: body,
            });
        }
        let version = u16::from_be_bytes([head[0] & 0x7f, head[1]]);
        let kind = u16::from_be_bytes([head[2], head[3]]);
        if version != 3 {
            return Err(FrameError::Version(version));
        }
        let id = || {
            let bytes = body.first_chunk::<4>().ok_or(FrameError::Length(kind))?;
            Ok::<_, FrameError>(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
        };
        match kind {
            1 => {
                let id = id()?;
                let block = body.get(10..).ok_or(FrameError::Length(kind))?;
                let headers = self.headers.read(block)?;
                Ok(Frame::Syn { id, fin, headers })
            }
            3 if body.len() == 8 => Ok(Frame::Rst { id: id()? }),
            6 if body.len() == 4 => {
                let id = body.first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
                if id == 0 || flags != 0 {
                    return Err(FrameError::Invalid);
                }
                Ok(Frame::Ping { id })
            }
            7 if body.len() == 8 => Ok(Frame::GoAway),
            2 | 4 | 8 | 9 => Ok(Frame::Other),
            3 | 6 | 7 => Err(FrameError::Length(kind)),
            _ => Err(FrameError::UnknownControl(kind)),
        }
    }
}

/// A frame to the client.
#[derive(Debug)]
pub(super) enum Reply {
    /// SYN_REPLY without headers.
    Accept {
        id: u32,
    },
    Data {
        id: u32,
        fin: bool,
        payload: Bytes,
    },
    Rst {
        id: u32,
        status: u32,
    },
    Ping {
        id: u32,
    },
}

/// Encodes the server's frames; keeps whether the connection's zlib stream has begun.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    replied: bool,
}

impl Encoder {
    /// Appends the frame as pieces for a vectored write; a payload is passed on uncopied.
    pub(super) fn encode(&mut self, reply: Reply, mut push: impl FnMut(Bytes)) {
        match reply {
            Reply::Accept { id } => {
                let block: &[u8] = if self.replied {
                    &EMPTY_BLOCK
                } else {
                    &FIRST_EMPTY_BLOCK
                };
                self.replied = true;
                push(control(2, id, block));
            }
            Reply::Data { id, fin, payload } => {
                let length = u32::try_from(payload.len()).expect("a chunk is far below 16 MiB");
                let mut head = BytesMut::with_capacity(8);
                head.put_u32(id);
                head.put_u32(length | u32::from(fin) << 24);
                push(head.freeze());
                if !payload.is_empty() {
                    push(payload);
                }
            }
            Reply::Rst { id, status } => push(control(3, id, &status.to_be_bytes())),
            Reply::Ping { id } => push(control(6, id, &[])),
        }
    }
}

fn control(kind: u16, id: u32, rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(12 + rest.len());
    frame.put_u16(0x8003);
    frame.put_u16(kind);
    let length = u32::try_from(4 + rest.len()).expect("a control frame is short");
    frame.put_u32(length);
    frame.put_u32(id);
    frame.put_slice(rest);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Vec<u8> {
        let mut wire = Vec::new();
        wire.extend_from_slice(&[0, 0, 0, 3, 0, 0, 0, 5]);
        wire.extend_from_slice(b"hello");
        wire.extend_from_slice(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
        wire.extend_from_slice(&[0, 0, 0, 1, 1, 0, 0, 0]);
        wire.extend_from_slice(&[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 5]);
        wire.extend_from_slice(&[0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 1, 0]);
        wire.extend_from_slice(&[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        wire
    }

    fn expected() -> Vec<Frame> {
        vec![
            Frame::Data {
                id: 3,
                fin: false,
                payload: Bytes::from_static(b"hello"),
            },
            Frame::Ping { id: 1 },
            Frame::Data {
                id: 1,
                fin: true,
                payload: Bytes::new(),
            },
            Frame::Rst { id: 3 },
            Frame::Other,
            Frame::GoAway,
        ]
    }

    proptest::proptest! {
        #[test]
        fn frames_do_not_depend_on_the_pieces(cuts in proptest::collection::vec(1_usize..20, 0..40)) {
            let wire = wire();
            let mut decoder = Decoder::new();
            let mut frames = Vec::new();
            let mut rest = &wire[..];
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                decoder.feed(BytesMut::from(now));
                while let Some(frame) = decoder.next().unwrap() {
                    frames.push(frame);
                }
            }
            proptest::prop_assert_eq!(frames, expected());
        }

        #[test]
        fn rubbish_ends_in_an_error_or_waits(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut decoder = Decoder::new();
            decoder.feed(BytesMut::from(&bytes[..]));
            while let Ok(Some(_)) = decoder.next() {}
        }
    }

    #[test]
    fn unknown_control_frames_are_an_error() {
        let mut decoder = Decoder::new();
        decoder.feed(BytesMut::from(&[0x80, 3, 0, 5, 0, 0, 0, 0][..]));
        assert_eq!(decoder.next(), Err(FrameError::UnknownControl(5)));
    }

    #[test]
    fn answers_are_those_of_the_captures() {
        let mut encoder = Encoder::default();
        let mut out = Vec::new();
        for reply in [
            Reply::Accept { id: 1 },
            Reply::Accept { id: 3 },
            Reply::Rst {
                id: 1,
                status: CANCEL,
            },
            Reply::Ping { id: 1 },
            Reply::Data {
                id: 3,
                fin: true,
                payload: Bytes::new(),
            },
        ] {
            encoder.encode(reply, |piece| out.push(piece.to_vec()));
        }
        assert_eq!(
            out,
            [
                vec![
                    0x80, 3, 0, 2, 0, 0, 0, 0x14, 0, 0, 0, 1, 0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2,
                    0x62, 0x60, 0x60, 0x60, 0, 0, 0, 0, 0xff, 0xff
                ],
                vec![
                    0x80, 3, 0, 2, 0, 0, 0, 0x0e, 0, 0, 0, 3, 0x62, 0x60, 0x60, 0x60, 0, 0, 0, 0,
                    0xff, 0xff
                ],
                vec![0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 5],
                vec![0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1],
                vec![0, 0, 0, 3, 1, 0, 0, 0],
            ]
        );
    }
}
