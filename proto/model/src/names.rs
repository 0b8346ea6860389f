//! Text that was parsed once: DNS-1123 labels and names, and what Kubernetes builds from them.

use std::borrow::Borrow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest DNS label, in bytes (RFC 1035, 2.3.4).
pub(crate) const LABEL_MAX: usize = 63;
/// The longest host name in text form, in bytes (RFC 1035, 2.3.4 less length and root bytes).
pub(crate) const NAME_MAX: usize = 253;
/// How much of a rejected text is repeated in the error.
const SHOWN_MAX: usize = 80;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{what} {shown:?} {problem}")]
pub struct NameError {
    /// What the text should have been.
    what: &'static str,
    /// The text, shortened.
    shown: String,
    pub(crate) problem: NameProblem,
}

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum NameProblem {
    /// Nothing there at all, or nothing between two dots.
    #[error("has an empty part: remove the extra dot, or give a name")]
    Empty,
    /// More bytes than the form allows.
    #[error("is too long: {length} bytes, and at most {max} are allowed here")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A character that cannot stand in a DNS name.
    #[error("contains {0:?}: only a-z, 0-9 and '-' (and '.' between labels) are allowed")]
    Character(char),
    /// A label that begins or ends with `-`.
    #[error("has a label that begins or ends with '-', which DNS does not allow")]
    Edge,
    /// A context name with a control character.
    #[error("contains a control character: rename it in the kubeconfig")]
    Control,
}

// === impl NameError ===

impl NameError {
    pub(crate) fn new(what: &'static str, text: &str, problem: NameProblem) -> Self {
        Self {
            what,
            shown: shown(text),
            problem,
        }
    }
}

// === impl NameProblem ===

impl NameProblem {
    /// Whether a text is longer than its form allows.
    pub(crate) fn too_long(text: &str, max: usize) -> Option<Self> {
        let length = text.len();
        (length > max).then_some(Self::TooLong { length, max })
    }
}

/// Declares a name type around shared text: parsing, display, ordering and serde in text form.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $parse:path, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[derive(derive_more::AsRef, derive_more::Debug, derive_more::Display)]
        #[debug("{_0:?}")]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(#[as_ref(str)] Arc<str>);

        impl $name {
            /// Parses the text.
            ///
            /// # Errors
            /// When the text is not of this form; the error says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $parse($what, text).map(|parsed| Self(parsed.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // Equality, order and hash are those of the text, so maps can be asked with a `&str`.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}
pub(crate) use text_type;

text_type!(
    /// One DNS-1123 label: 1 to 63 of `a-z`, `0-9`, `-`, with `-` at neither end.
    DnsLabel, label, "label"
);
text_type!(
    /// A DNS-1123 name of 1 to 253 bytes. Upper case is folded: names compare as resolvers do.
    HostName, host_name, "name"
);
text_type!(
    /// The name of a Kubernetes namespace (a DNS-1123 label).
    NamespaceName, label, "namespace"
);
text_type!(
    /// The name of a Kubernetes service. A DNS-1123 label: newer clusters no longer insist on a
    /// leading letter (KEP-5311).
    ServiceName, label, "service name"
);
text_type!(
    /// The name of a Kubernetes pod (a DNS-1123 subdomain: labels with dots between).
    PodName, name, "pod name"
);

impl ServiceName {
    /// Before every name there is: where a range of them starts.
    pub(crate) fn lowest() -> Self {
        Self("".into())
    }
}

impl HostName {
    /// The labels, first to last.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The label after the last dot (the whole name where there is none).
    #[must_use]
    pub fn last_label(&self) -> &str {
        self.labels().next_back().unwrap_or_default()
    }

    /// Whether the name has no dot in it.
    #[must_use]
    pub fn is_dotless(&self) -> bool {
        !self.0.contains('.')
    }

    /// As messages and interfaces write several of them.
    #[must_use]
    pub fn texts(names: &[Self]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// Whether the name is `suffix`, or ends with a dot and `suffix`.
    #[must_use]
    pub fn is_within(&self, suffix: &str) -> bool {
        match self.0.strip_suffix(suffix) {
            Some(rest) => rest.is_empty() || rest.ends_with('.'),
            None => false,
        }
    }
}

impl From<DnsLabel> for HostName {
    fn from(label: DnsLabel) -> Self {
        Self(label.0)
    }
}

/// The start of a text, fit for an error message.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// A name in any case, folded.
fn host_name(what: &'static str, text: &str) -> Result<String, NameError> {
    let folded = text.to_ascii_lowercase();
    name(what, &folded)?;
    Ok(folded)
}

fn name<'a>(what: &'static str, text: &'a str) -> Result<&'a str, NameError> {
    let wrong = NameProblem::too_long(text, NAME_MAX);
    match wrong.or_else(|| text.split('.').find_map(wrong_with_label)) {
        Some(problem) => Err(NameError::new(what, text, problem)),
        None => Ok(text),
    }
}

fn label<'a>(what: &'static str, text: &'a str) -> Result<&'a str, NameError> {
    match wrong_with_label(text) {
        Some(problem) => Err(NameError::new(what, text, problem)),
        None => Ok(text),
    }
}

fn wrong_with_label(label: &str) -> Option<NameProblem> {
    if label.is_empty() {
        return Some(NameProblem::Empty);
    }
    let is_wrong = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '-');
    let character = label.chars().find(is_wrong);
    let at_edge = label.starts_with('-') || label.ends_with('-');
    character
        .map(NameProblem::Character)
        .or_else(|| NameProblem::too_long(label, LABEL_MAX))
        .or_else(|| at_edge.then_some(NameProblem::Edge))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_what_kubernetes_accepts() {
        for text in ["a", "0", "api", "a-b", "x".repeat(63).as_str()] {
            assert_eq!(ServiceName::parse(text).unwrap().as_str(), text);
            assert_eq!(NamespaceName::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(
            PodName::parse("web-0.shard-1").unwrap().as_str(),
            "web-0.shard-1"
        );
    }

    #[test]
    fn refuses_with_the_reason() {
        assert!(matches!(
            DnsLabel::parse(""),
            Err(NameError {
                problem: NameProblem::Empty,
                ..
            })
        ));
        assert!(matches!(
            HostName::parse("a..b"),
            Err(NameError {
                problem: NameProblem::Empty,
                ..
            })
        ));
        assert!(matches!(
            HostName::parse("a."),
            Err(NameError {
                problem: NameProblem::Empty,
                ..
            })
        ));
        assert!(matches!(
            NamespaceName::parse("a\n127.0.0.1 bank"),
            Err(NameError {
                problem: NameProblem::Character('\n'),
                ..
            })
        ));
        assert!(matches!(
            ServiceName::parse("a.b"),
            Err(NameError {
                problem: NameProblem::Character('.'),
                ..
            })
        ));
        assert!(matches!(
            ServiceName::parse("-a"),
            Err(NameError {
                problem: NameProblem::Edge,
                ..
            })
        ));
        assert!(matches!(
            HostName::parse("a-.b"),
            Err(NameError {
                problem: NameProblem::Edge,
                ..
            })
        ));
        let long = "x".repeat(64);
        assert!(matches!(
            DnsLabel::parse(&long),
            Err(NameError {
                problem: NameProblem::TooLong {
                    length: 64,
                    max: 63
                },
                ..
            })
        ));
        let many = vec!["abc"; 64].join(".");
        assert!(matches!(
            HostName::parse(&many),
            Err(NameError {
                problem: NameProblem::TooLong {
                    length: 255,
                    max: 253
                },
                ..
            })
        ));
    }

    #[test]
    fn folds_case_of_host_names_only() {
        assert_eq!(
            HostName::parse("API.Default").unwrap().as_str(),
            "api.default"
        );
        assert!(ServiceName::parse("Api").is_err());
    }

    #[test]
    fn suffixes_end_at_dots() {
        let name = HostName::parse("api.mydocker.internal").unwrap();
        assert!(!name.is_within("docker.internal"));
        assert!(name.is_within("internal"));
        assert!(name.is_within("api.mydocker.internal"));
        assert_eq!(name.last_label(), "internal");
    }

    #[test]
    fn errors_stay_short_whatever_was_given() {
        let text = "ö".repeat(100_000);
        let error = HostName::parse(&text).unwrap_err().to_string();
        assert!(error.len() < 400, "{} bytes", error.len());
    }

    proptest! {
        #[test]
        fn a_parsed_name_has_only_dns_characters(text in any::<String>()) {
            if let Ok(name) = HostName::parse(&text) {
                prop_assert!(name.as_str().len() <= NAME_MAX);
                prop_assert!(name.labels().all(|l| DnsLabel::parse(l).is_ok()));
            }
        }

        #[test]
        fn serde_keeps_the_text(text in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\\.[a-z0-9]{1,9}){0,3}") {
            let name = HostName::parse(&text).unwrap();
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<HostName>(&json).unwrap(), name);
        }
    }

    #[test]
    fn serde_refuses_what_parse_refuses() {
        assert!(serde_json::from_str::<HostName>("\"a b\"").is_err());
    }
}
