//! The kernel's table of TCP sockets as text: `/proc/net/tcp` and `/proc/net/tcp6`.

use std::net::{IpAddr, SocketAddr};

use kubefwd_model::Uid;

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`.
pub(crate) const ESTABLISHED: u8 = 1;
/// `TCP_LISTEN`.
pub(crate) const LISTEN: u8 = 10;

/// One socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: u8,
    /// The user who created it; 0 for sockets that no process has.
    pub(crate) uid: Uid,
    /// 0 for sockets that no process has.
    pub(crate) inode: u64,
}

/// All sockets of this network namespace. An IPv4 address in an IPv6 socket is given as IPv4.
pub(crate) fn rows() -> Vec<Row> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok());
    texts
        .flat_map(|text| text.lines().filter_map(parse).collect::<Vec<_>>())
        .collect()
}

/// One line; `None` for the headline and for other text.
fn parse(line: &str) -> Option<Row> {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let mut fields = fields.skip(3);
    let uid = fields.next()?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Row {
        local,
        remote,
        state,
        uid,
        inode,
    })
}

/// `0100007F:1F90`: words in the byte order of the machine, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_both_families() {
        let four = "   1: 0100007F:1F90 0200007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0";
        let row = parse(four).unwrap();
        assert_eq!(row.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(row.remote, "127.0.0.2:80".parse().unwrap());
        assert_eq!(
            (row.state, row.uid, row.inode),
            (ESTABLISHED, Uid::new(1000), 4242)
        );
        let mapped = four.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(parse(&mapped).unwrap().local, row.local);
        let six = four.replace("0100007F", "00000000000000000000000001000000");
        assert_eq!(parse(&six).unwrap().local, "[::1]:8080".parse().unwrap());
    }

    #[test]
    fn rubbish_is_no_row() {
        for line in [
            "",
            "sl local_address",
            "1: x:1 y:2 01",
            "1: 0100007F 0 0 0 0 0 0 0 0",
            "1: é00007F:1F90 a",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_listener_of_ours_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rows = rows();
        let row = rows
            .iter()
            .find(|row| row.local == address && row.state == LISTEN)
            .unwrap();
        assert_ne!(row.inode, 0);
    }
}
