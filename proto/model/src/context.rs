//! The name of a context: free text in a user's kubeconfig, and the DNS label that stands for it.

use std::borrow::Borrow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::{DnsLabel, LABEL_MAX, NameError, NameProblem, text_type};

/// The longest context name taken, in bytes. EKS names with a full ARN stay below 200.
const CONTEXT_MAX: usize = 1024;

text_type!(
    /// The name of a context in a kubeconfig: any text of 1 to 1024 bytes without control
    /// characters.
    ContextName, context, "context"
);

impl ContextName {
    /// The context as one DNS label: lower case, every other character a `-`, none at the ends.
    ///
    /// A label that had to be cut, or of which nothing was left, ends in a hash of the whole
    /// name. The same context gives the same label on every machine.
    #[must_use]
    pub fn label(&self) -> DnsLabel {
        let readable = self.readable();
        if readable.is_empty() || readable.len() > LABEL_MAX {
            return self.label_with_hash();
        }
        checked(&readable)
    }

    /// The label with a hash of the whole name at its end, for when another context already has
    /// the plain label.
    #[must_use]
    pub fn label_with_hash(&self) -> DnsLabel {
        let readable = self.readable();
        let readable = if readable.is_empty() {
            "ctx"
        } else {
            &readable
        };
        let hash = format!("{:016x}", fnv1a(self.as_str().as_bytes()));
        let suffix = &hash[..8];
        let room = LABEL_MAX - suffix.len() - 1;
        let kept = readable[..readable.len().min(room)].trim_end_matches('-');
        checked(&format!("{kept}-{suffix}"))
    }

    /// The characters of the label before its length is looked at: ASCII only, so it can be cut
    /// at any byte.
    fn readable(&self) -> String {
        let mapped: String = self
            .as_str()
            .chars()
            .map(|c| match c.to_ascii_lowercase() {
                c @ ('a'..='z' | '0'..='9') => c,
                _ => '-',
            })
            .collect();
        mapped.trim_matches('-').to_owned()
    }
}

fn context<'a>(what: &'static str, text: &'a str) -> Result<&'a str, NameError> {
    let empty = text.is_empty().then_some(NameProblem::Empty);
    let has_control = text.chars().any(char::is_control);
    let wrong = empty
        .or_else(|| NameProblem::too_long(text, CONTEXT_MAX))
        .or_else(|| has_control.then_some(NameProblem::Control));
    match wrong {
        Some(problem) => Err(NameError::new(what, text, problem)),
        None => Ok(text),
    }
}

fn checked(text: &str) -> DnsLabel {
    DnsLabel::parse(text).expect("made of label characters, trimmed and cut to the limit above")
}

/// FNV-1a, 64 bit: labels outlive this process, and std's hashes are not promised to be stable.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context(text: &str) -> ContextName {
        ContextName::parse(text).unwrap()
    }

    #[test]
    fn labels_read_like_the_context() {
        assert_eq!(context("minikube").label().as_str(), "minikube");
        assert_eq!(context("Prod_EU").label().as_str(), "prod-eu");
        assert_eq!(
            context("arn:aws:eks:us-east-1:123:cluster/prod")
                .label()
                .as_str(),
            "arn-aws-eks-us-east-1-123-cluster-prod"
        );
    }

    #[test]
    fn cut_and_empty_labels_end_in_a_stable_hash() {
        let long = context(&format!("gke_{}", "x".repeat(100)));
        let longer = context(&format!("gke_{}y", "x".repeat(100)));
        assert_ne!(long.label(), longer.label());
        assert_eq!(long.label().as_str().len(), LABEL_MAX);
        // The text is fixed: a new release must not rename contexts.
        assert_eq!(context("продукт").label().as_str(), "ctx-6d42dd62");
    }

    #[test]
    fn refuses_what_could_break_a_line() {
        assert!(matches!(
            ContextName::parse("a\nb"),
            Err(NameError {
                problem: NameProblem::Control,
                ..
            })
        ));
        assert!(matches!(
            ContextName::parse(""),
            Err(NameError {
                problem: NameProblem::Empty,
                ..
            })
        ));
        assert!(ContextName::parse(&"x".repeat(1024)).is_ok());
        assert!(matches!(
            ContextName::parse(&"x".repeat(1025)),
            Err(NameError {
                problem: NameProblem::TooLong { length: 1025, .. },
                ..
            })
        ));
    }

    proptest! {
        #[test]
        fn every_context_has_labels(text in "\\PC{1,200}") {
            let context = context(&text);
            prop_assert_eq!(context.label(), context.label());
            prop_assert!(context.label_with_hash().as_str().len() <= LABEL_MAX);
        }
    }
}
