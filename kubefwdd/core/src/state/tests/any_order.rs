//! Whatever the order of events, the end is the same.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;
use super::{UID, World, gone, headless, name, observed};

/// What can happen, in any order.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Add(usize),
    Remove(usize),
    AddService(usize, usize),
    RemoveService(usize, usize),
    Found(usize, usize, usize),
    Gone(usize, usize),
    Listed(usize, Vec<usize>),
    WorkerDies,
    WriteHosts,
    Restart,
}

const NAMESPACES: [&str; 3] = ["one", "two", "three"];
const SERVICES: [&str; 3] = ["api", "db", "web"];

fn variant(n: usize) -> ObservedService {
    match n {
        0 => observed(&[80]),
        1 => observed(&[80, 8080]),
        2 => headless(&["p-0"]),
        3 => headless(&["p-1", "p-2"]),
        _ => ObservedService {
            unsupported: Some("why".into()),
            ..observed(&[53])
        },
    }
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (n, s) = (0..NAMESPACES.len(), 0..SERVICES.len());
    prop_oneof![
        3 => n.clone().prop_map(Step::Add),
        2 => n.clone().prop_map(Step::Remove),
        2 => (n.clone(), s.clone()).prop_map(|(n, s)| Step::AddService(n, s)),
        2 => (n.clone(), s.clone()).prop_map(|(n, s)| Step::RemoveService(n, s)),
        8 => (n.clone(), s.clone(), 0..5usize).prop_map(|(n, s, v)| Step::Found(n, s, v)),
        2 => (n.clone(), s.clone()).prop_map(|(n, s)| Step::Gone(n, s)),
        1 => (n, proptest::collection::vec(s, 0..3)).prop_map(|(n, s)| Step::Listed(n, s)),
        1 => Just(Step::WorkerDies),
        3 => Just(Step::WriteHosts),
        1 => Just(Step::Restart),
    ]
}

pub(super) fn perform(world: &mut World, step: &Step) {
    match step {
        // Refusals are part of the game: what is there cannot be added, what is not cannot be removed.
        Step::Add(n) => drop(world.add_namespace(NAMESPACES[*n])),
        Step::Remove(n) => {
            let which = Which::Named(NAMESPACES[*n].to_owned());
            drop(world.remove_namespaces(which));
        }
        Step::AddService(n, s) => drop(world.add_service(NAMESPACES[*n], SERVICES[*s], &[])),
        Step::RemoveService(n, s) => {
            let which = Which::Named(format!("{}.{}", SERVICES[*s], NAMESPACES[*n]));
            drop(world.apply(Command::RemoveServices { uid: UID, which }));
        }
        Step::Found(n, s, v) => world.found(NAMESPACES[*n], SERVICES[*s], variant(*v)),
        Step::Gone(n, s) => {
            let gone = [name(SERVICES[*s])];
            world.services(NAMESPACES[*n], Vec::new(), &gone, None);
        }
        Step::Listed(n, exist) => {
            let exist = exist.iter().map(|s| name(SERVICES[*s])).collect();
            world.services(NAMESPACES[*n], Vec::new(), &[], Some(exist));
        }
        Step::WorkerDies if world.running => {
            world.held.clear();
            world.report(gone(true));
            world.settle();
            world.report(Report::WorkerReady { uid: UID });
        }
        Step::WorkerDies => {}
        Step::WriteHosts => world.write_hosts(),
        Step::Restart => {
            world.rest();
            *world = World::new(world.state.save());
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_events_ends_in_the_same_state(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(Saved::default());
        for step in &steps {
            perform(&mut world, step);
            world.settle();
            // A name never points at nothing.
            for address in world.hosts.keys() {
                prop_assert!(world.open.values().any(|(open, _)| open == address), "{address} after {step:?}");
            }
        }
        world.rest();
        prop_assert_eq!(&world.hosts, &world.state.hosts_entries());
        let held: BTreeSet<_> = world.open.keys().copied().collect();
        prop_assert_eq!(&world.held, &held, "the worker holds exactly what is open");

        // The same spec and the same cluster, from scratch.
        let mut scratch = World::new(world.state.save());
        scratch.rest();
        prop_assert_eq!(&scratch.hosts, &world.hosts);
        let places = |world: &World| world.open.values().copied().collect::<BTreeSet<_>>();
        prop_assert_eq!(places(&scratch), places(&world));
        let shown = |world: &World| -> Vec<_> {
            let services = world.state.view().services.values();
            services.map(|s| (s.key.clone(), s.status, s.address, s.hostnames.clone())).collect()
        };
        prop_assert_eq!(shown(&scratch), shown(&world));

        // And nothing is left when nothing is wanted.
        drop(world.remove_namespaces(Which::All));
        world.rest();
        prop_assert!(world.open.is_empty() && world.hosts.is_empty() && world.state.listeners.is_empty());
    }
}
