//! The targets over the corpus that lies in the tree and over damaged copies of it: always the same ones, so that a failure
//! can be repeated. The tests of each program include this file.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What is run, by the name of its corpus.
type Target<'a> = (&'a str, fn(&[u8]));

/// Runs each target over its files and so many damaged copies of each.
pub(crate) fn run(targets: &[Target<'_>], copies: u64) {
    for (name, target) in targets {
        let files = corpus(name);
        assert!(!files.is_empty(), "{name} has no corpus");
        for bytes in files {
            target(&bytes);
            for seed in 0..copies {
                target(&damaged(&bytes, seed));
            }
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package
        .ancestors()
        .map(|folder| folder.join("fuzz/corpus").join(target))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| panic!("{target} has no corpus"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
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
