//! Which DNS label stands for each context of this machine.

use std::collections::BTreeMap;

use kubefwd_model::{ContextName, DnsLabel};
use serde::{Deserialize, Serialize};

/// Which label each context of this machine goes by: the plain label for the first context that
/// needs it, the label with a hash for a different context that comes to the same.
///
/// Two users with a context of the same *name* share its label; the registry decides between
/// their claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "Vec<(DnsLabel, ContextName)>",
    into = "Vec<(DnsLabel, ContextName)>"
)]
pub struct ContextLabels {
    by_label: BTreeMap<DnsLabel, ContextName>,
}

impl ContextLabels {
    /// The label of a context, given on first use and kept until [`Self::forget`].
    pub fn label(&mut self, context: &ContextName) -> DnsLabel {
        let plain = context.label();
        let hashed = context.label_with_hash();
        // A context that once got the hashed label keeps it although the plain one is free now.
        if self.by_label.get(&hashed) == Some(context) {
            return hashed;
        }
        match self.by_label.get(&plain) {
            Some(holder) if holder == context => plain,
            None => {
                self.by_label.insert(plain.clone(), context.clone());
                plain
            }
            Some(_) => {
                // Where even the hashes collide both contexts share it: names are first come.
                self.by_label
                    .entry(hashed.clone())
                    .or_insert_with(|| context.clone());
                hashed
            }
        }
    }

    /// Frees the label of a context that nothing uses.
    pub fn forget(&mut self, context: &ContextName) {
        self.by_label.retain(|_, holder| holder != context);
    }
}

impl From<Vec<(DnsLabel, ContextName)>> for ContextLabels {
    fn from(saved: Vec<(DnsLabel, ContextName)>) -> Self {
        Self {
            by_label: saved.into_iter().collect(),
        }
    }
}

impl From<ContextLabels> for Vec<(DnsLabel, ContextName)> {
    fn from(labels: ContextLabels) -> Self {
        labels.by_label.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(text: &str) -> ContextName {
        ContextName::parse(text).unwrap()
    }

    #[test]
    fn different_contexts_get_different_labels() {
        let mut labels = ContextLabels::default();
        let (first, second) = (context("a_b"), context("a-b"));
        assert_eq!(labels.label(&first).as_str(), "a-b");
        let hashed = labels.label(&second);
        assert_eq!(hashed, second.label_with_hash());
        let mut restored: ContextLabels =
            serde_json::from_str(&serde_json::to_string(&labels).unwrap()).unwrap();
        restored.forget(&first);
        assert_eq!(
            restored.label(&second),
            hashed,
            "a label in use does not change"
        );
        assert_eq!(restored.label(&first).as_str(), "a-b");
    }
}
