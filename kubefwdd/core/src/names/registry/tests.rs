//! The outcome is checked against the rule itself, computed from scratch, after any sequence.

use std::collections::{BTreeMap, BTreeSet};

use kubefwd_model::{ContextName, NamespaceName, ServiceName, Uid};
use proptest::prelude::*;

use super::super::{NameOptions, candidates};
use super::*;

fn unit(uid: u32, context: &str, namespace: &str, service: &str) -> UnitKey {
    UnitKey {
        uid: Uid::new(uid),
        context: ContextName::parse(context).unwrap(),
        namespace: NamespaceName::parse(namespace).unwrap(),
        service: ServiceName::parse(service).unwrap(),
        pod: None,
    }
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn claim(registry: &mut NameRegistry, unit: &UnitKey, rank: u64) -> Vec<NameChange> {
    let found = candidates(unit, &unit.context.label(), &NameOptions::default());
    registry.claim(unit, Rank(rank), found)
}

#[test]
fn the_first_namespace_keeps_the_short_name() {
    let mut registry = NameRegistry::default();
    let (first, second) = (unit(1, "c", "alpha", "api"), unit(1, "c", "beta", "api"));
    assert_eq!(claim(&mut registry, &second, 2).len(), 7);
    let moved = claim(&mut registry, &first, 1);
    assert!(
        moved.iter().any(|change| change.name == name("api")
            && change.from.as_deref() == Some(&second)
            && change.to.as_deref() == Some(&first)),
        "the order of ns add counts, not that of the reports"
    );
    let outcome = registry.outcome(&second);
    assert_eq!(registry.held(&second).count(), 6);
    assert_eq!(outcome.lost.len(), 1);
    let lost = Lost {
        name: name("api"),
        why: Why::Taken(Arc::new(first.clone())),
    };
    assert_eq!(outcome.lost, [lost]);

    let moved = registry.release(&first);
    assert_eq!(
        registry.holder(&name("api")).map(|unit| &**unit),
        Some(&second)
    );
    assert_eq!(moved.len(), 7);
    assert_eq!(registry.held(&second).count(), 7);
    assert_eq!(registry.held(&first).count(), 0);
}

#[test]
fn a_name_stays_with_its_user_until_it_is_given_up() {
    let mut registry = NameRegistry::default();
    let (ann, ben, root) = (
        unit(1, "c", "demo", "db"),
        unit(2, "c2", "demo", "db"),
        unit(0, "c3", "demo", "db"),
    );
    let holder = |registry: &NameRegistry| registry.holder(&name("db")).map(|unit| unit.uid);
    let why = |registry: &NameRegistry, unit: &UnitKey| {
        let mut lost = registry.outcome(unit).lost.into_iter();
        lost.find(|lost| lost.name == name("db")).unwrap().why
    };
    claim(&mut registry, &ann, 5);
    // Neither an earlier request nor root takes what a user has.
    claim(&mut registry, &ben, 1);
    assert_eq!(holder(&registry), Some(Uid::new(1)));
    assert!(matches!(why(&registry, &ben), Why::Taken(_)));

    // A redeployment, a restart of the daemon, the service again.
    registry.release(&ann);
    assert_eq!(holder(&registry), None);
    assert_eq!(why(&registry, &ben), Why::Kept(Uid::new(1)));
    registry = NameRegistry::restore(NameRules::default(), registry.save());
    claim(&mut registry, &ben, 1);
    assert_eq!(holder(&registry), None);
    claim(&mut registry, &ann, 5);
    assert_eq!(holder(&registry), Some(Uid::new(1)));

    // Given up: it is free, but for those only who claim it from now on.
    registry.release(&ann);
    let (moved, waiting) = registry.forget(|_| true);
    assert_eq!(
        (moved, waiting),
        (Vec::new(), BTreeSet::from([ServiceKey::from(&ben)]))
    );
    assert_eq!(holder(&registry), None);
    assert_eq!(why(&registry, &ben), Why::Released);
    registry.release(&ben);
    claim(&mut registry, &ben, 1);
    assert_eq!(holder(&registry), Some(Uid::new(2)));

    // Root has waited, and comes before everybody else then.
    claim(&mut registry, &root, 9);
    claim(&mut registry, &ann, 5);
    assert_eq!(holder(&registry), Some(Uid::new(2)));
    registry.release(&ben);
    let (moved, _) = registry.forget(|service| service.uid == Uid::new(2));
    let to_root = moved
        .iter()
        .find(|change| change.name == name("db"))
        .unwrap();
    assert_eq!(to_root.to.as_deref(), Some(&root));
}

#[test]
fn what_is_kept_for_a_user_has_an_end() {
    let mut registry = NameRegistry::default();
    for n in 0..2_000 {
        let service = unit(1, "c", "demo", &format!("s{n}"));
        claim(&mut registry, &service, 1);
        registry.release(&service);
    }
    assert_eq!(registry.save().len(), MAX_KEPT);
    assert_eq!(registry.names.len(), MAX_KEPT);
}

#[test]
fn the_same_claim_again_moves_nothing() {
    let mut registry = NameRegistry::default();
    let api = unit(1, "c", "one", "api");
    claim(&mut registry, &api, 1);
    assert_eq!(claim(&mut registry, &api, 1), []);
    assert_eq!(registry.release(&unit(1, "c", "one", "other")), []);
}

#[test]
fn a_plain_name_goes_before_a_dashed_copy_of_the_same_rank() {
    let mut registry = NameRegistry::default();
    let dashed = NameOptions {
        domain: None,
        dashed: true,
    };
    let (copy, plain) = (
        unit(1, "c", "default", "api"),
        unit(1, "c", "zeta", "api-default"),
    );
    registry.claim(
        &copy,
        Rank(1),
        candidates(&copy, &copy.context.label(), &dashed),
    );
    assert_eq!(
        registry.holder(&name("api-default")).map(|unit| &**unit),
        Some(&copy)
    );
    claim(&mut registry, &plain, 1);
    assert_eq!(
        registry.holder(&name("api-default")).map(|unit| &**unit),
        Some(&plain)
    );
}

#[test]
fn refused_names_are_told_and_come_back_when_the_rules_allow() {
    let mut registry = NameRegistry::default();
    let api = unit(1, "c", "dev", "api");
    claim(&mut registry, &api, 1);
    let outcome = registry.outcome(&api);
    assert_eq!(outcome.refused.len(), 1);
    assert_eq!(outcome.refused[0].name, name("api.dev"));

    let rules = NameRules {
        allowed_suffixes: BTreeSet::from([name("dev")]),
        hosts_lines: BTreeSet::from([name("api")]),
        ..NameRules::default()
    };
    let moved = registry.set_rules(rules.clone());
    let moved: Vec<_> = moved
        .iter()
        .map(|c| (c.name.as_str(), c.to.is_some()))
        .collect();
    assert_eq!(moved, [("api", false), ("api.dev", true)]);
    assert_eq!(registry.set_rules(rules), []);
}

#[test]
fn another_network_takes_no_name_away_and_root_can() {
    let mut registry = NameRegistry::default();
    let api = unit(1, "c", "ours", "api");
    claim(&mut registry, &api, 1);
    let searched = NameRules {
        search_domains: BTreeSet::from([name("ours")]),
        ..NameRules::default()
    };
    assert_eq!(registry.set_rules(searched.clone()), []);
    let later = unit(1, "c", "ours", "db");
    claim(&mut registry, &later, 1);
    assert!(registry.holder(&name("api.ours")).is_some());
    assert!(registry.holder(&name("db.ours")).is_none());
    let allowed = NameRules {
        allowed_suffixes: BTreeSet::from([name("ours")]),
        ..searched.clone()
    };
    registry.set_rules(allowed);
    assert!(registry.holder(&name("db.ours")).is_some());
    registry.set_rules(searched);
    assert!(registry.holder(&name("api.ours")).is_none());
    assert!(registry.holder(&name("db.ours")).is_none());
}

#[derive(Debug, Clone)]
enum Step {
    Claim {
        unit: usize,
        rank: u64,
        dashed: bool,
    },
    Release {
        unit: usize,
    },
    /// The service is not only away.
    Forget {
        unit: usize,
    },
    HostsLine {
        name: usize,
    },
    Restart,
}

const POOL: &[(u32, &str, &str, &str)] = &[
    (1, "a", "one", "api"),
    (1, "a", "two", "api"),
    (1, "b", "one", "api"),
    (2, "a", "one", "api"),
    (2, "a", "one", "one"),
    (2, "a", "api", "one"),
    (2, "a", "x", "api-one"),
    (0, "svc", "one", "api"),
    (0, "com", "one", "api"),
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let unit = 0..POOL.len();
    let step = prop_oneof![
        4 => (unit.clone(), 0..4u64, any::<bool>())
            .prop_map(|(unit, rank, dashed)| Step::Claim { unit, rank, dashed }),
        2 => unit.clone().prop_map(|unit| Step::Release { unit }),
        2 => unit.prop_map(|unit| Step::Forget { unit }),
        1 => (0..3usize).prop_map(|name| Step::HostsLine { name }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..40)
}

fn pool_unit(index: usize) -> UnitKey {
    let (uid, context, namespace, service) = POOL[index];
    unit(uid, context, namespace, service)
}

fn pool_candidates(index: usize, dashed: bool) -> Vec<Candidate> {
    let (unit, domain) = (pool_unit(index), None);
    candidates(
        &unit,
        &unit.context.label(),
        &NameOptions { domain, dashed },
    )
}

/// The rules of the module, from scratch, without anything that makes them fast.
#[derive(Default)]
struct Model {
    rules: NameRules,
    claims: BTreeMap<usize, (u64, bool)>,
    owners: BTreeMap<HostName, Uid>,
    /// Names whose owner does not claim them, and the unit that did.
    kept: BTreeMap<HostName, usize>,
}

impl Model {
    fn names(&self, index: usize) -> BTreeSet<HostName> {
        let claimed = self.claims.get(&index);
        let found = claimed.map(|(_, dashed)| pool_candidates(index, *dashed));
        let found = found.into_iter().flatten();
        found.map(|candidate| candidate.name).collect()
    }

    fn claimed_by(&self, uid: Uid, name: &HostName) -> bool {
        let mut own = (0..POOL.len()).filter(|index| pool_unit(*index).uid == uid);
        own.any(|index| self.names(index).contains(name))
    }

    fn claim(&mut self, index: usize, claim: Option<(u64, bool)>) {
        if self.claims.get(&index).copied() == claim {
            return;
        }
        let uid = pool_unit(index).uid;
        let before = self.names(index);
        match claim {
            Some(claim) => drop(self.claims.insert(index, claim)),
            None => drop(self.claims.remove(&index)),
        }
        for name in before {
            if self.owners.get(&name) == Some(&uid) && !self.claimed_by(uid, &name) {
                self.kept.insert(name, index);
            }
        }
        for name in self.names(index) {
            if *self.owners.entry(name.clone()).or_insert(uid) == uid {
                self.kept.remove(&name);
            }
        }
    }

    fn forget(&mut self, index: usize) {
        let kept = std::mem::take(&mut self.kept);
        for (name, unit) in kept {
            if unit != index {
                self.kept.insert(name, unit);
            } else if self.claimed_by(Uid::ROOT, &name) {
                self.owners.insert(name, Uid::ROOT);
            } else {
                self.owners.remove(&name);
            }
        }
    }

    fn restart(&mut self) {
        for index in 0..POOL.len() {
            for name in self.names(index) {
                self.owners.entry(name).or_insert(pool_unit(index).uid);
            }
        }
    }

    fn holders(&self) -> BTreeMap<HostName, UnitKey> {
        let mut best: BTreeMap<HostName, (u64, bool, UnitKey)> = BTreeMap::new();
        for (index, (rank, dashed)) in &self.claims {
            let unit = pool_unit(*index);
            for candidate in pool_candidates(*index, *dashed) {
                if self.rules.refuses(&candidate.name).is_some()
                    || self.owners.get(&candidate.name) != Some(&unit.uid)
                {
                    continue;
                }
                let claim = (*rank, candidate.dashed, unit.clone());
                let entry = best.entry(candidate.name).or_insert_with(|| claim.clone());
                if claim < *entry {
                    *entry = claim;
                }
            }
        }
        let holders = best.into_iter();
        holders.map(|(name, (_, _, unit))| (name, unit)).collect()
    }
}

proptest! {
    #[test]
    fn any_sequence_ends_as_the_rules_say(steps in steps()) {
        let mut registry = NameRegistry::default();
        let mut model = Model::default();
        let mut told: BTreeMap<HostName, UnitKey> = BTreeMap::new();
        for step in steps {
            let changes = match step {
                Step::Claim { unit, rank, dashed } => {
                    model.claim(unit, Some((rank, dashed)));
                    let found = pool_candidates(unit, dashed);
                    registry.claim(&pool_unit(unit), Rank(rank), found)
                }
                Step::Release { unit } => {
                    model.claim(unit, None);
                    registry.release(&pool_unit(unit))
                }
                Step::Forget { unit } => {
                    model.forget(unit);
                    let gone = ServiceKey::from(&pool_unit(unit));
                    registry.forget(|service| *service == gone).0
                }
                Step::HostsLine { name: index } => {
                    let line = name(["api", "one.api", "api.one"][index]);
                    if !model.rules.hosts_lines.remove(&line) {
                        model.rules.hosts_lines.insert(line);
                    }
                    registry.set_rules(model.rules.clone())
                }
                Step::Restart => {
                    registry = NameRegistry::restore(model.rules.clone(), registry.save());
                    model.restart();
                    for (index, (rank, dashed)) in &model.claims {
                        let found = pool_candidates(*index, *dashed);
                        registry.claim(&pool_unit(*index), Rank(*rank), found);
                    }
                    told = model.holders();
                    Vec::new()
                }
            };
            for NameChange { name, from, to } in changes {
                prop_assert_eq!(told.get(&name), from.as_deref());
                match to {
                    Some(to) => told.insert(name, UnitKey::clone(&to)),
                    None => told.remove(&name),
                };
            }
            prop_assert_eq!(&told, &model.holders(), "changes add up to the outcome");
            let units = (0..POOL.len()).map(pool_unit);
            let held: BTreeMap<_, _> = units
                .flat_map(|unit| registry.held(&unit).map(|name| (name.clone(), unit.clone())).collect::<Vec<_>>())
                .collect();
            prop_assert_eq!(&told, &held);
        }
        for index in 0..POOL.len() {
            let outcome = registry.outcome(&pool_unit(index));
            let held = registry.held(&pool_unit(index)).count();
            let count = held + outcome.lost.len() + outcome.refused.len();
            let claimed = model.names(index).len();
            prop_assert!(count == claimed, "{count} of {claimed} claims are accounted for");
        }
    }
}
