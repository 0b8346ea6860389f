//! Who gets which name.
//!
//! A name goes to the claimant that comes first: the lowest [`Rank`] (the caller gives the
//! ordinal of the `ns add` that asked, which is persisted), a plain form before a dashed copy, and
//! then the lower key. So the outcome is a function of the claims alone and not of the order in
//! which workers report them, and it is the same after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubefwd_model::{HostName, UnitKey};

use super::{Candidate, NameRules, Refusal, RefusalReason};

/// The place in the queue: lower comes first. Give the ordinal of the request that brought the
/// unit here, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub u64);

/// A name that moved. Neither side is told of names that stayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChange {
    /// The name.
    pub name: HostName,
    /// Who had it.
    pub from: Option<Arc<UnitKey>>,
    /// Who has it now.
    pub to: Option<Arc<UnitKey>>,
}

/// The claims of one unit that came to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The names that another unit has.
    pub lost: Vec<Lost>,
    /// The names that nobody may have.
    pub refused: Vec<Refusal>,
}

/// A name that another unit has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The name.
    pub name: HostName,
    /// Who has it.
    pub holder: Arc<UnitKey>,
}

/// All claims of the machine, and the outcome of each.
///
/// A claim or release costs O(log n) per name, n being all names, and a walk over the other
/// claimants of that very name.
#[derive(Debug, Default)]
pub struct NameRegistry {
    rules: NameRules,
    names: BTreeMap<HostName, Slot>,
    units: BTreeMap<Arc<UnitKey>, Unit>,
}

/// One name: its claimants in order, and whether the rules keep it from all of them.
#[derive(Debug)]
struct Slot {
    refused: Option<RefusalReason>,
    claims: Vec<Claim>,
}

/// The order of the fields is the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    rank: Rank,
    dashed: bool,
    unit: Arc<UnitKey>,
}

#[derive(Debug)]
struct Unit {
    rank: Rank,
    names: Vec<Candidate>,
}

impl NameRegistry {
    /// An empty registry under `rules`.
    #[must_use]
    pub fn new(rules: NameRules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Claims `candidates` for `unit`, in place of what it claimed before. The same claim again
    /// changes nothing.
    ///
    /// Returns the names that moved, between any units.
    pub fn claim(
        &mut self,
        unit: &UnitKey,
        rank: Rank,
        candidates: Vec<Candidate>,
    ) -> Vec<NameChange> {
        let previous = self.units.remove_entry(unit);
        let (key, old) = match previous {
            Some((key, old)) => (key, Some(old)),
            None => (Arc::new(unit.clone()), None),
        };
        let claim = |rank, dashed| Claim {
            rank,
            dashed,
            unit: Arc::clone(&key),
        };
        let mut changes = Changes::default();
        if let Some(old) = old.filter(|old| old.rank != rank || old.names != candidates) {
            for Candidate { name, dashed } in &old.names {
                self.withdraw(&mut changes, name, &claim(old.rank, *dashed));
            }
        }
        for Candidate { name, dashed } in &candidates {
            self.enter(&mut changes, name, claim(rank, *dashed));
        }
        let names = candidates;
        self.units.insert(key, Unit { rank, names });
        changes.finish(self)
    }

    /// Gives up all claims of `unit`. The next claimant of each name gets it.
    ///
    /// Returns the names that moved.
    pub fn release(&mut self, unit: &UnitKey) -> Vec<NameChange> {
        let Some(rank) = self.units.get(unit).map(|old| old.rank) else {
            return Vec::new();
        };
        let changes = self.claim(unit, rank, Vec::new());
        self.units.remove(unit);
        changes
    }

    /// Replaces the rules and settles every name again: for a changed hosts file or configuration.
    ///
    /// Returns the names that moved.
    pub fn set_rules(&mut self, rules: NameRules) -> Vec<NameChange> {
        if rules == self.rules {
            return Vec::new();
        }
        self.rules = rules;
        let mut changes = Vec::new();
        for (name, slot) in &mut self.names {
            let from = slot.holder().cloned();
            slot.refused = self.rules.refuses(name);
            let to = slot.holder().cloned();
            if from != to {
                changes.push(NameChange {
                    name: name.clone(),
                    from,
                    to,
                });
            }
        }
        changes
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &NameRules {
        &self.rules
    }

    /// Who has `name`.
    #[must_use]
    pub fn holder(&self, name: &HostName) -> Option<&Arc<UnitKey>> {
        self.names.get(name)?.holder()
    }

    /// The names that `unit` has, shortest forms first.
    pub fn held(&self, unit: &UnitKey) -> impl Iterator<Item = &HostName> {
        let entry = self.units.get_key_value(unit);
        entry.into_iter().flat_map(move |(key, entry)| {
            let names = entry.names.iter().map(|candidate| &candidate.name);
            names.filter(move |name| self.holder(name) == Some(key))
        })
    }

    /// The names that `unit` claims and does not have.
    #[must_use]
    pub fn outcome(&self, unit: &UnitKey) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(entry) = self.units.get(unit) else {
            return outcome;
        };
        for Candidate { name, .. } in &entry.names {
            let Some(slot) = self.names.get(name) else {
                continue;
            };
            match (slot.refused, slot.holder()) {
                (Some(reason), _) => outcome.refused.push(Refusal {
                    name: name.clone(),
                    reason,
                }),
                (None, Some(holder)) if **holder != *unit => {
                    outcome.lost.push(Lost {
                        name: name.clone(),
                        holder: Arc::clone(holder),
                    });
                }
                (None, _) => {}
            }
        }
        outcome
    }

    fn enter(&mut self, changes: &mut Changes, name: &HostName, claim: Claim) {
        changes.note(self, name);
        let rules = &self.rules;
        let slot = self.names.entry(name.clone()).or_insert_with(|| Slot {
            refused: rules.refuses(name),
            claims: Vec::with_capacity(1),
        });
        if let Err(place) = slot.claims.binary_search(&claim) {
            slot.claims.insert(place, claim);
        }
    }

    fn withdraw(&mut self, changes: &mut Changes, name: &HostName, claim: &Claim) {
        changes.note(self, name);
        let Some(slot) = self.names.get_mut(name) else {
            return;
        };
        if let Ok(place) = slot.claims.binary_search(claim) {
            slot.claims.remove(place);
        }
        if slot.claims.is_empty() {
            self.names.remove(name);
        }
    }
}

impl Slot {
    fn holder(&self) -> Option<&Arc<UnitKey>> {
        match self.refused {
            Some(_) => None,
            None => self.claims.first().map(|claim| &claim.unit),
        }
    }
}

/// The holders before a change, of the names that it touches.
#[derive(Default)]
struct Changes {
    before: BTreeMap<HostName, Option<Arc<UnitKey>>>,
}

impl Changes {
    fn note(&mut self, registry: &NameRegistry, name: &HostName) {
        if !self.before.contains_key(name) {
            self.before
                .insert(name.clone(), registry.holder(name).cloned());
        }
    }

    fn finish(self, registry: &NameRegistry) -> Vec<NameChange> {
        let moved = self.before.into_iter().filter_map(|(name, from)| {
            let to = registry.holder(&name).cloned();
            (from != to).then_some(NameChange { name, from, to })
        });
        moved.collect()
    }
}

#[cfg(test)]
mod tests;
