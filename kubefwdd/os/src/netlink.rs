//! One question to the kernel over netlink, and its answer.

use std::os::fd::AsRawFd;

use nix::Result;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send,
    socket,
};

/// The length of `struct nlmsghdr`, with which a message and its answer begin.
pub const HEADER: usize = 16;
/// Enough for one object, and for an acknowledgement, which repeats the request.
const ANSWER: usize = 1024;

/// Sends one request, and gives the answer.
///
/// # Errors
/// The error that the kernel answered with, or that of the socket.
pub fn ask(protocol: SockProtocol, kind: u16, flags: i32, payload: &[u8]) -> Result<Vec<u8>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    let descriptor = socket.as_raw_fd();
    // Connected to the kernel: nobody else's messages are taken for its answer.
    connect(descriptor, &NetlinkAddr::new(0, 0))?;
    let request = message(kind, flags | libc::NLM_F_REQUEST, payload)?;
    send(descriptor, &request, MsgFlags::empty())?;
    let mut answer = vec![0; ANSWER];
    // The kernel has answered by the time that the request is sent.
    let length = recv(descriptor, &mut answer, MsgFlags::MSG_DONTWAIT)?;
    answer.truncate(length);
    check(&answer)?;
    Ok(answer)
}

fn message(kind: u16, flags: i32, payload: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(HEADER + payload.len()).map_err(|_| Errno::EMSGSIZE)?;
    let flags = u16::try_from(flags).map_err(|_| Errno::EINVAL)?;
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and port: one request per answer, and the kernel fills the port in.
    message.extend([0; 8]);
    message.extend(payload);
    Ok(message)
}

/// Fails where the answer is an error; an acknowledgement is one with the number 0.
fn check(answer: &[u8]) -> Result<()> {
    let kind = answer.get(4..6).ok_or(Errno::EBADMSG)?;
    if i32::from(u16::from_ne_bytes([kind[0], kind[1]])) != libc::NLMSG_ERROR {
        return Ok(());
    }
    let code = answer.get(HEADER..).and_then(|body| body.first_chunk());
    match i32::from_ne_bytes(*code.ok_or(Errno::EBADMSG)?) {
        0 => Ok(()),
        code => Err(Errno::from_raw(code.wrapping_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_answers_are_errors_not_panics() {
        let mut answer = [0; HEADER + 4];
        answer[4] = 2;
        for length in 0..answer.len() {
            assert_eq!(check(&answer[..length]), Err(Errno::EBADMSG));
        }
        assert_eq!(check(&answer), Ok(()));
    }

    #[test]
    fn the_kernel_refuses_what_does_not_exist() {
        let answer = ask(SockProtocol::NetlinkRoute, 9999, libc::NLM_F_ACK, &[0; 4]);
        assert_eq!(answer, Err(Errno::EOPNOTSUPP));
    }
}
