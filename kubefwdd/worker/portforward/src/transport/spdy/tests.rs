//! Byte vectors that a real runtime accepted, and any cutting of any stream of bytes.

use proptest::prelude::*;

use super::*;
use crate::tests::corpus::damaged;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// What a parser said, with the pieces of a frame joined.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Data(u32, Vec<u8>, bool),
    Accepted(u32),
    Reset(u32),
    Ping(u32),
    GoAway,
}

fn parse(pieces: &[&[u8]]) -> Result<Vec<Said>, FrameError> {
    let mut parser = Parser::default();
    let mut said = Vec::new();
    let mut frame = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(event) = parser.next(&mut input)? {
            match event {
                Event::Data {
                    stream,
                    bytes,
                    end,
                    fin,
                } => {
                    frame.extend_from_slice(bytes);
                    if end {
                        said.push(Said::Data(stream, std::mem::take(&mut frame), fin));
                    }
                }
                Event::Accepted { stream } => said.push(Said::Accepted(stream)),
                Event::Reset { stream } => said.push(Said::Reset(stream)),
                Event::Ping { id } => said.push(Said::Ping(id)),
                Event::GoAway => said.push(Said::GoAway),
            }
        }
        assert!(input.is_empty(), "the parser leaves nothing behind");
    }
    Ok(said)
}

#[test]
fn open_has_the_bytes_that_a_real_runtime_accepted() {
    let mut out = Vec::new();
    syn_stream(&mut out, 1, ERROR, 80, 0);
    syn_stream(&mut out, 3, DATA, 80, 0);
    fin(&mut out, 1);
    let expected = hex(
        "80030001000000550000000100000000000078bbe3c6a7c2003b00c4ff000000030000000a73747265616d74797065\
         000000056572726f7200000004706f7274000000023830000000097265717565737469640000000130000000ffff\
         800300010000004e00000003000000000000003a00c5ff000000030000000a73747265616d74797065000000046461\
         746100000004706f7274000000023830000000097265717565737469640000000130000000ffff\
         0000000101000000",
    );
    assert_eq!(out, expected);
}

#[test]
fn small_frames_have_the_bytes_of_the_captures() {
    let mut out = Vec::new();
    ping(&mut out, 1);
    rst_stream(&mut out, 1);
    out.extend_from_slice(&data_header(3, 22));
    assert_eq!(
        out,
        hex("800300060000000400000001 80030003000000080000000100000005 0000000300000016")
    );
}

#[test]
fn answers_of_a_real_runtime_are_understood() {
    let bytes = hex("80030002000000140000000178f9e3c6a7c26260606000000000ffff\
         800300020000000e000000036260606000000000ffff\
         000000030000000 36f6b0a\
         8003000600000004 00000001\
         8003000300000008 0000000700000005\
         0000000301000000\
         8003000700000008 0000000000000000");
    assert_eq!(
        parse(&[&bytes]).unwrap(),
        [
            Said::Accepted(1),
            Said::Accepted(3),
            Said::Data(3, b"ok\n".to_vec(), false),
            Said::Ping(1),
            Said::Reset(7),
            Said::Data(3, Vec::new(), true),
            Said::GoAway,
        ]
    );
}

#[test]
fn frames_that_say_nothing_to_a_client_are_skipped() {
    let bytes = hex(
        "8003000400000004 00000000 8003000900000008 0000000100000001 8003000600000004 00000003",
    );
    assert_eq!(parse(&[&bytes]).unwrap(), [Said::Ping(3)]);
}

#[test]
fn other_versions_and_short_frames_are_refused() {
    assert_eq!(
        parse(&[&hex("8002000600000004")]),
        Err(FrameError::Version(2))
    );
    assert_eq!(
        parse(&[&hex("8003000600000003")]),
        Err(FrameError::Short { kind: 6, length: 3 })
    );
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (
            1u32..2000,
            prop::collection::vec(any::<u8>(), 0..300),
            any::<bool>()
        )
            .prop_map(|(stream, bytes, last)| {
                let mut out = data_header(stream, bytes.len()).to_vec();
                out[4] = u8::from(last);
                out.extend_from_slice(&bytes);
                out
            }),
        (0u32..2000).prop_map(|id| {
            let mut out = Vec::new();
            ping(&mut out, id);
            out
        }),
        (0u32..2000).prop_map(|id| {
            let mut out = Vec::new();
            rst_stream(&mut out, id);
            out
        }),
    ]
}

proptest! {
    #[test]
    fn any_cut_says_the_same(frames in prop::collection::vec(frame(), 0..12), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let whole = frames.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        places.extend([0, whole.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
        prop_assert_eq!(parse(&pieces).unwrap(), parse(&[&whole]).unwrap());
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

/// Answers of a real runtime: an exchange, a refused port, a deleted pod.
const SEEDS: &[&[u8]] = &[
    b"\x80\x03\0\x02\0\0\0\x14\0\0\0\x01\x78\xf9\xe3\xc6\xa7\xc2\x62\x60\x60\x60\0\0\0\0\xff\xff\
      \x80\x03\0\x02\0\0\0\x0e\0\0\0\x03\x62\x60\x60\x60\0\0\0\0\xff\xff\
      \0\0\0\x03\0\0\0\x03ok\n\0\0\0\x03\x01\0\0\0\0\0\0\x01\x01\0\0\0",
    b"\0\0\0\x03\x01\0\0\0\0\0\0\x01\0\0\0\x11failed to connect\
      \x80\x03\0\x03\0\0\0\x08\0\0\0\x01\0\0\0\x05",
    b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x01\x80\x03\0\x03\0\0\0\x08\0\0\0\x07\0\0\0\x05\
      \x80\x03\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0",
];
