//! The index against clusters that are made up at random: any order of events ends in the same state.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    PutService(Service),
    DeleteService(u8),
    PutSlice(Slice),
    DeleteSlice(u8),
    PutPod(Pod),
    DeletePod(u8),
    /// Deliver what waits for one of the three watches; sometimes twice.
    Deliver {
        kind: u8,
        count: u8,
        twice: bool,
    },
    /// A watch loses what waits and lists afresh.
    Relist {
        kind: u8,
    },
    Report,
}

fn services() -> impl Strategy<Value = Service> {
    (0..5u8, any::<bool>(), any::<bool>(), 0..3u8, 0..4u8).prop_map(
        |(number, headless, publish_not_ready, selector, ports)| Service {
            external_name: (number == 4).then(|| "elsewhere".into()),
            headless,
            publish_not_ready,
            selector: (0..selector).map(|n| name(format!("l{n}=x"))).collect(),
            ports: (0..ports)
                .map(|n| match n {
                    0 => port(80, "a", Target::Number(8080)),
                    1 => port(81, "b", Target::Name("admin".into())),
                    _ => ServicePort {
                        protocol: Protocol::Udp,
                        ..port(82, "c", Target::Number(53))
                    },
                })
                .collect(),
            ..service(&format!("s{number}"))
        },
    )
}

fn conditions() -> impl Strategy<Value = Condition> {
    prop_oneof![Just(NotReady), Just(Draining), Just(Ready)]
}

fn slices() -> impl Strategy<Value = Slice> {
    let endpoints = proptest::collection::vec((0..4u8, 0..2u8, conditions()), 0..4);
    (0..5u8, 0..5u8, endpoints).prop_map(|(number, service, endpoints)| Slice {
        name: name(format!("slice{number}")),
        service: name(format!("s{service}")),
        ports: ["a", "b"]
            .map(|port| SlicePort {
                name: port.into(),
                port: 8080,
            })
            .into(),
        endpoints: endpoints
            .into_iter()
            .map(|(pod, uid, condition)| SliceEndpoint {
                pod: (pod != 3).then(|| PodRef {
                    name: name(format!("p{pod}")),
                    uid: name(format!("u{pod}{uid}")),
                }),
                condition,
            })
            .collect(),
    })
}

fn pods() -> impl Strategy<Value = Pod> {
    (0..4u8, 0..2u8, 0..4u8, any::<[bool; 4]>()).prop_map(
        |(number, uid, labels, [ready, terminating, running, admin])| Pod {
            name: name(format!("p{number}")),
            uid: name(format!("u{number}{uid}")),
            labels: (0..labels).map(|n| name(format!("l{n}=x"))).collect(),
            ready,
            terminating,
            running,
            ports: admin
                .then(|| ContainerPort {
                    name: "admin".into(),
                    port: 9000 + u16::from(number),
                    container: name("main"),
                })
                .into_iter()
                .collect(),
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => services().prop_map(Step::PutService),
        1 => (0..5u8).prop_map(Step::DeleteService),
        3 => slices().prop_map(Step::PutSlice),
        1 => (0..5u8).prop_map(Step::DeleteSlice),
        3 => pods().prop_map(Step::PutPod),
        1 => (0..4u8).prop_map(Step::DeletePod),
        6 => (0..3u8, 1..5u8, any::<bool>())
            .prop_map(|(kind, count, twice)| Step::Deliver { kind, count, twice }),
        1 => (0..3u8).prop_map(|kind| Step::Relist { kind }),
        2 => Just(Step::Report),
    ];
    proptest::collection::vec(step, 0..60)
}

/// One kind of objects in the cluster, and the events that its watch has not delivered.
struct Store<T> {
    objects: BTreeMap<Name, T>,
    waiting: VecDeque<Change<T>>,
}

impl<T: Clone> Store<T> {
    fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    fn put(&mut self, name: &Name, object: T) {
        self.objects.insert(name.clone(), object.clone());
        self.waiting.push_back(Change::Applied(object));
    }

    fn delete(&mut self, name: Name) {
        if self.objects.remove(&name).is_some() {
            self.waiting.push_back(Change::Deleted(name));
        }
    }

    fn list(&mut self) -> Change<T> {
        self.waiting.clear();
        Change::Listed(self.objects.values().cloned().collect())
    }

    fn deliver(&mut self, count: usize, twice: bool) -> Vec<Change<T>> {
        let count = count.min(self.waiting.len());
        self.waiting
            .drain(..count)
            .flat_map(|change| std::iter::repeat_n(change, 1 + usize::from(twice)))
            .collect()
    }
}

/// What the daemon has been told.
#[derive(Default)]
struct Told(BTreeMap<String, ObservedService>);

impl Told {
    fn take(&mut self, index: &mut NamespaceIndex) {
        let Some(changes) = index.take_changes() else {
            return;
        };
        if changes.complete {
            self.0.clear();
        }
        for uid in changes.gone {
            assert!(!index.has_pod(&uid), "{uid} is there");
        }
        for service in changes.services {
            self.0.insert(service.name.clone(), service);
        }
        for name in changes.removed {
            assert!(self.0.remove(&name).is_some(), "{name} was never told");
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_events_ends_in_the_same_state(
        steps in steps(),
        pods_instead in any::<bool>(),
        switch_at in 0..60usize,
    ) {
        let covers = Membership::all();
        let (mut services, mut slices, mut pods) = (Store::new(), Store::new(), Store::new());
        let mut index = NamespaceIndex::new(filter(&["s1"]));
        let mut told = Told::default();
        for (number, step) in steps.into_iter().enumerate() {
            if pods_instead && number == switch_at {
                index.use_pods();
                index.pods(pods.list());
            }
            match step {
                Step::PutService(s) => services.put(&s.name.clone(), s),
                Step::DeleteService(n) => services.delete(name(format!("s{n}"))),
                Step::PutSlice(s) => slices.put(&s.name.clone(), s),
                Step::DeleteSlice(n) => slices.delete(name(format!("slice{n}"))),
                Step::PutPod(p) => pods.put(&p.name.clone(), p),
                Step::DeletePod(n) => pods.delete(name(format!("p{n}"))),
                Step::Deliver { kind, count, twice } => match kind {
                    0 => services
                        .deliver(count.into(), twice)
                        .into_iter()
                        .for_each(|change| index.services(covers, change)),
                    1 => slices
                        .deliver(count.into(), twice)
                        .into_iter()
                        .for_each(|change| index.slices(change)),
                    _ => pods
                        .deliver(count.into(), twice)
                        .into_iter()
                        .for_each(|change| index.pods(change)),
                },
                Step::Relist { kind: 0 } => index.services(covers, services.list()),
                Step::Relist { kind: 1 } => index.slices(slices.list()),
                Step::Relist { .. } => index.pods(pods.list()),
                Step::Report => told.take(&mut index),
            }
        }
        let mut fresh = NamespaceIndex::new(filter(&["s1"]));
        if pods_instead {
            index.use_pods();
            fresh.use_pods();
            fresh.pods(pods.list());
            index.pods(pods.list());
        }
        // A watch that was never listed begins with a list.
        if index.listed.is_empty() || !index.is_synced() {
            index.services(covers, services.list());
            index.slices(slices.list());
        }
        for change in services.deliver(usize::MAX, false) {
            index.services(covers, change);
        }
        for change in slices.deliver(usize::MAX, false) {
            index.slices(change);
        }
        told.take(&mut index);

        fresh.services(covers, services.list());
        fresh.slices(slices.list());
        let mut expected = Told::default();
        expected.take(&mut fresh);
        prop_assert_eq!(&told.0, &expected.0);
        for service in services.objects.keys() {
            prop_assert_eq!(index.endpoints(service), fresh.endpoints(service));
        }
        for uid in (0..3).flat_map(|pod| [0, 1].map(|life| format!("u{pod}{life}"))) {
            prop_assert_eq!(index.has_pod(&uid), fresh.has_pod(&uid), "{}", uid);
        }
    }
}
