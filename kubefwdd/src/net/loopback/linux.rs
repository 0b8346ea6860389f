//! Aliases by rtnetlink: one `RTM_NEWADDR` or `RTM_DELADDR` of a /32 on `lo`.

use std::io;
use std::net::Ipv4Addr;

use kubefwd_os::netlink;
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockProtocol;

/// `struct rtattr`'s length with an IPv4 address.
const ATTRIBUTE: u16 = 8;
const INTERFACE: &str = "lo";

/// All of 127.0.0.0/8 is local on Linux.
pub(super) fn needs_alias(address: Ipv4Addr) -> bool {
    !address.is_loopback()
}

/// Adds an address that the machine does not have.
pub(super) fn add(address: Ipv4Addr) -> io::Result<()> {
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    match ask(libc::RTM_NEWADDR, flags, address) {
        // Someone was faster; what counts is that it is there.
        Err(Errno::EEXIST) => Ok(()),
        result => Ok(result?),
    }
}

/// Removes an address.
pub(super) fn remove(address: Ipv4Addr) -> io::Result<()> {
    Ok(ask(libc::RTM_DELADDR, 0, address)?)
}

fn ask(kind: u16, flags: i32, address: Ipv4Addr) -> nix::Result<()> {
    let index = if_nametoindex(INTERFACE)?;
    let mut payload = Vec::with_capacity(24);
    // struct ifaddrmsg: family, prefix length, flags, scope, interface.
    let family = u8::try_from(libc::AF_INET).expect("AF_INET is 2");
    payload.extend([family, 32, 0, libc::RT_SCOPE_HOST]);
    payload.extend(index.to_ne_bytes());
    for attribute in [libc::IFA_LOCAL, libc::IFA_ADDRESS] {
        payload.extend(ATTRIBUTE.to_ne_bytes());
        payload.extend(attribute.to_ne_bytes());
        payload.extend(address.octets());
    }
    let flags = flags | libc::NLM_F_ACK;
    netlink::ask(SockProtocol::NetlinkRoute, kind, flags, &payload).map(drop)
}
