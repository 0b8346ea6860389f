//! The worker's parsers that are fuzzed, over their corpus.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

use kubefwd_worker::fuzzing::TARGETS;

#[path = "../../../fuzz/corpus.rs"]
mod corpus;

#[test]
fn no_parser_is_upset_by_its_corpus_or_by_damage_to_it() {
    corpus::run(&TARGETS, 200);
}
