//! Frames in any pieces.

use proptest::prelude::*;

use super::*;
use crate::tests::corpus::damaged;

const SEEDS: &[&[u8]] = &[
    b"\x82\x03\x00\x90\x1f\x82\x03\x01\x90\x1f\x82\x07\x00hello\n\x88\x02\x03\xe8",
    b"\x02\x04abcd\x89\x02hi\x00\x02ef\x80\x00\x82\x7e\x00\x03xyz",
    b"\x82\x7f\0\0\0\0\0\0\0\x02ok\x8a\x00\x88\x00",
];

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Close(u16),
}

/// Joins the pieces of messages again; a message's end shows only at the start of the next.
fn parse(pieces: &[&[u8]]) -> Result<Vec<Said>, FrameError> {
    let mut deframer = Deframer::default();
    let mut said = Vec::new();
    let mut message = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(item) = deframer.next(&mut input)? {
            match item {
                Item::Data { bytes, start } => {
                    assert!(!bytes.is_empty());
                    if start && !message.is_empty() {
                        said.push(Said::Message(std::mem::take(&mut message)));
                    }
                    message.extend_from_slice(bytes);
                }
                Item::Ping(payload) => said.push(Said::Ping(payload)),
                Item::Close(code) => said.push(Said::Close(code)),
            }
        }
    }
    if !message.is_empty() {
        said.push(Said::Message(message));
    }
    Ok(said)
}

fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let (header, start) = header(0, payload.len(), [0; 4]);
    let mut out = header[start..10].to_vec();
    out[0] = first;
    out[1] &= !MASK;
    out.extend_from_slice(payload);
    out
}

#[test]
fn accept_is_that_of_the_rfc() {
    assert_eq!(
        accept("dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

#[test]
fn a_masked_frame_has_the_bytes_of_the_capture() {
    let mut body = [b"\0".as_slice(), b"GET /tiny HTTP/1.0\r\n\r\n"].concat();
    let key = [1, 2, 3, 4];
    let (head, start) = header(BINARY, body.len(), key);
    mask(&mut body, key);
    assert_eq!(head[start..], [0x82, 0x97, 1, 2, 3, 4]);
    assert_eq!(body[..8], [0x01, 0x45, 0x46, 0x50, 0x21, 0x2d, 0x77, 0x6d]);
}

#[test]
fn fragments_of_gorilla_are_one_message() {
    let bytes = [
        server_frame(0x02, b"abc"),
        server_frame(0x89, b"hi"),
        server_frame(0x00, b"def"),
        server_frame(0x80, b""),
        server_frame(0x82, b"next"),
        vec![0x88, 2, 0x03, 0xe8],
    ]
    .concat();
    assert_eq!(
        parse(&[&bytes]).unwrap(),
        [
            Said::Ping(b"hi".to_vec()),
            Said::Message(b"abcdef".to_vec()),
            Said::Close(1000),
            Said::Message(b"next".to_vec()),
        ]
    );
}

#[test]
fn an_empty_first_fragment_leaves_the_start_to_the_next() {
    let bytes = [server_frame(0x02, b""), server_frame(0x80, b"x")].concat();
    let mut deframer = Deframer::default();
    assert_eq!(
        deframer.next(&mut &bytes[..]),
        Ok(Some(Item::Data {
            bytes: b"x",
            start: true
        }))
    );
}

#[test]
fn what_a_server_must_not_send_is_refused() {
    assert_eq!(parse(&[&[0x82, 0x80]]), Err(FrameError::Masked));
    assert_eq!(parse(&[&[0xc2, 0x00]]), Err(FrameError::Reserved));
    assert_eq!(parse(&[&[0x83, 0x00]]), Err(FrameError::Opcode(3)));
    assert_eq!(parse(&[&[0x09, 0x00]]), Err(FrameError::Control));
    assert_eq!(parse(&[&[0x89, 126, 0, 126]]), Err(FrameError::Control));
    assert_eq!(
        parse(&[&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]]),
        Err(FrameError::Length)
    );
}

proptest! {
    #[test]
    fn any_cut_says_the_same(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..70_000), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole: Vec<u8> = messages.iter().flat_map(|m| server_frame(0x82, m)).collect();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        places.extend([0, whole.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
        let expected: Vec<Said> = messages.into_iter().map(Said::Message).collect();
        prop_assert_eq!(parse(&pieces).unwrap(), expected);
    }

    #[test]
    fn masking_twice_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..100), key: [u8; 4]) {
        let mut masked = bytes.clone();
        mask(&mut masked, key);
        let plain: Vec<u8> = bytes.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
        prop_assert_eq!(&masked, &plain);
        mask(&mut masked, key);
        prop_assert_eq!(masked, bytes);
    }

    #[test]
    fn damaged_bytes_say_the_same_however_they_are_cut(bytes in damaged(SEEDS)) {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(parse(&single), parse(&[&bytes]));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&[&bytes]);
    }
}
