//! Which DNS label stands for each context of each user.

use std::collections::BTreeMap;

use kubefwd_model::{ContextName, DnsLabel, Uid};
use serde::{Deserialize, Serialize};

use super::NameRules;

/// What is added to a context whose own label is a suffix that nobody may have.
const INSTEAD: &str = "k8s";

/// Which label each user's context goes by, so that `service.namespace.LABEL` is always the user's own: the plain label for
/// the first who needs it, with the user's name for another user's context of the same name, and with a hash where a
/// different context comes to the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Saved>", into = "Vec<Saved>")]
pub struct ContextLabels {
    by_label: BTreeMap<DnsLabel, Holder>,
}

/// Whose label it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    context: ContextName,
    /// `None` in a state that was saved when users shared labels: the first who asks has it.
    uid: Option<Uid>,
}

/// A label as it is saved.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Saved {
    Own(DnsLabel, ContextName, Uid),
    Shared(DnsLabel, ContextName),
}

impl ContextLabels {
    /// The label of a user's context, given on first use and kept until [`Self::forget`].
    pub fn label(
        &mut self,
        uid: Uid,
        user: &str,
        context: &ContextName,
        rules: &NameRules,
    ) -> DnsLabel {
        let is_own = |holder: &Holder| {
            holder.context == *context && holder.uid.is_none_or(|holder| holder == uid)
        };
        if let Some((label, holder)) = self.by_label.iter_mut().find(|(_, h)| is_own(h)) {
            holder.uid = Some(uid);
            return label.clone();
        }
        let plain = match rules.refuses_below(&context.label()) {
            Some(_) => joined(context, INSTEAD),
            None => context.clone(),
        };
        let with_user = joined(&plain, user);
        let hashed = |name: &ContextName| name.label_with_hash();
        // Another user's context of the same name, and another context of the same label, are told apart differently.
        let taken = self.by_label.get(&plain.label());
        let candidates = match taken.is_some_and(|holder| holder.context == *context) {
            true => [with_user.label(), hashed(&with_user), plain.label()],
            false => [plain.label(), hashed(&plain), hashed(&with_user)],
        };
        let free = |label: &&DnsLabel| !self.by_label.contains_key(*label);
        // Where even the hashes collide two contexts share a label: names are first come.
        let label = candidates.iter().find(free).unwrap_or(&candidates[2]);
        let holder = Holder {
            context: context.clone(),
            uid: Some(uid),
        };
        self.by_label.entry(label.clone()).or_insert(holder);
        label.clone()
    }

    /// The label that a user's context has.
    pub fn get(&self, uid: Uid, context: &ContextName) -> Option<&DnsLabel> {
        let mut own = self.by_label.iter();
        let own = own.find(|(_, h)| h.uid == Some(uid) && h.context == *context);
        own.map(|(label, _)| label)
    }

    /// Frees the label of a context that its user no longer uses.
    pub fn forget(&mut self, uid: Uid, context: &ContextName) {
        self.by_label
            .retain(|_, holder| holder.uid != Some(uid) || holder.context != *context);
    }
}

/// `context-part`; a context's name may hold anything, so this is one.
fn joined(context: &ContextName, part: &str) -> ContextName {
    ContextName::parse(&format!("{context}-{part}")).unwrap_or_else(|_| context.clone())
}

impl From<Vec<Saved>> for ContextLabels {
    fn from(saved: Vec<Saved>) -> Self {
        let by_label = saved.into_iter().map(|saved| match saved {
            Saved::Own(label, context, uid) => {
                let uid = Some(uid);
                (label, Holder { context, uid })
            }
            Saved::Shared(label, context) => (label, Holder { context, uid: None }),
        });
        Self {
            by_label: by_label.collect(),
        }
    }
}

impl From<ContextLabels> for Vec<Saved> {
    fn from(labels: ContextLabels) -> Self {
        let saved = labels.by_label.into_iter();
        let saved = saved.map(|(label, holder)| match holder.uid {
            Some(uid) => Saved::Own(label, holder.context, uid),
            None => Saved::Shared(label, holder.context),
        });
        saved.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Uid = Uid::new(1000);
    const BEN: Uid = Uid::new(1001);

    fn context(text: &str) -> ContextName {
        ContextName::parse(text).unwrap()
    }

    fn label(labels: &mut ContextLabels, uid: Uid, name: &str) -> String {
        let user = if uid == ANN { "ann" } else { "Ben B." };
        let rules = NameRules::default();
        labels
            .label(uid, user, &context(name), &rules)
            .as_str()
            .to_owned()
    }

    #[test]
    fn different_contexts_get_different_labels() {
        let mut labels = ContextLabels::default();
        assert_eq!(label(&mut labels, ANN, "a_b"), "a-b");
        let hashed = label(&mut labels, ANN, "a-b");
        assert_eq!(hashed, context("a-b").label_with_hash().as_str());
        let mut restored: ContextLabels =
            serde_json::from_str(&serde_json::to_string(&labels).unwrap()).unwrap();
        restored.forget(ANN, &context("a_b"));
        let again = label(&mut restored, ANN, "a-b");
        assert_eq!(again, hashed, "a label in use does not change");
        assert_eq!(label(&mut restored, BEN, "a_b"), "a-b");
    }

    #[test]
    fn users_with_a_context_of_the_same_name_have_a_label_each() {
        let mut labels = ContextLabels::default();
        assert_eq!(label(&mut labels, ANN, "kind"), "kind");
        assert_eq!(label(&mut labels, BEN, "kind"), "kind-ben-b");
        assert_eq!(label(&mut labels, ANN, "kind"), "kind");
        // What one gives up does not move to the other.
        labels.forget(ANN, &context("kind"));
        assert_eq!(label(&mut labels, BEN, "kind"), "kind-ben-b");
        assert_eq!(labels.get(ANN, &context("kind")), None);
    }

    #[test]
    fn a_context_called_like_a_refused_suffix_gets_another_label() {
        let mut labels = ContextLabels::default();
        assert_eq!(label(&mut labels, ANN, "prod"), "prod-k8s");
        assert_eq!(label(&mut labels, BEN, "prod"), "prod-k8s-ben-b");
    }

    #[test]
    fn labels_of_an_older_state_belong_to_who_asks_first() {
        let saved = r#"[["kind","kind"]]"#;
        let mut labels: ContextLabels = serde_json::from_str(saved).unwrap();
        assert_eq!(serde_json::to_string(&labels).unwrap(), saved);
        assert_eq!(label(&mut labels, BEN, "kind"), "kind");
        assert_eq!(label(&mut labels, ANN, "kind"), "kind-ann");
    }
}
