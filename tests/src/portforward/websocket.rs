//! The server side of WebSocket (RFC 6455), as far as port-forwards use it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// gorilla/websocket's write buffer in the API server and kubelet.
const WRITE_BUFFER: usize = 4096;

/// How much of its upstream the tunnel reads, and so sends, at once.
pub(super) const TUNNEL_READ: usize = 32 * 1024;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A frame from the client, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) payload: BytesMut,
}

/// What the client sent is no WebSocket.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum WebSocketError {
    #[error("a client's frame must be masked")]
    Unmasked,
    #[error("reserved opcode {0}")]
    Opcode(u8),
    #[error("a frame of {0} bytes is longer than any real client sends")]
    TooLong(u64),
}

/// The longest frame that is accepted; spdystream's frames end below 16 MiB.
const MAX_FRAME: u64 = 64 * 1024 * 1024;

/// `Sec-WebSocket-Accept` for a client's key.
pub(super) fn accept_key(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Cuts the next frame off `buffer`; `None` when it is not all there yet.
pub(super) fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, WebSocketError> {
    let [first, second, ..] = **buffer else {
        return Ok(None);
    };
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        other => return Err(WebSocketError::Opcode(other)),
    };
    if second & 0x80 == 0 {
        return Err(WebSocketError::Unmasked);
    }
    let (length, mask_at) = match second & 0x7f {
        126 => match buffer.get(2..4) {
            Some(bytes) => (u64::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4),
            None => return Ok(None),
        },
        127 => match buffer.get(2..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if length > MAX_FRAME {
        return Err(WebSocketError::TooLong(length));
    }
    let start = mask_at + 4;
    let length = length as usize;
    if buffer.len() < start + length {
        buffer.reserve(start + length - buffer.len());
        return Ok(None);
    }
    let mut mask = [0; 4];
    mask.copy_from_slice(&buffer[mask_at..start]);
    buffer.advance(start);
    let mut payload = buffer.split_to(length);
    unmask(&mut payload, mask);
    Ok(Some(Frame {
        opcode,
        fin: first & 0x80 != 0,
        payload,
    }))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let word = u32::from_ne_bytes(mask);
    let wide = u64::from(word) << 32 | u64::from(word);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The head of an unmasked frame.
pub(super) fn head(opcode: Opcode, fin: bool, length: usize) -> Bytes {
    let code = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    let mut out = BytesMut::with_capacity(10);
    out.put_u8(u8::from(fin) << 7 | code);
    match u16::try_from(length) {
        Ok(short) if short < 126 => out.put_u8(short as u8),
        Ok(middle) => {
            out.put_u8(126);
            out.put_u16(middle);
        }
        Err(_) => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
    out.freeze()
}

/// A whole unmasked frame.
pub(super) fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let head = head(opcode, true, payload.len());
    let mut out = BytesMut::with_capacity(head.len() + payload.len());
    out.put_slice(&head);
    out.put_slice(payload);
    out.freeze()
}

/// A close frame with code 1000.
pub(super) fn close() -> Bytes {
    Bytes::from_static(&[0x88, 0x02, 0x03, 0xe8])
}

/// How gorilla/websocket writes a message of that length through its 4 KiB buffer: the lengths of its frames. A long
/// message goes out in one unfinished frame followed by an empty final one.
pub(super) fn message_frames(length: usize) -> impl Iterator<Item = (Opcode, bool, usize)> {
    let direct = length > 2 * (WRITE_BUFFER + 14);
    let (first, second) = if direct {
        (length, Some(0))
    } else if length > WRITE_BUFFER {
        (WRITE_BUFFER, Some(length - WRITE_BUFFER))
    } else {
        (length, None)
    };
    let tail = second.map(|rest| {
        // Between one and two buffers: the rest may itself fill the buffer once more.
        let (middle, last) = (rest / WRITE_BUFFER, rest % WRITE_BUFFER);
        let middle = if last == 0 && middle > 0 {
            middle - 1
        } else {
            middle
        };
        (0..middle)
            .map(|_| (Opcode::Continuation, false, WRITE_BUFFER))
            .chain([(Opcode::Continuation, true, rest - middle * WRITE_BUFFER)])
    });
    std::iter::once((Opcode::Binary, second.is_none(), first)).chain(tail.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(opcode: u8, mask: [u8; 4], payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u8(0x80 | opcode);
        match payload.len() {
            short @ 0..126 => out.put_u8(0x80 | short as u8),
            middle @ 126..65536 => {
                out.put_u8(0x80 | 126);
                out.put_u16(middle as u16);
            }
            long => {
                out.put_u8(0x80 | 127);
                out.put_u64(long as u64);
            }
        }
        out.put_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
        out
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn an_unmasked_frame_is_refused() {
        let mut buffer = BytesMut::from(&[0x82, 0x01, 0x00][..]);
        assert_eq!(decode(&mut buffer), Err(WebSocketError::Unmasked));
    }

    #[test]
    fn messages_are_split_as_gorilla_does() {
        let frames = |n| message_frames(n).collect::<Vec<_>>();
        assert_eq!(frames(4011), [(Opcode::Binary, true, 4011)]);
        assert_eq!(
            frames(32_768),
            [
                (Opcode::Binary, false, 32_768),
                (Opcode::Continuation, true, 0)
            ]
        );
        assert_eq!(
            frames(5000),
            [
                (Opcode::Binary, false, 4096),
                (Opcode::Continuation, true, 904)
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn what_was_masked_comes_back(
            mask in proptest::array::uniform4(proptest::num::u8::ANY),
            payload in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
            cut in 0_usize..420,
        ) {
            let wire = masked(2, mask, &payload);
            let (early, late) = wire.split_at(cut.min(wire.len()));
            let mut buffer = BytesMut::from(early);
            let mut frame = decode(&mut buffer).unwrap();
            if frame.is_none() {
                buffer.extend_from_slice(late);
                frame = decode(&mut buffer).unwrap();
            }
            let frame = frame.unwrap();
            proptest::prop_assert_eq!(&frame.payload[..], &payload[..]);
            proptest::prop_assert_eq!(frame.opcode, Opcode::Binary);
        }

        #[test]
        fn frames_of_a_message_add_up(length in 0_usize..70_000) {
            let frames: Vec<_> = message_frames(length).collect();
            proptest::prop_assert_eq!(frames.iter().map(|f| f.2).sum::<usize>(), length);
            proptest::prop_assert_eq!(frames.iter().filter(|f| f.1).count(), 1);
            proptest::prop_assert!(frames.last().unwrap().1);
        }
    }
}
