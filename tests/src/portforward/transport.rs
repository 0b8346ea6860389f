//! The two ways SPDY bytes travel: on the upgraded connection itself, or inside WebSocket messages (the tunnel).

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frames::{Encoder, Reply};
use super::websocket::{self, Opcode, TUNNEL_READ};

/// How much is read from the connection at once.
const READ: usize = 128 * 1024;

/// How many frames wait for the connection before their senders do.
pub(super) const OUTBOUND_QUEUE: usize = 64;

/// Something to send.
#[derive(Debug)]
pub(super) enum Outbound {
    Spdy(Reply),
    /// A complete WebSocket frame in one or two pieces, sent as it is.
    WebSocket(Bytes, Bytes),
    /// Empties the queue and ends the connection: with a close frame and then EOF, or with EOF alone.
    Close {
        frame: Option<Bytes>,
    },
}

/// How SPDY bytes are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Not at all: classic `Upgrade: SPDY/3.1`.
    Plain,
    /// In WebSocket messages of whatever was pending, up to 32 KiB.
    Tunnel,
    /// In WebSocket messages that are cut wherever spdystream makes a separate write.
    TunnelFragmented,
}

/// What came from the client.
#[derive(Debug)]
pub(super) enum Inbound {
    Spdy(BytesMut),
    Ping(BytesMut),
    /// A WebSocket close frame.
    Close,
    /// EOF.
    End,
}

/// Reads SPDY bytes off the connection.
pub(super) struct Receiver<R> {
    io: R,
    framing: Framing,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    pub(super) fn new(io: R, framing: Framing) -> Self {
        Self {
            io,
            framing,
            buffer: BytesMut::new(),
        }
    }

    /// The next piece. Can be dropped and called again.
    pub(super) async fn next(&mut self) -> io::Result<Inbound> {
        loop {
            if self.framing == Framing::Plain {
                if !self.buffer.is_empty() {
                    return Ok(Inbound::Spdy(self.buffer.split()));
                }
            } else if let Some(frame) =
                websocket::decode(&mut self.buffer).map_err(io::Error::other)?
            {
                match frame.opcode {
                    Opcode::Binary | Opcode::Continuation | Opcode::Text => {
                        if !frame.payload.is_empty() {
                            return Ok(Inbound::Spdy(frame.payload));
                        }
                    }
                    Opcode::Ping => return Ok(Inbound::Ping(frame.payload)),
                    Opcode::Pong => {}
                    Opcode::Close => return Ok(Inbound::Close),
                }
                continue;
            }
            self.buffer.reserve(READ);
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Inbound::End);
            }
        }
    }
}

/// Pieces waiting to be written, as one buffer for vectored writes.
#[derive(Debug, Default)]
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.0.push_back(piece);
        }
    }

    /// Moves up to `limit` bytes into `to`.
    fn move_to(&mut self, to: &mut Self, mut limit: usize) {
        while limit > 0 {
            let Some(front) = self.0.front_mut() else {
                return;
            };
            if front.len() <= limit {
                limit -= front.len();
                to.0.extend(self.0.pop_front());
            } else {
                to.0.push_back(front.split_to(limit));
                return;
            }
        }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn has_remaining(&self) -> bool {
        !self.0.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let front = self.0.front_mut().expect("advance stays within remaining");
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.0.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [io::IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.0) {
            *slot = io::IoSlice::new(piece);
            filled += 1;
        }
        filled
    }
}

/// Writes what comes out of the queue until it is told to close or nobody can send any more.
pub(super) async fn write_all<W: AsyncWrite + Unpin>(
    mut io: W,
    framing: Framing,
    mut queue: mpsc::Receiver<Outbound>,
) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let mut batch = Vec::with_capacity(OUTBOUND_QUEUE);
    let mut pieces = Pieces::default();
    let mut spdy = Pieces::default();
    while queue.recv_many(&mut batch, OUTBOUND_QUEUE).await > 0 {
        let mut close = false;
        for item in batch.drain(..) {
            match item {
                Outbound::Spdy(reply) if framing == Framing::Plain => {
                    encoder.encode(reply, |piece| pieces.push(piece));
                }
                Outbound::Spdy(reply) if framing == Framing::Tunnel => {
                    encoder.encode(reply, |piece| spdy.push(piece));
                }
                Outbound::Spdy(reply) => {
                    encoder.encode(reply, |piece| fragment(piece, &mut pieces))
                }
                Outbound::WebSocket(head, payload) => {
                    wrap(&mut spdy, &mut pieces);
                    pieces.push(head);
                    pieces.push(payload);
                }
                Outbound::Close { frame } => {
                    wrap(&mut spdy, &mut pieces);
                    pieces.push(frame.unwrap_or_default());
                    close = true;
                }
            }
        }
        wrap(&mut spdy, &mut pieces);
        io.write_all_buf(&mut pieces).await?;
        io.flush().await?;
        if close {
            break;
        }
    }
    io.shutdown().await
}

/// Wraps pending SPDY bytes into messages as the tunnel's copy loop does: up to 32 KiB of what is there.
fn wrap(spdy: &mut Pieces, out: &mut Pieces) {
    while spdy.has_remaining() {
        let length = spdy.remaining().min(TUNNEL_READ);
        for (opcode, fin, part) in websocket::message_frames(length) {
            out.push(websocket::head(opcode, fin, part));
            spdy.move_to(out, part);
        }
    }
}

/// spdystream writes every field of a frame head by itself, and each can become a message of its own.
fn fragment(piece: Bytes, out: &mut Pieces) {
    let control = piece.first().is_some_and(|b| b & 0x80 != 0);
    let cuts: &[usize] = match (control, piece.len()) {
        (true, 12..) => &[2, 2, 4, 4],
        (false, 8) => &[4, 4],
        _ => &[],
    };
    let mut rest = piece;
    for cut in cuts {
        let part = rest.split_to(*cut);
        out.push(websocket::head(Opcode::Binary, true, part.len()));
        out.push(part);
    }
    let mut single = Pieces::default();
    single.push(rest);
    wrap(&mut single, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(framing: Framing, replies: Vec<Reply>) -> Vec<u8> {
        let (sender, receiver) = mpsc::channel(OUTBOUND_QUEUE);
        for reply in replies {
            sender.send(Outbound::Spdy(reply)).await.unwrap();
        }
        drop(sender);
        let (near, mut far) = tokio::io::duplex(1 << 20);
        write_all(near, framing, receiver).await.unwrap();
        let mut out = Vec::new();
        far.read_to_end(&mut out).await.unwrap();
        out
    }

    fn data(length: usize) -> Reply {
        Reply::Data {
            id: 3,
            fin: false,
            payload: Bytes::from(vec![7; length]),
        }
    }

    /// Removes the WebSocket framing of a server.
    fn unwrap(mut wire: &[u8]) -> (Vec<u8>, usize) {
        let (mut out, mut frames) = (Vec::new(), 0);
        while !wire.is_empty() {
            let (length, start) = match wire[1] {
                126 => (usize::from(u16::from_be_bytes([wire[2], wire[3]])), 4),
                127 => panic!("no frame is longer than 32 KiB"),
                short => (usize::from(short), 2),
            };
            out.extend_from_slice(&wire[start..start + length]);
            wire = &wire[start + length..];
            frames += 1;
        }
        (out, frames)
    }

    #[tokio::test]
    async fn tunnelled_bytes_are_the_plain_ones_in_messages() {
        let replies = || vec![Reply::Accept { id: 1 }, data(5), data(32_768), data(40_000)];
        let plain = written(Framing::Plain, replies()).await;
        let (tunnel, few) = unwrap(&written(Framing::Tunnel, replies()).await);
        let (fragments, many) = unwrap(&written(Framing::TunnelFragmented, replies()).await);
        assert_eq!(tunnel, plain);
        assert_eq!(fragments, plain);
        assert!(many > few, "{many} fragments, {few} coalesced");
    }
}
