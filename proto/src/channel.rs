//! Frames, and the listening sockets that travel beside them, over a STREAM socketpair.
//!
//! A frame is `length: u32 LE`, `descriptors: u8` (0 or 1) and a protobuf message. A descriptor is attached to the first byte
//! of its frame (SCM_RIGHTS, unix(7)). STREAM and not SEQPACKET, because macOS has no SEQPACKET for unix sockets.
//!
//! The receiving side decides what it takes: with [`Accepts::Frames`] there is no room for descriptors, so the kernel
//! discards whatever a hostile peer attaches, and the receiver reports an error.

mod descriptors;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use prost::Message;
use tokio::io::Interest;
use tokio::net::UnixStream;

use descriptors::Received;

/// Longest frame in bytes; both ends refuse longer ones.
pub const MAX_FRAME: usize = 1024 * 1024;
const HEADER: usize = 5;
const READ_SIZE: usize = 64 * 1024;

/// Why a channel failed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("the socket between daemon and worker failed")]
    Io(#[from] io::Error),
    /// A frame longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is larger than the limit of {MAX_FRAME}")]
    TooLarge(usize),
    /// Bytes that are not a message.
    #[error("a frame cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A descriptor where none is allowed, or none where one is required.
    #[error("a frame came with descriptors that do not belong to it")]
    Descriptors,
    /// The peer closed in the middle of a frame.
    #[error("the peer closed in the middle of a frame")]
    Truncated,
}

/// Which frames a receiver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Frames only.
    Frames,
    /// Frames, each with at most one descriptor.
    Descriptors,
}

/// The sending half of a channel.
pub struct Sender<M> {
    stream: Arc<UnixStream>,
    buffer: Vec<u8>,
    message: PhantomData<fn(M)>,
}

/// The receiving half of a channel.
pub struct Receiver<M> {
    stream: Arc<UnixStream>,
    accepts: Accepts,
    buffer: BytesMut,
    descriptors: VecDeque<OwnedFd>,
    message: PhantomData<fn() -> M>,
}

/// Makes the two halves of one end of a socketpair. Needs a tokio runtime.
///
/// # Errors
/// When the socket cannot be made non-blocking or registered with the runtime.
pub fn channel<Out: Message, In: Message + Default>(
    socket: StdUnixStream,
    accepts: Accepts,
) -> io::Result<(Sender<Out>, Receiver<In>)> {
    socket.set_nonblocking(true)?;
    let stream = Arc::new(UnixStream::from_std(socket)?);
    let sender = Sender {
        stream: stream.clone(),
        buffer: Vec::new(),
        message: PhantomData,
    };
    let receiver = Receiver {
        stream,
        accepts,
        buffer: BytesMut::new(),
        descriptors: VecDeque::new(),
        message: PhantomData,
    };
    Ok((sender, receiver))
}

// === impl Sender ===

impl<M: Message> Sender<M> {
    /// Sends one frame and waits until the kernel has all of it. Not cancel-safe: a frame may be cut.
    ///
    /// # Errors
    /// When the message is too large or the peer is gone.
    pub async fn send(
        &mut self,
        message: &M,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        let length = message.encoded_len();
        if length > MAX_FRAME {
            return Err(ChannelError::TooLarge(length));
        }
        self.buffer.clear();
        self.buffer
            .extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        self.buffer.push(u8::from(descriptor.is_some()));
        message.encode(&mut self.buffer).map_err(io::Error::other)?;

        let mut sent = 0;
        while sent < self.buffer.len() {
            let rights = descriptor.filter(|_| sent == 0);
            let rest = &self.buffer[sent..];
            let stream = &self.stream;
            sent += stream
                .async_io(Interest::WRITABLE, || {
                    descriptors::send(stream, rest, rights)
                })
                .await?;
        }
        Ok(())
    }
}

// === impl Receiver ===

impl<M: Message + Default> Receiver<M> {
    /// The next frame with its descriptor; `None` once the peer has closed. Cancel-safe.
    ///
    /// # Errors
    /// When the peer breaks the protocol or the socket fails; the channel is unusable then.
    pub async fn receive(&mut self) -> Result<Option<(M, Option<OwnedFd>)>, ChannelError> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(Some(frame));
            }
            let stream = self.stream.clone();
            let read = stream.async_io(Interest::READABLE, || self.read_once());
            let received = match read.await {
                // It closed without having read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Received::default(),
                read => read?,
            };
            if received.discarded {
                return Err(ChannelError::Descriptors);
            }
            self.descriptors.extend(received.descriptors);
            if received.bytes == 0 {
                let clean = self.buffer.is_empty() && self.descriptors.is_empty();
                return if clean {
                    Ok(None)
                } else {
                    Err(ChannelError::Truncated)
                };
            }
        }
    }

    fn next_frame(&mut self) -> Result<Option<(M, Option<OwnedFd>)>, ChannelError> {
        let Some((header, body)) = self.buffer.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length > MAX_FRAME {
            return Err(ChannelError::TooLarge(length));
        }
        let with_descriptor = match (header[4], self.accepts) {
            (0, _) => false,
            (1, Accepts::Descriptors) => true,
            _ => return Err(ChannelError::Descriptors),
        };
        if body.len() < length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let message = M::decode(self.buffer.split_to(length))?;
        if !with_descriptor {
            return Ok(Some((message, None)));
        }
        let descriptor = self.descriptors.pop_front();
        let descriptor = descriptor.ok_or(ChannelError::Descriptors)?;
        Ok(Some((message, Some(descriptor))))
    }

    /// Reads what is there; `WouldBlock` is returned as it is.
    fn read_once(&mut self) -> io::Result<Received> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_SIZE, 0);
        let with_descriptors = self.accepts == Accepts::Descriptors;
        let result =
            descriptors::receive(&self.stream, &mut self.buffer[filled..], with_descriptors);
        let bytes = result.as_ref().map_or(0, |received| received.bytes);
        self.buffer.truncate(filled + bytes);
        result
    }
}

#[cfg(test)]
mod tests;
