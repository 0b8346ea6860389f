//! Which pods exist, as far as the objects of a namespace name them.
//!
//! A pod may stand behind several services. That one of them has it no longer says nothing about the pod: it is gone when
//! nothing names it any more.

use std::collections::{BTreeSet, HashMap};

use super::object::Name;

#[derive(Default)]
pub(super) struct Presence {
    /// By uid: how often a pod is named.
    named: HashMap<Name, usize>,
    /// Pods that were named, and are not now.
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

    /// The pods that went since the last call and have not come back.
    pub(super) fn take_gone(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.gone)
    }
}
