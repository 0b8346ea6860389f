//! What parsers must survive: real bytes, damaged. Damage to something valid gets further into a parser than noise does.

use proptest::prelude::*;
use proptest::sample::Index;

/// One of `seeds` after a few changed, removed, doubled or inserted bytes.
pub(crate) fn damaged(seeds: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((0..4u8, any::<Index>(), any::<u8>(), 1..9usize), 0..6);
    (prop::sample::select(seeds), damage).prop_map(|(seed, damage)| {
        let mut bytes = seed.to_vec();
        for (kind, place, byte, count) in damage {
            let at = place.index(bytes.len() + 1);
            let end = (at + count).min(bytes.len());
            match kind {
                0 => bytes[at..end].fill(byte),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                _ => drop(bytes.splice(at..at, std::iter::repeat_n(byte, count))),
            }
        }
        bytes
    })
}
