//! Strings in Huffman code.

use proptest::prelude::*;

use super::*;

fn decoded(code: &[u8]) -> Result<Vec<u8>, Unclear> {
    let mut bytes = Vec::new();
    decode(code, |byte| bytes.push(byte)).map(|()| bytes)
}

/// The straightforward encoder: code after code, then ones.
fn encoded(bytes: &[u8]) -> Vec<u8> {
    let (mut code, mut codes) = (0_u32, [0_u32; SYMBOLS]);
    for length in 1..=LONGEST {
        code <<= 1;
        for symbol in (0..SYMBOLS).filter(|symbol| LENGTHS[*symbol] == length) {
            codes[symbol] = code;
            code += 1;
        }
    }
    let mut bits = Vec::new();
    for byte in bytes.iter().map(|byte| usize::from(*byte)) {
        bits.extend((0..LENGTHS[byte]).rev().map(|n| codes[byte] >> n & 1));
    }
    while bits.len() % 8 != 0 {
        bits.push(1);
    }
    bits.chunks(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8))
        .collect()
}

#[test]
fn the_examples_of_the_rfc_are_understood() {
    for (code, text) in [
        (
            &[
                0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
            ][..],
            "www.example.com",
        ),
        (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf][..], "no-cache"),
        (&[0x64, 0x02][..], "302"),
        (&[][..], ""),
    ] {
        assert_eq!(decoded(code).unwrap(), text.as_bytes());
    }
}

#[test]
fn an_end_inside_and_wrong_padding_are_refused() {
    // 30 ones are the end of a string; eight ones are no padding; zeros are none either.
    for code in [&[0xff, 0xff, 0xff, 0xff][..], &[0x64, 0x02, 0xff], &[0x00]] {
        assert_eq!(decoded(code), Err(Unclear), "{code:x?}");
    }
}

proptest! {
    #[test]
    fn every_text_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decoded(&encoded(&bytes)), Ok(bytes));
    }

    #[test]
    fn random_codes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decoded(&bytes);
    }
}
