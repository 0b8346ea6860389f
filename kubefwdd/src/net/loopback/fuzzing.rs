//! The journal of added addresses, with any bytes.

use std::net::Ipv4Addr;

use super::{still_there, whole_lines};

/// A journal as a crash may have left it: half a line says nothing, and does not spoil the next.
pub fn journal(bytes: &[u8]) {
    let before = still_there(bytes);
    let whole = whole_lines(bytes);
    assert_eq!(still_there(whole), before);
    let address = Ipv4Addr::new(10, 0, 0, 1);
    let mut expected = before;
    for (sign, is_added) in [("+", true), ("-", false)] {
        let noted = [whole, format!("{sign}{address}\n").as_bytes()].concat();
        match is_added {
            true => expected.insert(address),
            false => expected.remove(&address),
        };
        assert_eq!(still_there(&noted), expected);
    }
}
