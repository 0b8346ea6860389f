//! Whole conversations, shown to the sniffer in any pieces.

use proptest::prelude::*;

use super::fuzzing::{Record, Side, Talk, watch, watch_in};

mod grpc;
mod one;
mod real;

pub(super) fn client(bytes: impl AsRef<[u8]>) -> (Side, Vec<u8>) {
    (Side::Client, bytes.as_ref().to_vec())
}

pub(super) fn server(bytes: impl AsRef<[u8]>) -> (Side, Vec<u8>) {
    (Side::Server, bytes.as_ref().to_vec())
}

#[test]
fn what_is_no_http_is_left_alone() {
    for talk in [
        vec![
            client(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
            server("x"),
        ],
        vec![
            server("220 mail ESMTP\r\n"),
            client("GET / HTTP/1.1\r\n\r\n"),
        ],
        vec![
            client("GE"),
            server("early"),
            client("T / HTTP/1.1\r\n\r\n"),
        ],
        vec![client("*1\r\n$4\r\nPING\r\n"), server("+PONG\r\n")],
        vec![
            client("GET key\r\nGET other\r\n\r\n"),
            server("$1\r\nx\r\n"),
        ],
    ] {
        assert_eq!(watch(&talk), Record::default(), "{talk:?}");
    }
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..8_usize, 1..2000_usize], 1..12)
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

/// Conversations with a byte changed, taken out or put in.
fn damaged() -> impl Strategy<Value = Talk> {
    let talks = [one::conversation(), grpc::conversation()];
    let damage = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        any::<u8>(),
        0..3,
    );
    (
        prop::sample::select(talks.to_vec()),
        prop::collection::vec(damage, 0..4),
    )
        .prop_map(|(mut talk, damages)| {
            for (which, place, byte, how) in damages {
                let part = which.index(talk.len());
                let bytes = &mut talk[part].1;
                if bytes.is_empty() {
                    continue;
                }
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = byte,
                    1 => drop(bytes.remove(place)),
                    _ => bytes.insert(place, byte),
                }
            }
            talk
        })
}

proptest! {
    #[test]
    fn any_pieces_say_the_same(sizes in pieces()) {
        for talk in [one::conversation(), grpc::conversation()] {
            let whole = watch(&talk);
            prop_assert!(whole.lines.len() > 3 && whole.to_the_end);
            prop_assert_eq!(watch_in(&talk, &sizes), whole);
        }
    }

    #[test]
    fn damaged_bytes_say_the_same_however_they_are_cut(talk in damaged(), sizes in pieces()) {
        prop_assert_eq!(watch_in(&talk, &sizes), watch(&talk));
    }

    #[test]
    fn random_bytes_never_panic_and_memory_stays_bounded(
        start in prop::sample::select(vec![&b""[..], b"GET / HTTP/1.1\r\n", PREFACE]),
        parts in prop::collection::vec((side(), prop::collection::vec(any::<u8>(), 0..3000)), 0..12),
    ) {
        let mut talk = vec![client(start)];
        talk.extend(parts);
        watch(&talk);
    }
}

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
