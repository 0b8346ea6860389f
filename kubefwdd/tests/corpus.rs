//! What the daemon reads from workers, clients and files, over the corpus of the fuzz targets.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

use kubefwdd::fuzzing::TARGETS;

#[path = "../../fuzz/corpus.rs"]
mod corpus;

#[test]
fn nothing_upsets_the_daemon_in_its_corpus_or_in_damage_to_it() {
    // Each run of some of them is a whole daemon.
    corpus::run(&TARGETS, 40);
}
