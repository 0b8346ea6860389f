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
    assert_eq!(
        (&outcome.lost[0].name, &*outcome.lost[0].holder),
        (&name("api"), &first)
    );

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
    (3, "svc", "one", "api"),
    (3, "com", "one", "api"),
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let unit = 0..POOL.len();
    let step = prop_oneof![
        4 => (unit.clone(), 0..4u64, any::<bool>())
            .prop_map(|(unit, rank, dashed)| Step::Claim { unit, rank, dashed }),
        2 => unit.prop_map(|unit| Step::Release { unit }),
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

proptest! {
    #[test]
    fn any_sequence_ends_in_the_outcome_of_its_claims(steps in steps()) {
        let mut registry = NameRegistry::default();
        let mut rules = NameRules::default();
        let mut claims: BTreeMap<usize, (u64, bool)> = BTreeMap::new();
        let mut told: BTreeMap<HostName, UnitKey> = BTreeMap::new();
        for step in steps {
            let changes = match step {
                Step::Claim { unit, rank, dashed } => {
                    claims.insert(unit, (rank, dashed));
                    let found = pool_candidates(unit, dashed);
                    registry.claim(&pool_unit(unit), Rank(rank), found)
                }
                Step::Release { unit } => {
                    claims.remove(&unit);
                    registry.release(&pool_unit(unit))
                }
                Step::HostsLine { name: index } => {
                    let line = name(["api", "one.api", "api.one"][index]);
                    if !rules.hosts_lines.remove(&line) {
                        rules.hosts_lines.insert(line);
                    }
                    registry.set_rules(rules.clone())
                }
                Step::Restart => {
                    registry = NameRegistry::new(rules.clone());
                    for (index, (rank, dashed)) in &claims {
                        let found = pool_candidates(*index, *dashed);
                        registry.claim(&pool_unit(*index), Rank(*rank), found);
                    }
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
            prop_assert_eq!(&told, &winners(&claims, &rules), "changes add up to the outcome");
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
            let claimed = claims.get(&index);
            let claimed = claimed.map_or(0, |(_, dashed)| pool_candidates(index, *dashed).len());
            prop_assert!(count == claimed, "{count} of {claimed} claims are accounted for");
        }
    }
}

/// The rule of the module, from scratch.
fn winners(
    claims: &BTreeMap<usize, (u64, bool)>,
    rules: &NameRules,
) -> BTreeMap<HostName, UnitKey> {
    let mut best: BTreeMap<HostName, (u64, bool, UnitKey)> = BTreeMap::new();
    for (index, (rank, dashed)) in claims {
        let unit = pool_unit(*index);
        for candidate in pool_candidates(*index, *dashed) {
            if rules.refuses(&candidate.name).is_some() {
                continue;
            }
            let claim = (*rank, candidate.dashed, unit.clone());
            let entry = best.entry(candidate.name).or_insert_with(|| claim.clone());
            if claim < *entry {
                *entry = claim;
            }
        }
    }
    best.into_iter()
        .map(|(name, (_, _, unit))| (name, unit))
        .collect()
}
