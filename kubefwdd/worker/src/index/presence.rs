//! Which pods exist: those that an object of the namespace names.
//!
//! Several services may share a pod: it is gone only when nothing names it.

use std::collections::{BTreeSet, HashMap};

use super::object::Name;

#[derive(Default)]
pub(super) struct Presence {
    /// How often each pod is named, by uid.
    named: HashMap<Name, usize>,
    /// Pods that are no longer named.
    gone: BTreeSet<Name>,
}

impl Presence {
    pub(super) fn add(&mut self, uid: &Name) {
        *self.named.entry(uid.clone()).or_default() += 1;
        self.gone.remove(uid);
    }

    pub(super) fn remove(&mut self, uid: &Name) {
        let Some(count) = self.named.get_mut(uid) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.named.remove(uid);
            self.gone.insert(uid.clone());
        }
    }

    pub(super) fn has(&self, uid: &str) -> bool {
        self.named.contains_key(uid)
    }

    /// The pods that are gone since the last call.
    pub(super) fn take_gone(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.gone)
    }
}
