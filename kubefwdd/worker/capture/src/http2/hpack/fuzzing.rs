//! The decoder with any header blocks.

use super::{Decoder, Entry, MOST, Name};
use crate::exchange::Unclear;

/// Header blocks, each behind its length (two bytes): the table's count is right and within its limit, and the blocks say
/// the same if they come as one.
pub fn header_blocks(mut bytes: &[u8]) {
    let mut decoder = Decoder::default();
    let mut fields = Ok(Vec::new());
    let mut joined = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (block, rest) = rest.split_at(length);
        bytes = rest;
        joined.extend_from_slice(block);
        fields = decode(&mut decoder, block).and_then(|more| Ok([fields?, more].concat()));
        let size: usize = decoder.entries.iter().map(|entry| entry.size).sum();
        assert_eq!(decoder.size, size);
        assert!(decoder.size <= decoder.limit && decoder.limit <= MOST);
        let longest = decoder.text.capacity();
        assert!(decoder.held() <= MOST + MOST / 32 * size_of::<Entry>() + longest);
        if fields.is_err() {
            return;
        }
    }
    let mut at_once = Decoder::default();
    assert_eq!(decode(&mut at_once, &joined), fields);
    assert_eq!((at_once.size, at_once.limit), (decoder.size, decoder.limit));
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Name, Vec<u8>)>, Unclear> {
    let mut fields = Vec::new();
    decoder.decode(block, |name, value| fields.push((name, value.to_vec())))?;
    Ok(fields)
}
