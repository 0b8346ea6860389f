//! Header blocks.

use proptest::prelude::*;

use super::*;

fn shown(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Name, String)>, Unclear> {
    let mut fields = Vec::new();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    decoder
        .decode(block, |name, value| fields.push((name, text(value))))
        .map(|()| fields)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(text, 16).unwrap()
    };
    digits.chunks(2).map(pair).collect()
}

fn field(name: Name, value: &str) -> (Name, String) {
    (name, value.to_owned())
}

/// RFC 7541, C.4: three requests on one connection, in Huffman code.
#[test]
fn requests_refer_to_earlier_ones() {
    let mut decoder = Decoder::default();
    let (get, path) = (field(Name::Method, "GET"), field(Name::Path, "/"));
    let authority = field(Name::Authority, "www.example.com");
    let first = shown(
        &mut decoder,
        &bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"),
    );
    assert_eq!(
        first.unwrap(),
        [get.clone(), path.clone(), authority.clone()]
    );
    assert_eq!(decoder.size, 57);
    let second = shown(&mut decoder, &bytes("8286 84be 5886 a8eb 1064 9cbf"));
    assert_eq!(second.unwrap(), [get.clone(), path, authority.clone()]);
    assert_eq!(decoder.size, 110);
    let third = shown(
        &mut decoder,
        &bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"),
    );
    let index = field(Name::Path, "/index.html");
    assert_eq!(third.unwrap(), [get, index, authority]);
    assert_eq!(decoder.size, 164);
}

/// RFC 7541, C.6: answers in a table of 256 bytes, which entries have to leave.
#[test]
fn what_leaves_the_table_is_known_no_more() {
    let mut decoder = Decoder {
        limit: 256,
        ..Decoder::default()
    };
    let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    let status = |code: &str| vec![field(Name::Status, code)];
    assert_eq!(shown(&mut decoder, &bytes(first)).unwrap(), status("302"));
    assert_eq!(decoder.size, 222);
    let second = shown(&mut decoder, &bytes("4883 640e ffc1 c0bf"));
    assert_eq!(second.unwrap(), status("307"));
    assert_eq!((decoder.size, decoder.entries.len()), (222, 4));
}

#[test]
fn tables_are_bounded() {
    let mut decoder = Decoder::default();
    // A size update to 64 KiB is followed, one more byte is not.
    assert_eq!(shown(&mut decoder, &bytes("3fe1 ff03")), Ok(Vec::new()));
    assert_eq!(decoder.limit, MOST);
    assert_eq!(shown(&mut decoder, &bytes("3fe2 ff03")), Err(Unclear));
    // An entry that is too large for the table empties it and is no error.
    let mut decoder = Decoder::default();
    let _ = shown(&mut decoder, &bytes("4001 6101 62"));
    assert_eq!(decoder.entries.len(), 1);
    let mut large = bytes("4001 617f c11f");
    large.extend(vec![b'x'; 4096 + 64]);
    assert_eq!(shown(&mut decoder, &large), Ok(Vec::new()));
    assert_eq!((decoder.entries.len(), decoder.size), (0, 0));
}

#[test]
fn what_cannot_be_is_unclear() {
    for block in ["80", "be", "ff80 8080 8001", "4005 61", "01", "00 81 00 00"] {
        let outcome = shown(&mut Decoder::default(), &bytes(block));
        assert_eq!(outcome, Err(Unclear), "{block}");
    }
}

proptest! {
    #[test]
    fn random_blocks_never_panic_and_stay_bounded(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)
    ) {
        let mut decoder = Decoder::default();
        for block in blocks {
            if shown(&mut decoder, &block).is_err() {
                break;
            }
            prop_assert!(decoder.size <= decoder.limit && decoder.limit <= MOST);
        }
    }
}
