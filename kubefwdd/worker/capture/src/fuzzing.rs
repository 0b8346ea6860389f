//! The sniffer with any conversation: however its bytes are cut, they say the same, and what is held stays bounded.

use std::time::Instant;

use crate::exchange::{Exchange, Seen};
use crate::sniffer::Sniffer;

pub use super::http2::hpack::fuzzing::header_blocks;

/// Who says what, in order.
pub(super) type Talk = Vec<(Side, Vec<u8>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What was seen: a line for each exchange, and how many were only counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) lines: Vec<String>,
    pub(super) unrecorded: u64,
    /// It observed the connection until the end.
    pub(super) to_the_end: bool,
}

/// More than a sniffer may hold whatever it is shown: two header blocks, two tables, and 256 streams with their paths.
const MOST_HELD: usize = 2 * 1024 * 1024;
/// The first bit of a turn's length says who speaks.
const SERVER: u16 = 0x8000;

/// A conversation: turns of a length (two bytes, whose first bit says that the server speaks) and that many bytes.
pub fn capture(bytes: &[u8]) {
    let talk = turns(bytes);
    let whole = watch(&talk);
    for sizes in [&[1][..], &[7], &[3, 1, 50]] {
        assert_eq!(watch_in(&talk, sizes), whole, "in pieces of {sizes:?}");
    }
}

/// What a last turn lacks is left out.
fn turns(mut bytes: &[u8]) -> Talk {
    let mut talk = Talk::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u16::from_be_bytes(*length);
        let side = match length & SERVER {
            0 => Side::Client,
            _ => Side::Server,
        };
        let (said, rest) = rest.split_at(usize::from(length & !SERVER).min(rest.len()));
        talk.push((side, said.to_vec()));
        bytes = rest;
    }
    talk
}

/// Shows a conversation turn by turn.
pub(super) fn watch(talk: &[(Side, Vec<u8>)]) -> Record {
    watch_in(talk, &[usize::MAX])
}

/// Shows a conversation in pieces of at most `sizes` bytes, in turn.
pub(super) fn watch_in(talk: &[(Side, Vec<u8>)], sizes: &[usize]) -> Record {
    let mut sniffer = Sniffer::new(false);
    let mut record = Record::default();
    let mut sizes = sizes.iter().copied().cycle();
    let now = Instant::now();
    let mut seen = |seen| match seen {
        Seen::Exchange(exchange) => record.lines.push(line(&exchange)),
        Seen::Unrecorded(count) => record.unrecorded += count,
    };
    for (side, bytes) in talk {
        let mut left = &bytes[..];
        while !left.is_empty() {
            let size = sizes.next().unwrap_or(usize::MAX).clamp(1, left.len());
            let (piece, rest) = left.split_at(size);
            match side {
                Side::Client => sniffer.client(piece, now, &mut seen),
                Side::Server => sniffer.server(piece, now, &mut seen),
            }
            assert!(sniffer.held() < MOST_HELD, "{}", sniffer.held());
            left = rest;
        }
    }
    let to_the_end = !sniffer.is_over();
    sniffer.end(now, &mut seen);
    record.to_the_end = to_the_end;
    record
}

fn line(exchange: &Exchange) -> String {
    let Exchange {
        method,
        path,
        status,
        response_bytes,
        protocol,
        grpc_status,
        ..
    } = exchange;
    let grpc = grpc_status.map_or(String::new(), |status| format!(" {status}"));
    let protocol = protocol.as_str();
    format!("{method} {path} {status} {response_bytes} {protocol}{grpc}")
}

#[cfg(test)]
#[path = "../../../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    #[test]
    fn no_parser_is_upset_by_its_corpus_or_by_damage_to_it() {
        super::corpus::run(
            &[("capture", super::capture), ("hpack", super::header_blocks)],
            200,
        );
    }
}
