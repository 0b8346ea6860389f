//! Frames, and the listening sockets that travel beside them, over a STREAM socketpair.
//!
//! A frame is `length: u32 LE`, `descriptors: u8` (0 or 1) and a protobuf message. A descriptor is attached to the first byte
//! of its frame (SCM_RIGHTS, unix(7)). STREAM and not SEQPACKET, because macOS has no SEQPACKET for unix sockets.
//!
//! The receiving side decides what it takes: [`Accepts::Frames`] has no room for descriptors, so that the kernel discards
//! whatever a hostile peer attaches, and says so with an error.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use prost::Message;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Larger frames are refused by both ends, bytes.
pub const MAX_FRAME: usize = 1024 * 1024;
const HEADER: usize = 5;
const READ_SIZE: usize = 64 * 1024;

/// Why a channel cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("the socket between daemon and worker failed")]
    Io(#[from] io::Error),
    /// A frame longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is larger than the limit of {MAX_FRAME}")]
    TooLarge(usize),
    /// Bytes that are no message.
    #[error("a frame cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A descriptor where none may be, or none where one must be.
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
    /// Sends one frame and waits until the kernel has all of it. Not safe to cancel: a frame may be cut.
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
                .async_io(Interest::WRITABLE, || send_once(stream, rest, rights))
                .await?;
        }
        Ok(())
    }
}

fn send_once(
    stream: &UnixStream,
    bytes: &[u8],
    rights: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let raw = rights.map(|fd| [fd.as_raw_fd()]);
    let control = raw.as_ref().map(|fds| ControlMessage::ScmRights(fds));
    Ok(sendmsg::<UnixAddr>(
        stream.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control.as_slice(),
        no_signal(),
        None,
    )?)
}

#[cfg(target_os = "linux")]
fn no_signal() -> MsgFlags {
    MsgFlags::MSG_NOSIGNAL
}

/// Rust's runtime ignores SIGPIPE, so that a missing MSG_NOSIGNAL does no harm.
#[cfg(not(target_os = "linux"))]
fn no_signal() -> MsgFlags {
    MsgFlags::empty()
}

// === impl Receiver ===

impl<M: Message + Default> Receiver<M> {
    /// The next frame with its descriptor; `None` once the peer has closed. Safe to cancel.
    ///
    /// # Errors
    /// When the peer breaks the protocol or the socket fails; the channel is then of no more use.
    pub async fn receive(&mut self) -> Result<Option<(M, Option<OwnedFd>)>, ChannelError> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(Some(frame));
            }
            let stream = self.stream.clone();
            let read = stream.async_io(Interest::READABLE, || {
                self.read_once().map_err(io::Error::from)
            });
            let bytes = match read.await {
                // It closed without having read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                read => read.map_err(into_channel_error)?,
            };
            if bytes == 0 {
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
        let descriptor = if with_descriptor {
            Some(
                self.descriptors
                    .pop_front()
                    .ok_or(ChannelError::Descriptors)?,
            )
        } else {
            None
        };
        Ok(Some((message, descriptor)))
    }

    /// Reads what is there; a would-block comes back as it is.
    fn read_once(&mut self) -> Result<usize, ReadError> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_SIZE, 0);
        let mut space = match self.accepts {
            Accepts::Descriptors => nix::cmsg_space!([std::os::fd::RawFd; 8]),
            Accepts::Frames => Vec::new(),
        };
        let result = receive_once(&self.stream, &mut self.buffer[filled..], &mut space);
        let bytes = result.as_ref().map_or(0, |(bytes, _)| *bytes);
        self.buffer.truncate(filled + bytes);
        let (bytes, descriptors) = result?;
        self.descriptors.extend(descriptors);
        Ok(bytes)
    }
}

/// Carries a protocol error through `async_io`, which speaks `io::Error` only.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("descriptors were attached that nobody asked for")]
    Descriptors,
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            ReadError::Descriptors => io::Error::other(error),
        }
    }
}

fn into_channel_error(error: io::Error) -> ChannelError {
    match error.downcast::<ReadError>() {
        Ok(ReadError::Io(error)) | Err(error) => ChannelError::Io(error),
        Ok(ReadError::Descriptors) => ChannelError::Descriptors,
    }
}

fn receive_once(
    stream: &UnixStream,
    buffer: &mut [u8],
    space: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), ReadError> {
    let mut slices = [IoSliceMut::new(buffer)];
    let control = (!space.is_empty()).then_some(space);
    let message = recvmsg::<UnixAddr>(
        stream.as_raw_fd(),
        &mut slices,
        control,
        close_on_exec_flag(),
    )
    .map_err(io::Error::from)?;
    let mut descriptors = Vec::new();
    let truncated = message.flags.contains(MsgFlags::MSG_CTRUNC);
    if let Ok(control) = message.cmsgs() {
        for item in control {
            if let ControlMessageOwned::ScmRights(raw) = item {
                descriptors.extend(raw.into_iter().map(own));
            }
        }
    }
    if truncated {
        return Err(ReadError::Descriptors);
    }
    Ok((message.bytes, descriptors))
}

#[cfg(target_os = "linux")]
fn close_on_exec_flag() -> MsgFlags {
    MsgFlags::MSG_CMSG_CLOEXEC
}

#[cfg(not(target_os = "linux"))]
fn close_on_exec_flag() -> MsgFlags {
    MsgFlags::empty()
}

/// Takes ownership of a descriptor that the kernel has just made for this process.
fn own(raw: std::os::fd::RawFd) -> OwnedFd {
    #[expect(
        unsafe_code,
        reason = "the one place where a received number becomes an owned descriptor"
    )]
    // SAFETY: recvmsg(2) has just created this descriptor for us and nothing else knows its number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
    #[cfg(not(target_os = "linux"))]
    let _ = nix::fcntl::fcntl(
        &descriptor,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    );
    descriptor
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;
    use crate::common::v1::Failure as Frame;

    fn frame(text: &str) -> Frame {
        Frame {
            reason: 1,
            message: text.to_owned(),
            hint: String::new(),
        }
    }

    fn pair(accepts: Accepts) -> (Sender<Frame>, Receiver<Frame>) {
        let (left, right) = StdUnixStream::pair().unwrap();
        let (sender, _) = channel::<Frame, Frame>(left, Accepts::Frames).unwrap();
        let (_, receiver) = channel::<Frame, Frame>(right, accepts).unwrap();
        (sender, receiver)
    }

    #[tokio::test]
    async fn a_descriptor_arrives_with_its_own_frame() {
        let (mut sender, mut receiver) = pair(Accepts::Descriptors);
        let (mut ours, theirs) = StdUnixStream::pair().unwrap();
        sender.send(&frame("before"), None).await.unwrap();
        sender
            .send(&frame("with"), Some(theirs.as_fd()))
            .await
            .unwrap();
        sender.send(&frame("after"), None).await.unwrap();
        drop(theirs);

        assert!(matches!(receiver.receive().await, Ok(Some((f, None))) if f.message == "before"));
        let (with, descriptor) = receiver.receive().await.unwrap().unwrap();
        assert_eq!(with.message, "with");
        StdUnixStream::from(descriptor.unwrap())
            .write_all(b"alive")
            .unwrap();
        let mut answer = [0; 5];
        ours.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"alive");
        assert!(matches!(receiver.receive().await, Ok(Some((f, None))) if f.message == "after"));
    }

    #[tokio::test]
    async fn large_frames_pass_and_larger_ones_are_refused() {
        let (mut sender, mut receiver) = pair(Accepts::Frames);
        let text = "x".repeat(MAX_FRAME - 64);
        let sending = tokio::spawn({
            let text = text.clone();
            async move {
                sender.send(&frame(&text), None).await.unwrap();
                sender.send(&frame(&"x".repeat(MAX_FRAME)), None).await
            }
        });
        assert_eq!(receiver.receive().await.unwrap().unwrap().0.message, text);
        assert!(matches!(
            sending.await.unwrap(),
            Err(ChannelError::TooLarge(_))
        ));
    }

    #[tokio::test]
    async fn a_descriptor_that_nobody_asked_for_is_an_error() {
        let (mut sender, mut receiver) = pair(Accepts::Frames);
        let (theirs, _) = StdUnixStream::pair().unwrap();
        sender
            .send(&frame("hostile"), Some(theirs.as_fd()))
            .await
            .unwrap();
        assert!(matches!(
            receiver.receive().await,
            Err(ChannelError::Descriptors)
        ));
    }

    #[tokio::test]
    async fn a_lie_about_the_length_ends_in_an_error() {
        for (bytes, wanted) in [
            (&[0xff, 0xff, 0xff, 0xff, 0][..], "larger"),
            (&[3, 0, 0, 0, 0, 1][..], "middle"),
            (&[1, 0, 0, 0, 9, 0][..], "descriptors"),
            (&[1, 0, 0, 0, 0, 0xff][..], "decoded"),
        ] {
            let (mut raw, theirs) = StdUnixStream::pair().unwrap();
            let (_, mut receiver) = channel::<Frame, Frame>(theirs, Accepts::Descriptors).unwrap();
            raw.write_all(bytes).unwrap();
            drop(raw);
            let error = receiver.receive().await.unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[tokio::test]
    async fn who_closes_without_having_read_everything_has_closed() {
        for (last_words, ends_well) in [(&[][..], true), (&[3, 0, 0, 0, 0, 1][..], false)] {
            let (mut raw, ours) = StdUnixStream::pair().unwrap();
            let (mut sender, mut receiver) =
                channel::<Frame, Frame>(ours, Accepts::Frames).unwrap();
            sender.send(&frame("unread"), None).await.unwrap();
            raw.write_all(last_words).unwrap();
            drop(raw);
            match receiver.receive().await {
                Ok(None) => assert!(ends_well),
                Err(ChannelError::Truncated) => assert!(!ends_well),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn the_end_is_none() {
        let (sender, mut receiver) = pair(Accepts::Frames);
        drop(sender);
        assert!(receiver.receive().await.unwrap().is_none());
    }
}
