//! Reading `net.inet.tcp.pcblist_n`, macOS's list of TCP connections.
//!
//! Per connection it has several records, each with its length and kind in front: the addresses,
//! the socket (with the uid), the TCP state. Only records of known kind are looked into, and only
//! where their length allows, so that a newer layout gives "unknown" and not another user.
//! Offsets: `bsd/netinet/in_pcb.h`, `bsd/sys/socketvar.h`, `bsd/netinet/tcp_var.h` of xnu, packed
//! to 4 bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use kubefwd_model::Uid;

/// `struct xinpgen`, in front of the list and behind it.
const HEADER: usize = 24;
const KIND_SOCKET: u32 = 0x001;
const KIND_ADDRESSES: u32 = 0x010;
const KIND_TCP: u32 = 0x020;
/// `TCPS_ESTABLISHED` of `netinet/tcp_fsm.h`.
const ESTABLISHED: u32 = 4;
/// `INP_IPV4` and `INP_IPV6` in `inp_vflag`.
const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// The uid of the socket whose own address is `peer` and whose other end is `local`, if it is
/// established.
pub(super) fn owner(list: &[u8], peer: SocketAddr, local: SocketAddr) -> Option<Uid> {
    // What is known of one connection so far.
    let (mut is_wanted, mut uid) = (false, None);
    let mut rest = list.get(HEADER..)?;
    while let Some((record, kind)) = record(rest) {
        match kind {
            KIND_ADDRESSES => {
                is_wanted = addresses(record) == Some((peer, local));
                uid = None;
            }
            KIND_SOCKET => uid = u32_at(record, 64).map(Uid::new),
            KIND_TCP if is_wanted => {
                return uid.filter(|_| u32_at(record, 36) == Some(ESTABLISHED));
            }
            _ => {}
        }
        // Records begin at multiples of 8.
        rest = rest.get(record.len().next_multiple_of(8)..)?;
    }
    None
}

/// The record that the list begins with.
fn record(list: &[u8]) -> Option<(&[u8], u32)> {
    let length = usize::try_from(u32_at(list, 0)?)
        .ok()
        .filter(|length| *length >= 8)?;
    Some((list.get(..length)?, u32_at(list, 4)?))
}

/// The socket's own address and that of its other end.
fn addresses(record: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let port = |at: usize| Some(u16::from_be_bytes(record.get(at..at + 2)?.try_into().ok()?));
    let family = *record.get(44)?;
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = record.get(at..at + 16)?.try_into().ok()?;
        if family & IPV4 != 0 {
            // An IPv4 address stands in the last four bytes.
            return Some(Ipv4Addr::from([bytes[12], bytes[13], bytes[14], bytes[15]]).into());
        }
        (family & IPV6 != 0).then(|| Ipv6Addr::from(bytes).to_canonical())
    };
    let foreign = SocketAddr::new(address(48)?, port(16)?);
    Some((SocketAddr::new(address(64)?, port(18)?), foreign))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new_record(kind: u32, length: u32, fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut record = vec![0; usize::try_from(length).unwrap().next_multiple_of(8)];
        record[..4].copy_from_slice(&length.to_ne_bytes());
        record[4..8].copy_from_slice(&kind.to_ne_bytes());
        for (at, bytes) in fields {
            record[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        record
    }

    fn connection(own: (u8, u16), foreign: (u8, u16), uid: Uid, state: u32) -> Vec<u8> {
        [
            new_record(
                KIND_ADDRESSES,
                100,
                &[
                    (16, &foreign.1.to_be_bytes()),
                    (18, &own.1.to_be_bytes()),
                    (44, &[IPV4]),
                    (60, &[127, 0, 0, foreign.0]),
                    (76, &[127, 0, 0, own.0]),
                ],
            ),
            new_record(KIND_SOCKET, 84, &[(64, &uid.get().to_ne_bytes())]),
            new_record(0x002, 32, &[]),
            new_record(KIND_TCP, 200, &[(36, &state.to_ne_bytes())]),
        ]
        .concat()
    }

    fn address(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], port))
    }

    #[test]
    fn finds_the_connection_and_its_state() {
        let list = [
            vec![0; HEADER],
            connection((2, 80), (1, 5000), 7.into(), ESTABLISHED),
            connection((1, 5000), (2, 80), 501.into(), ESTABLISHED),
            connection((1, 6000), (2, 80), 502.into(), 5),
            vec![24, 0, 0, 0],
        ]
        .concat();
        assert_eq!(
            owner(&list, address(1, 5000), address(2, 80)),
            Some(Uid::new(501))
        );
        assert_eq!(
            owner(&list, address(1, 6000), address(2, 80)),
            None,
            "closing"
        );
        assert_eq!(owner(&list, address(1, 7000), address(2, 80)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(list in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = owner(&list, address(1, 1), address(2, 2));
        }
    }
}
