//! Who gets which name.
//!
//! A name belongs to the first user who claims it, and never passes to another by itself: programs
//! that use it send passwords there. It stays that user's while the service is away, and is free once
//! the user has given it up ([`NameRegistry::forget`]), for whoever claims it next; root, which may have
//! been waiting, comes before that.
//!
//! Among the claims of its user a name goes to the one that comes first: the lowest [`Rank`] (the caller
//! gives the ordinal of the `ns add` that asked, which is persisted), a plain form before a dashed copy,
//! and then the lower key. So for one user the outcome is a function of the claims alone and not of the
//! order in which workers report them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kubefwd_model::{HostName, ServiceKey, Uid, UnitKey};

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

/// A name that a unit claims and another has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The name.
    pub name: HostName,
    /// Why this unit does not have it.
    pub why: Why,
}

/// Why a unit does not have a name that it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Another unit has it.
    Taken(Arc<UnitKey>),
    /// It belongs to this user, whose service is away.
    Kept(Uid),
    /// It belonged to another user when it was claimed, who has given it up since.
    Released,
}

/// The names that are kept for one user while nothing claims them. Of more, new ones are given up at once.
const MAX_KEPT: usize = 10_000;

/// All claims of the machine, and the outcome of each.
///
/// A claim or release costs O(log n) per name, n being all names, and a walk over the other
/// claimants of that very name.
#[derive(Debug, Default)]
pub struct NameRegistry {
    rules: NameRules,
    names: BTreeMap<HostName, Slot>,
    units: BTreeMap<Arc<UnitKey>, Unit>,
    /// By user, names that none of that user's units claims now, and the service that did.
    kept: BTreeMap<Uid, BTreeMap<HostName, ServiceKey>>,
}

/// One name: whose it is, its claimants in order, and whether the rules keep it from all of them.
#[derive(Debug)]
struct Slot {
    refused: Option<RefusalReason>,
    /// `None` after its user gave it up, until somebody claims it.
    owner: Option<Uid>,
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

    /// A registry that keeps what was [saved](Self::save).
    #[must_use]
    pub fn restore(rules: NameRules, saved: Vec<(HostName, ServiceKey)>) -> Self {
        let mut registry = Self::new(rules);
        for (name, service) in saved {
            let slot = Slot {
                refused: registry.rules.refuses(&name),
                owner: Some(service.uid),
                claims: Vec::new(),
            };
            registry.names.insert(name.clone(), slot);
            registry.keep(name, service);
        }
        registry
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

    /// Withdraws all claims of `unit`. The next claimant of the same user gets each name; without one it is kept.
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

    /// Gives up the kept names of services that are gone for good. Root, where it claims one, gets it; everybody else has
    /// to claim it anew.
    ///
    /// Returns the names that moved, and the services for which a name is free now.
    pub fn forget(
        &mut self,
        gone: impl Fn(&ServiceKey) -> bool,
    ) -> (Vec<NameChange>, BTreeSet<ServiceKey>) {
        let mut free = Vec::new();
        for names in self.kept.values_mut() {
            free.extend(names.extract_if(.., |_, service| gone(service)));
        }
        self.kept.retain(|_, names| !names.is_empty());
        let mut changes = Changes::default();
        let mut waiting = BTreeSet::new();
        for (name, _) in free {
            changes.note(self, &name);
            self.give_up(&name);
            let claims = self
                .names
                .get(&name)
                .into_iter()
                .flat_map(|slot| &slot.claims);
            waiting.extend(claims.map(|claim| ServiceKey::from(&*claim.unit)));
        }
        (changes.finish(self), waiting)
    }

    /// The names that a restart must not give to another user: of several who claim it, or kept. With the service that has
    /// or had it.
    pub fn save(&self) -> Vec<(HostName, ServiceKey)> {
        let contested = self.names.iter().filter_map(|(name, slot)| {
            let owner = slot.owner?;
            let others = slot.claims.iter().any(|claim| claim.unit.uid != owner);
            let own = slot.claims.iter().find(|claim| claim.unit.uid == owner);
            let own = own.filter(|_| others)?;
            Some((name.clone(), ServiceKey::from(&*own.unit)))
        });
        let kept = self.kept.values().flatten();
        let kept = kept.map(|(name, service)| (name.clone(), service.clone()));
        contested.chain(kept).collect()
    }

    /// Replaces the rules and settles every name again: for a changed hosts file or configuration.
    ///
    /// Returns the names that moved.
    pub fn set_rules(&mut self, rules: NameRules) -> Vec<NameChange> {
        if rules == self.rules {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.rules, rules);
        let taken_back = before
            .allowed_suffixes
            .difference(&self.rules.allowed_suffixes);
        let taken_back: Vec<_> = taken_back.collect();
        let mut changes = Vec::new();
        for (name, slot) in &mut self.names {
            let from = slot.holder().cloned();
            let refused = self.rules.refuses(name);
            // A domain that the machine searches since it is in another network takes no name away.
            let stays = refused == Some(RefusalReason::OwnDomain)
                && from.is_some()
                && !taken_back
                    .iter()
                    .any(|suffix| name.is_within(suffix.as_str()));
            if !stays {
                slot.refused = refused;
            }
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
            let why = match (slot.refused, slot.holder(), slot.owner) {
                (Some(reason), ..) => {
                    let name = name.clone();
                    outcome.refused.push(Refusal { name, reason });
                    continue;
                }
                (None, Some(holder), _) if **holder == *unit => continue,
                (None, Some(holder), _) => Why::Taken(Arc::clone(holder)),
                (None, None, Some(owner)) => Why::Kept(owner),
                (None, None, None) => Why::Released,
            };
            let name = name.clone();
            outcome.lost.push(Lost { name, why });
        }
        outcome
    }

    fn enter(&mut self, changes: &mut Changes, name: &HostName, claim: Claim) {
        changes.note(self, name);
        let rules = &self.rules;
        let slot = self.names.entry(name.clone()).or_insert_with(|| Slot {
            refused: rules.refuses(name),
            owner: None,
            claims: Vec::with_capacity(1),
        });
        if let Err(place) = slot.claims.binary_search(&claim) {
            let uid = claim.unit.uid;
            slot.claims.insert(place, claim);
            if *slot.owner.get_or_insert(uid) == uid
                && let Some(kept) = self.kept.get_mut(&uid)
            {
                kept.remove(name);
            }
        }
    }

    fn withdraw(&mut self, changes: &mut Changes, name: &HostName, claim: &Claim) {
        changes.note(self, name);
        let Some(slot) = self.names.get_mut(name) else {
            return;
        };
        let uid = claim.unit.uid;
        let Ok(place) = slot.claims.binary_search(claim) else {
            return;
        };
        slot.claims.remove(place);
        let own = slot.claims.iter().any(|claim| claim.unit.uid == uid);
        if slot.owner == Some(uid) && !own {
            self.keep(name.clone(), ServiceKey::from(&*claim.unit));
        } else if slot.owner.is_none() && slot.claims.is_empty() {
            self.names.remove(name);
        }
    }

    /// Keeps a name for the user of a service that is away.
    fn keep(&mut self, name: HostName, service: ServiceKey) {
        let kept = self.kept.entry(service.uid).or_default();
        if kept.len() >= MAX_KEPT {
            self.give_up(&name);
        } else {
            kept.insert(name, service);
        }
    }

    /// Lets its user's hold on a name go.
    fn give_up(&mut self, name: &HostName) {
        let Some(slot) = self.names.get_mut(name) else {
            return;
        };
        let root = slot.claims.iter().any(|claim| claim.unit.uid.is_root());
        slot.owner = root.then_some(Uid::ROOT);
        if slot.claims.is_empty() {
            self.names.remove(name);
        }
    }
}

impl Slot {
    fn holder(&self) -> Option<&Arc<UnitKey>> {
        let owner = self.owner.filter(|_| self.refused.is_none())?;
        let mut own = self.claims.iter().filter(|claim| claim.unit.uid == owner);
        own.next().map(|claim| &claim.unit)
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
