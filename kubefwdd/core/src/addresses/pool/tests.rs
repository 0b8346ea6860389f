//! One owner per address, the same address again, whatever happens in between.

use std::collections::{BTreeMap, BTreeSet};

use kubefwd_model::{ContextName, NamespaceName, PodName, ServiceName, Uid};
use proptest::prelude::*;

use super::super::{API_ADDRESS, Unusable};
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

fn pool(range: &str) -> AddressPool {
    AddressPool::new(range.parse().unwrap())
}

fn assign(pool: &mut AddressPool, unit: &UnitKey) -> String {
    pool.assign(unit, []).unwrap().to_string()
}

fn reservation(owner: Option<u32>, name: &str, address: &str) -> Reservation {
    let target = Target::Name(HostName::parse(name).unwrap());
    Reservation {
        owner: owner.map(Uid::new),
        target,
        address: address.parse().unwrap(),
    }
}

fn through_restart(pool: &AddressPool) -> AddressPool {
    let json = serde_json::to_string(&pool.save()).unwrap();
    let (restored, dropped) =
        AddressPool::restore(pool.range, serde_json::from_str(&json).unwrap());
    assert_eq!(dropped, Vec::<String>::new());
    restored
}

#[test]
fn numbers_like_kubefwd() {
    let mut pool = AddressPool::new(AddressRange::default());
    assert_eq!(assign(&mut pool, &unit(1, "a", "one", "x")), "127.1.27.1");
    assert_eq!(assign(&mut pool, &unit(1, "a", "one", "y")), "127.1.27.2");
    assert_eq!(assign(&mut pool, &unit(1, "a", "two", "x")), "127.1.28.1");
    assert_eq!(assign(&mut pool, &unit(1, "b", "one", "x")), "127.2.29.1");
    assert_eq!(
        assign(&mut pool, &unit(2, "a", "one", "x")),
        "127.3.30.1",
        "another user's context"
    );
    assert_eq!(
        assign(&mut pool, &unit(1, "a", "one", "x")),
        "127.1.27.1",
        "asked again"
    );
}

#[test]
fn a_released_address_waits_for_its_unit() {
    let mut pool = AddressPool::new(AddressRange::default());
    let (x, y, z) = (
        unit(1, "a", "n", "x"),
        unit(1, "a", "n", "y"),
        unit(1, "a", "n", "z"),
    );
    assign(&mut pool, &x);
    assign(&mut pool, &y);
    assert!(pool.release(&x));
    assert!(!pool.release(&x), "only once");
    assert_eq!(pool.address(&x), None);
    assert_eq!(assign(&mut pool, &z), "127.1.27.3");
    let mut pool = through_restart(&pool);
    assert_eq!(pool.live().count(), 0);
    assert_eq!(assign(&mut pool, &y), "127.1.27.2");
    assert_eq!(assign(&mut pool, &x), "127.1.27.1");
}

#[test]
fn a_large_namespace_spills_over_and_leaves_the_next_one_its_numbers() {
    let mut pool = AddressPool::new(AddressRange::default());
    let mut seen = BTreeSet::new();
    for n in 0..10_000 {
        let address = pool
            .assign(&unit(1, "a", "big", &format!("s{n}")), [])
            .unwrap();
        assert!(pool.range.check(address).is_ok(), "{address}");
        assert!(seen.insert(address), "{address} twice");
    }
    assert!(seen.contains(&"127.1.27.254".parse().unwrap()));
    assert!(
        seen.contains(&"127.128.0.1".parse().unwrap()),
        "the first block of the upper half"
    );
    assert_eq!(assign(&mut pool, &unit(1, "a", "next", "x")), "127.1.28.1");
    let mut pool = through_restart(&pool);
    for n in (0..10_000).rev() {
        let address = pool
            .assign(&unit(1, "a", "big", &format!("s{n}")), [])
            .unwrap();
        assert!(seen.remove(&address), "{address} is new after the restart");
    }
}

#[test]
fn the_api_address_is_never_given_away() {
    let mut pool = AddressPool::new(AddressRange::default());
    assign(&mut pool, &unit(1, "a", "first", "x"));
    let second = unit(2, "b", "second", "x");
    assert_eq!(assign(&mut pool, &second), "127.2.28.1");
    let mut small = pool_of_api_block();
    for n in 0..253 {
        let address = small
            .assign(&unit(1, "a", "n", &format!("s{n}")), [])
            .unwrap();
        assert_ne!(address, API_ADDRESS);
    }
    let error = small.assign(&unit(1, "a", "n", "more"), []).unwrap_err();
    assert!(error.to_string().contains("127.2.27.0/24"), "{error}");
}

fn pool_of_api_block() -> AddressPool {
    pool("127.2.27.0/24")
}

#[test]
fn a_full_range_reuses_the_longest_unused_first() {
    let mut pool = pool("10.99.0.0/29");
    let units: Vec<UnitKey> = (0..7)
        .map(|n| unit(1, "a", "n", &format!("s{n}")))
        .collect();
    let addresses: Vec<String> = units.iter().map(|unit| assign(&mut pool, unit)).collect();
    assert_eq!(addresses[6], "10.99.0.7");
    let more = unit(1, "a", "other", "more");
    assert!(pool.assign(&more, []).is_err());
    pool.release(&units[3]);
    pool.release(&units[1]);
    let mut pool = through_restart(&pool);
    for live in [0, 2, 4, 5, 6] {
        assert_eq!(assign(&mut pool, &units[live]), addresses[live]);
    }
    assert_eq!(
        assign(&mut pool, &more),
        addresses[3],
        "released before the other"
    );
    assert_eq!(assign(&mut pool, &units[1]), addresses[1]);
}

#[test]
fn reservations_go_before_everything() {
    let mut pool = AddressPool::new(AddressRange::default());
    let (db, other) = (unit(1, "a", "n", "db"), unit(2, "a", "n", "db"));
    let names = [HostName::parse("db").unwrap()];
    pool.reserve(reservation(None, "db", "127.3.3.1")).unwrap();
    pool.reserve(reservation(None, "db", "127.3.3.1")).unwrap();
    assert_eq!(pool.assign(&db, &names).unwrap().to_string(), "127.3.3.1");
    assert_eq!(
        pool.assign(&other, &names).unwrap().to_string(),
        "127.2.28.1",
        "first come"
    );
    pool.release(&db);
    let mut pool = through_restart(&pool);
    assert_eq!(pool.reservations().count(), 1);
    assert_eq!(pool.assign(&db, &names).unwrap().to_string(), "127.3.3.1");

    pool.reserve(reservation(Some(2), "db", "127.4.4.1"))
        .unwrap();
    pool.release(&other);
    assert_eq!(
        pool.assign(&other, &names).unwrap().to_string(),
        "127.4.4.1",
        "a user's own"
    );
    assert_eq!(
        pool.unreserve(None, &Target::Name(names[0].clone())),
        Some(Ipv4Addr::new(127, 3, 3, 1))
    );
    assert_eq!(
        pool.address(&db),
        Some(Ipv4Addr::new(127, 3, 3, 1)),
        "kept while in use"
    );
}

#[test]
fn a_reservation_that_cannot_be_says_why() {
    let mut pool = AddressPool::new(AddressRange::default());
    let db = unit(1, "a", "n", "db");
    assign(&mut pool, &db);
    let mut error = |address: &str| {
        pool.reserve(reservation(Some(1), "x", address))
            .unwrap_err()
    };
    assert!(matches!(error("10.0.0.1"), ReserveError::Unusable { .. }));
    assert!(matches!(
        error("127.2.27.1"),
        ReserveError::Unusable {
            reason: Unusable::Api,
            ..
        }
    ));
    let taken = error("127.1.27.1");
    assert!(matches!(&taken, ReserveError::Taken { unit, .. } if **unit == db));
    assert!(taken.to_string().contains("db.n.a of user 1"), "{taken}");
    pool.reserve(reservation(Some(1), "x", "127.5.5.5"))
        .unwrap();
    let reserved = pool
        .reserve(reservation(Some(2), "y", "127.5.5.5"))
        .unwrap_err();
    assert!(
        reserved.to_string().contains("already reserved for x"),
        "{reserved}"
    );
    let target = Target::Unit(db.clone());
    let own = Reservation {
        owner: Some(Uid::new(1)),
        target,
        address: Ipv4Addr::new(127, 1, 27, 1),
    };
    assert_eq!(pool.reserve(own), Ok(()), "a unit may reserve what it has");
}

#[test]
fn what_is_remembered_is_bounded_per_user() {
    let mut pool = AddressPool::new(AddressRange::default());
    let quiet = unit(2, "a", "n", "db");
    let address = assign(&mut pool, &quiet);
    pool.release(&quiet);
    for n in 0..20_000 {
        let mut pod = unit(1, "a", "n", "web");
        pod.pod = Some(PodName::parse(&format!("web-{n}")).unwrap());
        pool.assign(&pod, []).unwrap();
        pool.release(&pod);
    }
    let saved: usize = pool.save().namespaces.iter().map(|ns| ns.units.len()).sum();
    assert_eq!(saved, super::super::memory::PER_USER + 1);
    assert_eq!(
        assign(&mut pool, &quiet),
        address,
        "another user's memory is not touched"
    );
}

#[test]
fn a_damaged_file_costs_only_what_is_damaged() {
    let mut pool = AddressPool::new(AddressRange::default());
    let (x, y) = (unit(1, "a", "n", "x"), unit(1, "a", "n", "y"));
    assign(&mut pool, &x);
    assign(&mut pool, &y);
    let mut saved = pool.save();
    saved.namespaces[0].units[1].address = Ipv4Addr::new(127, 1, 27, 1);
    saved.namespaces.push(saved.namespaces[0].clone());
    saved.reservations.push(reservation(None, "x", "10.1.1.1"));
    let (mut pool, dropped) = AddressPool::restore(AddressRange::default(), saved.clone());
    assert_eq!(dropped.len(), 4, "{dropped:?}");
    assert_eq!(assign(&mut pool, &x), "127.1.27.1");
    assert_eq!(assign(&mut pool, &y), "127.1.27.2");
    let elsewhere: AddressRange = "10.99.0.0/16".parse().unwrap();
    let (mut pool, _) = AddressPool::restore(elsewhere, saved);
    assert_eq!(assign(&mut pool, &x), "10.99.27.1");
}

#[derive(Debug, Clone)]
enum Step {
    Assign(usize),
    Release(usize),
    Reserve { name: usize, last: u8 },
    Unreserve { name: usize },
    Restart,
}

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

fn pool_unit(index: usize) -> UnitKey {
    let service = SERVICES[index % 4];
    let namespace = ["n", "m"][index / 4 % 2];
    unit(u32::try_from(index / 8).unwrap(), "ctx", namespace, service)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..16usize).prop_map(Step::Assign),
        3 => (0..16usize).prop_map(Step::Release),
        1 => (0..4usize, 0..20u8).prop_map(|(name, last)| Step::Reserve { name, last }),
        1 => (0..4usize).prop_map(|name| Step::Unreserve { name }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn never_two_owners_and_always_the_same_address(
        steps in steps(),
        range in prop::sample::select(vec!["127.0.0.0/8", "10.9.0.0/28", "10.9.0.0/22", "127.2.27.0/28"]),
    ) {
        let range: AddressRange = range.parse().unwrap();
        let mut pool = AddressPool::new(range);
        let mut live: BTreeMap<usize, Ipv4Addr> = BTreeMap::new();
        let has_room = range.prefix < 28;
        let mut sticky: BTreeMap<usize, Ipv4Addr> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Assign(index) => {
                    let unit = pool_unit(index);
                    let name = HostName::parse(unit.service.as_str()).unwrap();
                    let Ok(address) = pool.assign(&unit, [&name]) else {
                        prop_assert!(!has_room);
                        continue;
                    };
                    prop_assert!(range.check(address).is_ok());
                    if let Some(before) = live.insert(index, address) {
                        // A reservation made meanwhile counts from the next time on.
                        prop_assert_eq!(before, address);
                        continue;
                    }
                    // A new unit may take a name's reservation over from a released one.
                    sticky.retain(|other, held| *other == index || *held != address);
                    if let Some(before) = sticky.insert(index, address) {
                        prop_assert_eq!(before, address);
                    }
                }
                Step::Release(index) => {
                    let was_live = live.remove(&index).is_some();
                    prop_assert_eq!(pool.release(&pool_unit(index)), was_live);
                }
                Step::Reserve { name, last } => {
                    let mut octets = range.base.octets();
                    (octets[1], octets[3]) = (octets[1].max(1), octets[3] + last);
                    let address = Ipv4Addr::from(octets);
                    let _ = pool.reserve(reservation(None, SERVICES[name], &address.to_string()));
                    sticky.clear();
                }
                Step::Unreserve { name } => {
                    let target = Target::Name(HostName::parse(SERVICES[name]).unwrap());
                    pool.unreserve(None, &target);
                    sticky.clear();
                }
                Step::Restart => {
                    let reserved: Vec<_> = pool.reservations().collect();
                    pool = through_restart(&pool);
                    prop_assert_eq!(pool.reservations().collect::<Vec<_>>(), reserved);
                    live.clear();
                }
            }
            if !has_room {
                sticky.clear();
            }
            let owners: BTreeMap<usize, Ipv4Addr> = (0..16)
                .filter_map(|index| Some((index, pool.address(&pool_unit(index))?)))
                .collect();
            prop_assert_eq!(&owners, &live);
            let unique: BTreeSet<_> = live.values().collect();
            prop_assert!(unique.len() == live.len(), "one address, two owners");
            for (index, address) in &live {
                prop_assert_eq!(pool.holder(*address).map(|unit| &**unit), Some(&pool_unit(*index)));
            }
        }
    }
}
