//! The worker's parsers of what comes from clusters, plugins and files, as `fuzz/` and the tests over `fuzz/corpus` call
//! them: each takes any bytes, and panics where the parser does or contradicts itself.

pub use crate::auth::fuzzing::{certificate, credential, kubeconfig};
pub use crate::watch::fuzzing::watch;

#[cfg(test)]
#[path = "../../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    #[test]
    fn no_parser_is_upset_by_its_corpus_or_by_damage_to_it() {
        super::corpus::run(
            &[
                ("certificate", super::certificate),
                ("credential", super::credential),
                ("kubeconfig", super::kubeconfig),
                ("watch", super::watch),
            ],
            200,
        );
    }
}
