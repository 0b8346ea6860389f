//! HPACK (RFC 7541), the decoder's half, for the few fields that a record needs.
//!
//! Every field has to be followed, since it may change the table that later ones refer to; but the text of most of them is
//! never looked at, so the table keeps only their size.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::collections::VecDeque;

use super::huffman;
use crate::Unclear;

/// The largest table that is followed; an encoder that uses a larger one is given up.
const MOST: usize = 64 * 1024;
/// What it is before the encoder says otherwise.
const INITIAL: usize = 4096;
/// What an entry counts beyond its texts.
const OVERHEAD: usize = 32;
/// The longest name among those that are looked at.
const LONGEST_NAME: usize = "content-type".len();

/// The fields that a record needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Authority,
    Method,
    Path,
    Status,
    ContentType,
    GrpcStatus,
    Other,
}

/// Follows the header blocks of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Newest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    name_length: u32,
    /// The value, where the name is one that is looked at.
    value: Box<[u8]>,
    size: usize,
}

/// A name, and how long it is when it is written out.
#[derive(Clone, Copy)]
struct Named {
    name: Name,
    length: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            limit: INITIAL,
            text: Vec::new(),
        }
    }
}

impl Decoder {
    /// Takes one whole header block and shows the fields that a record needs.
    pub(super) fn decode(
        &mut self,
        mut block: &[u8],
        mut show: impl FnMut(Name, &[u8]),
    ) -> Result<(), Unclear> {
        while let Some(first) = block.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    self.show_entry(index, &mut show)?;
                }
                0x40.. => {
                    let index = integer(&mut block, 6)?;
                    let entry = self.literal(index, &mut block, &mut show)?;
                    self.add(entry);
                }
                0x20.. => {
                    let limit = integer(&mut block, 5)?;
                    if limit > MOST {
                        return Err(Unclear);
                    }
                    self.limit = limit;
                    self.evict(limit);
                }
                _ => {
                    let index = integer(&mut block, 4)?;
                    self.passing_literal(index, &mut block, &mut show)?;
                }
            }
        }
        Ok(())
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.size + self.text.capacity()
    }

    fn show_entry(&self, index: usize, show: &mut impl FnMut(Name, &[u8])) -> Result<(), Unclear> {
        let index = index.checked_sub(1).ok_or(Unclear)?;
        if let Some((text, value)) = STATIC.get(index) {
            show_known(known(text.as_bytes()), value.as_bytes(), show);
            return Ok(());
        }
        let entry = self.entries.get(index - STATIC.len()).ok_or(Unclear)?;
        show_known(entry.name, &entry.value, show);
        Ok(())
    }

    /// A field that goes into the table.
    fn literal(
        &mut self,
        index: usize,
        block: &mut &[u8],
        show: &mut impl FnMut(Name, &[u8]),
    ) -> Result<Entry, Unclear> {
        let Named { name, length } = self.name(index, block)?;
        let (huffman, raw) = string(block)?;
        let (value, value_length): (Box<[u8]>, usize) = if name == Name::Other {
            (Box::default(), decoded_length(huffman, raw)?)
        } else {
            let value = text(&mut self.text, huffman, raw)?;
            show(name, value);
            (value.into(), value.len())
        };
        Ok(Entry {
            name,
            name_length: u32::try_from(length).map_err(|_| Unclear)?,
            value,
            size: length + value_length + OVERHEAD,
        })
    }

    /// A field that leaves the table as it is.
    fn passing_literal(
        &mut self,
        index: usize,
        block: &mut &[u8],
        show: &mut impl FnMut(Name, &[u8]),
    ) -> Result<(), Unclear> {
        let Named { name, .. } = self.name(index, block)?;
        let (huffman, raw) = string(block)?;
        if name != Name::Other {
            show(name, text(&mut self.text, huffman, raw)?);
        }
        Ok(())
    }

    /// The name at an index, or the one that follows.
    fn name(&mut self, index: usize, block: &mut &[u8]) -> Result<Named, Unclear> {
        let Some(index) = index.checked_sub(1) else {
            let (huffman, raw) = string(block)?;
            let length = decoded_length(huffman, raw)?;
            let name = if length > LONGEST_NAME {
                Name::Other
            } else {
                known(text(&mut self.text, huffman, raw)?)
            };
            return Ok(Named { name, length });
        };
        if let Some((text, _)) = STATIC.get(index) {
            return Ok(Named {
                name: known(text.as_bytes()),
                length: text.len(),
            });
        }
        let entry = self.entries.get(index - STATIC.len()).ok_or(Unclear)?;
        Ok(Named {
            name: entry.name,
            length: entry.name_length as usize,
        })
    }

    /// An entry that is larger than the table empties it.
    fn add(&mut self, entry: Entry) {
        let Some(room) = self.limit.checked_sub(entry.size) else {
            self.evict(0);
            return;
        };
        self.evict(room);
        self.size += entry.size;
        self.entries.push_front(entry);
    }

    fn evict(&mut self, most: usize) {
        while self.size > most
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size;
        }
    }
}

fn show_known(name: Name, value: &[u8], show: &mut impl FnMut(Name, &[u8])) {
    if name != Name::Other {
        show(name, value);
    }
}

fn known(name: &[u8]) -> Name {
    match name {
        b":authority" => Name::Authority,
        b":method" => Name::Method,
        b":path" => Name::Path,
        b":status" => Name::Status,
        b"content-type" => Name::ContentType,
        b"grpc-status" => Name::GrpcStatus,
        _ => Name::Other,
    }
}

/// An integer whose first bits are the last `prefix` ones of a byte.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Unclear> {
    /// Longer than any number of ours needs.
    const BYTES: u32 = 4;
    let (first, mut rest) = block.split_first().ok_or(Unclear)?;
    let mask = u8::MAX >> (8 - prefix);
    let mut value = usize::from(first & mask);
    if value == usize::from(mask) {
        for place in 0..=BYTES {
            if place == BYTES {
                return Err(Unclear);
            }
            let (byte, behind) = rest.split_first().ok_or(Unclear)?;
            rest = behind;
            value += usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// A string as it is written, and whether that is in Huffman code.
fn string<'a>(block: &mut &'a [u8]) -> Result<(bool, &'a [u8]), Unclear> {
    let huffman = block.first().ok_or(Unclear)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (raw, rest) = block.split_at_checked(length).ok_or(Unclear)?;
    *block = rest;
    Ok((huffman, raw))
}

fn decoded_length(huffman: bool, raw: &[u8]) -> Result<usize, Unclear> {
    if !huffman {
        return Ok(raw.len());
    }
    let mut length = 0;
    huffman::decode(raw, |_| length += 1).map_err(|huffman::Invalid| Unclear)?;
    Ok(length)
}

fn text<'a>(buffer: &'a mut Vec<u8>, huffman: bool, raw: &'a [u8]) -> Result<&'a [u8], Unclear> {
    if !huffman {
        return Ok(raw);
    }
    buffer.clear();
    huffman::decode(raw, |byte| buffer.push(byte)).map_err(|huffman::Invalid| Unclear)?;
    Ok(buffer)
}

/// The table that both ends know from the start (RFC 7541, appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
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
}
