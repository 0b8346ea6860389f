//! The parsers that are fuzzed, over the corpus that lies in the tree and over damaged copies of it: always the same ones, so
//! that a failure can be repeated.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

use std::path::Path;

use kubefwd_worker::fuzzing::TARGETS;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Damaged copies of each file.
const COPIES: u64 = 200;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut files: Vec<_> = std::fs::read_dir(root.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// A few changed, removed, doubled or inserted bytes.
fn damaged(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(1..9)).min(bytes.len());
        let byte = random.random();
        match random.random_range(0..4) {
            0 => bytes[at..end].fill(byte),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            _ => bytes.insert(at, byte),
        }
    }
    bytes
}

#[test]
fn no_parser_is_upset_by_its_corpus_or_by_damage_to_it() {
    for (name, target) in TARGETS {
        let files = corpus(name);
        assert!(!files.is_empty(), "{name} has no corpus");
        for bytes in files {
            target(&bytes);
            for seed in 0..COPIES {
                target(&damaged(&bytes, seed));
            }
        }
    }
}
