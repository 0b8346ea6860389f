//! What the daemon reads from workers, clients and files, as `fuzz/` and the tests over `fuzz/corpus` call it: each target
//! takes any bytes, and panics where the daemon does, contradicts itself, or lets one user touch what is another's.

mod daemon;
mod files;
mod peers;

pub use crate::net::loopback::fuzzing::journal;
pub use files::{config, hosts, state, tokens};
pub use peers::{channel, control, rest, worker};

/// What is tested, with any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("channel", channel),
    ("config", config),
    ("control", control),
    ("hosts", hosts),
    ("journal", journal),
    ("rest", rest),
    ("state", state),
    ("tokens", tokens),
    ("worker", worker),
];

#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_upsets_the_daemon_in_its_corpus_or_in_damage_to_it() {
        // Each run of some of them is a whole daemon.
        super::corpus::run(&super::TARGETS, 40);
    }
}
