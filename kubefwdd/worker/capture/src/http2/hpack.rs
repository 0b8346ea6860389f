//! HPACK (RFC 7541), the decoder's half, for the few fields that a record needs.
//!
//! Every field has to be followed, since it may change the table that later ones refer to; but the text of most of them is
//! never looked at, so the table keeps only their size.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::collections::VecDeque;

use super::huffman;
use crate::exchange::Unclear;

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
                    let (name, _, value) = self.entry(index)?;
                    if name != Name::Other {
                        show(name, value);
                    }
                }
                0x40.. => {
                    let index = integer(&mut block, 6)?;
                    self.literal(index, true, &mut block, &mut show)?;
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
                    self.literal(index, false, &mut block, &mut show)?;
                }
            }
        }
        Ok(())
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.size + self.text.capacity()
    }

    /// Name, its length and value of an entry; the value only where the name is one that is looked at.
    fn entry(&self, index: usize) -> Result<(Name, usize, &[u8]), Unclear> {
        let index = index.checked_sub(1).ok_or(Unclear)?;
        if let Some((text, value)) = STATIC.get(index) {
            return Ok((known(text.as_bytes()), text.len(), value.as_bytes()));
        }
        let entry = self.entries.get(index - STATIC.len()).ok_or(Unclear)?;
        Ok((entry.name, entry.name_length as usize, &entry.value))
    }

    /// A field that is written out, and whether it goes into the table.
    fn literal(
        &mut self,
        index: usize,
        indexed: bool,
        block: &mut &[u8],
        show: &mut impl FnMut(Name, &[u8]),
    ) -> Result<(), Unclear> {
        let (name, length) = self.name(index, block)?;
        let (huffman, raw) = string(block)?;
        let (value, value_length) = match name {
            Name::Other if indexed => (Box::default(), decoded_length(huffman, raw)?),
            Name::Other => return Ok(()),
            _ => {
                let value = text(&mut self.text, huffman, raw)?;
                show(name, value);
                if !indexed {
                    return Ok(());
                }
                (value.into(), value.len())
            }
        };
        self.add(Entry {
            name,
            name_length: u32::try_from(length).map_err(|_| Unclear)?,
            value,
            size: length + value_length + OVERHEAD,
        });
        Ok(())
    }

    /// The name at an index, or the one that follows, and how long it is when it is written out.
    fn name(&mut self, index: usize, block: &mut &[u8]) -> Result<(Name, usize), Unclear> {
        if index > 0 {
            let (name, length, _) = self.entry(index)?;
            return Ok((name, length));
        }
        let (huffman, raw) = string(block)?;
        let length = decoded_length(huffman, raw)?;
        let name = if length > LONGEST_NAME {
            Name::Other
        } else {
            known(text(&mut self.text, huffman, raw)?)
        };
        Ok((name, length))
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
    huffman::decode(raw, |_| length += 1)?;
    Ok(length)
}

fn text<'a>(buffer: &'a mut Vec<u8>, huffman: bool, raw: &'a [u8]) -> Result<&'a [u8], Unclear> {
    if !huffman {
        return Ok(raw);
    }
    buffer.clear();
    huffman::decode(raw, |byte| buffer.push(byte))?;
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
mod tests;
