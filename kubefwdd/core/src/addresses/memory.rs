//! Units that have no address in use but are to get the same one again, oldest first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kubefwd_model::{Uid, UnitKey};

/// How many units of one user are remembered. Pods of headless services often come with new
/// names each time; without a bound their addresses would pile up for years.
pub(super) const PER_USER: usize = 16_384;

/// The remembered units in the order in which they were released.
#[derive(Debug, Default)]
pub(super) struct Memory {
    clock: u64,
    by_age: BTreeMap<u64, Arc<UnitKey>>,
    by_user: BTreeMap<Uid, BTreeSet<u64>>,
}

impl Memory {
    /// Remembers a unit as the most recent one; returns its moment.
    pub(super) fn push(&mut self, unit: Arc<UnitKey>) -> u64 {
        self.clock += 1;
        self.by_user.entry(unit.uid).or_default().insert(self.clock);
        self.by_age.insert(self.clock, unit);
        self.clock
    }

    /// Forgets the unit of a moment.
    pub(super) fn remove(&mut self, moment: u64) {
        let Some(unit) = self.by_age.remove(&moment) else {
            return;
        };
        if let Some(moments) = self.by_user.get_mut(&unit.uid) {
            moments.remove(&moment);
            if moments.is_empty() {
                self.by_user.remove(&unit.uid);
            }
        }
    }

    /// The unit released the longest ago.
    pub(super) fn oldest(&self) -> Option<Arc<UnitKey>> {
        self.by_age
            .first_key_value()
            .map(|(_, unit)| Arc::clone(unit))
    }

    /// The oldest unit of a user who has more than [`PER_USER`] of them.
    pub(super) fn surplus(&self, uid: Uid) -> Option<Arc<UnitKey>> {
        let moments = self
            .by_user
            .get(&uid)
            .filter(|moments| moments.len() > PER_USER)?;
        self.by_age.get(moments.first()?).cloned()
    }
}
