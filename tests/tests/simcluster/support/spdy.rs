//! The client's side of SPDY and WebSocket, just enough to read a server's frames and to write those of a test.

use bytes::{Buf, BytesMut};

/// A SPDY frame from the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Frame {
    Accepted(u32),
    Data {
        id: u32,
        fin: bool,
        payload: Vec<u8>,
    },
    Rst(u32, u32),
    Ping(u32),
    Other(u16),
}

/// Cuts the next frame off the buffer.
pub(crate) fn next_frame(buffer: &mut BytesMut) -> Option<Frame> {
    if buffer.len() < 8 {
        return None;
    }
    let length = u32::from_be_bytes([0, buffer[5], buffer[6], buffer[7]]) as usize;
    if buffer.len() < 8 + length {
        return None;
    }
    let first = buffer.get_u32();
    let flags = buffer.get_u8();
    buffer.advance(3);
    let mut body = buffer.split_to(length);
    if first & 0x8000_0000 == 0 {
        return Some(Frame::Data {
            id: first,
            fin: flags & 1 == 1,
            payload: body.to_vec(),
        });
    }
    assert_eq!(first >> 16, 0x8003, "a control frame of version 3");
    Some(match first & 0xffff {
        2 => Frame::Accepted(body.get_u32()),
        3 => {
            let id = body.get_u32();
            Frame::Rst(id, body.get_u32())
        }
        6 => Frame::Ping(body.get_u32()),
        other => Frame::Other(other as u16),
    })
}

/// A WebSocket frame from the server: opcode, FIN, payload.
pub(crate) fn next_message(buffer: &mut BytesMut) -> Option<(u8, bool, Vec<u8>)> {
    let [first, second, ..] = **buffer else {
        return None;
    };
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, start) = match second {
        126 => {
            let bytes = buffer.get(2..4)?;
            (usize::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4)
        }
        127 => panic!("no message of the server is that long"),
        short => (usize::from(short), 2),
    };
    if buffer.len() < start + length {
        return None;
    }
    buffer.advance(start);
    let payload = buffer.split_to(length).to_vec();
    Some((first & 0x0f, first & 0x80 != 0, payload))
}

/// SYN_STREAM with a stored header block; `first` for the first one of a connection.
pub(crate) fn syn(id: u32, headers: &[(&str, &str)], first: bool) -> Vec<u8> {
    let mut block = Vec::new();
    block.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&(text.len() as u32).to_be_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let mut zlib = Vec::new();
    if first {
        zlib.extend_from_slice(&[0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
    }
    let length = block.len() as u16;
    zlib.push(0);
    zlib.extend_from_slice(&length.to_le_bytes());
    zlib.extend_from_slice(&(!length).to_le_bytes());
    zlib.extend_from_slice(&block);
    zlib.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
    let mut body = id.to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&zlib);
    control(1, &body)
}

/// Both SYN_STREAMs of a pair and the end of the error stream; the ids are `2n+1` and `2n+3`.
pub(crate) fn pair(error: u32, port: u16, first: bool) -> Vec<u8> {
    let (port, request) = (port.to_string(), error.to_string());
    let headers = |kind| {
        [
            ("streamtype", kind),
            ("port", &*port),
            ("requestid", &*request),
        ]
    };
    let mut out = syn(error, &headers("error"), first);
    out.extend_from_slice(&data(error, true, b""));
    out.extend_from_slice(&syn(error + 2, &headers("data"), false));
    out
}

pub(crate) fn data(id: u32, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&(payload.len() as u32 | u32::from(fin) << 24).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

pub(crate) fn rst(id: u32) -> Vec<u8> {
    control(3, &[id.to_be_bytes(), 5_u32.to_be_bytes()].concat())
}

pub(crate) fn ping(id: u32) -> Vec<u8> {
    control(6, &id.to_be_bytes())
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80, 3];
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A masked WebSocket frame.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
    out
}
