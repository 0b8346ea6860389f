//! One `sendmsg` or `recvmsg`, with the descriptors that travel beside the bytes (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use tokio::net::UnixStream;

/// Descriptors that one read takes.
const MAX_DESCRIPTORS: usize = 8;

#[cfg(target_os = "linux")]
const SEND_FLAGS: MsgFlags = MsgFlags::MSG_NOSIGNAL;
#[cfg(target_os = "linux")]
const RECEIVE_FLAGS: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
// Rust's runtime ignores SIGPIPE, so a missing MSG_NOSIGNAL does no harm.
#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: MsgFlags = MsgFlags::empty();
#[cfg(not(target_os = "linux"))]
const RECEIVE_FLAGS: MsgFlags = MsgFlags::empty();

/// What one read brought.
#[derive(Default)]
pub(super) struct Received {
    /// Bytes written to the buffer.
    pub(super) bytes: usize,
    /// Descriptors that came with them.
    pub(super) descriptors: Vec<OwnedFd>,
    /// The kernel discarded descriptors for which there was no room.
    pub(super) discarded: bool,
}

/// Sends what the kernel takes, with `descriptor` on the first byte.
pub(super) fn send(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let raw = descriptor.map(|fd| [fd.as_raw_fd()]);
    let control = raw.as_ref().map(|fds| ControlMessage::ScmRights(fds));
    Ok(sendmsg::<UnixAddr>(
        stream.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control.as_slice(),
        SEND_FLAGS,
        None,
    )?)
}

/// Reads what is there; `WouldBlock` is returned as it is. Without room for descriptors the kernel discards them.
pub(super) fn receive(
    stream: &UnixStream,
    buffer: &mut [u8],
    with_descriptors: bool,
) -> io::Result<Received> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut room = with_descriptors.then(|| nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]));
    let message = recvmsg::<UnixAddr>(
        stream.as_raw_fd(),
        &mut slices,
        room.as_deref_mut(),
        RECEIVE_FLAGS,
    )?;
    let mut descriptors = Vec::new();
    if let Ok(control) = message.cmsgs() {
        for item in control {
            if let ControlMessageOwned::ScmRights(raw) = item {
                descriptors.extend(raw.into_iter().map(own));
            }
        }
    }
    Ok(Received {
        bytes: message.bytes,
        descriptors,
        discarded: message.flags.contains(MsgFlags::MSG_CTRUNC),
    })
}

/// Takes ownership of a descriptor that the kernel has just made for this process.
fn own(raw: RawFd) -> OwnedFd {
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
