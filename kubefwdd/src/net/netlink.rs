//! One question to the kernel over netlink, and its answer.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Enough for an acknowledgement, which repeats the request.
const BUFFER: usize = 1 << 10;
/// The kernel answers at once; this is for the case that it never does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A netlink socket of one protocol.
pub(crate) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens a socket.
    pub(crate) fn open(protocol: SockProtocol) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        let timeout =
            TimeVal::milliseconds(i64::try_from(ANSWER_TIMEOUT.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, sockopt::ReceiveTimeout, &timeout)?;
        // Connected to the kernel: nobody else's messages are taken for its answer.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Sends one request and waits until it is carried out.
    ///
    /// # Errors
    /// The error that the kernel answered with, or that of the socket.
    pub(crate) fn ask(&self, kind: u16, flags: i32, payload: &[u8]) -> io::Result<()> {
        let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let request = message(kind, flags, payload)?;
        let descriptor = self.socket.as_raw_fd();
        send(descriptor, &request, MsgFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        let length = loop {
            match recv(descriptor, &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        parse(&buffer[..length])
    }
}

fn message(kind: u16, flags: i32, payload: &[u8]) -> io::Result<Vec<u8>> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let length = u32::try_from(HEADER + payload.len()).map_err(invalid)?;
    let flags = u16::try_from(flags).map_err(invalid)?;
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and port: one request per answer, and the kernel fills the port in.
    message.extend([0; 8]);
    message.extend(payload);
    Ok(message)
}

fn parse(answer: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer.get(4..6).ok_or_else(malformed)?;
    if i32::from(u16::from_ne_bytes([kind[0], kind[1]])) != libc::NLMSG_ERROR {
        return Err(malformed());
    }
    let code = answer.get(HEADER..HEADER + 4).ok_or_else(malformed)?;
    match i32::from_ne_bytes(code.try_into().map_err(|_| malformed())?) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_answers_are_errors_not_panics() {
        for length in 0..20 {
            assert!(parse(&vec![0xff; length]).is_err());
        }
    }

    #[test]
    fn the_kernel_refuses_what_does_not_exist() {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute).unwrap();
        let error = netlink.ask(9999, 0, &[0; 4]).err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
