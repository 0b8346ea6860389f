//! The index against clusters that are made up at random, and the rules of [`select`] one by one.

use std::collections::{BTreeMap, VecDeque};

use kubefwd_proto::common::v1::{Balance, Selection};
use proptest::prelude::*;

use super::object::*;
use super::*;

fn name(text: impl AsRef<str>) -> Name {
    Name::from(text.as_ref())
}

fn filter(names: &[&str]) -> Filter {
    let names = names.iter().map(|&name| name.to_owned());
    Filter::new(Some(&Selection::default()), names).unwrap()
}

fn port(port: u16, port_name: &str, target: Target) -> ServicePort {
    ServicePort {
        name: port_name.into(),
        port,
        protocol: Protocol::Tcp,
        target,
        app_protocol: "".into(),
    }
}

fn service(service: &str) -> Service {
    Service {
        name: name(service),
        external_name: None,
        headless: false,
        publish_not_ready: false,
        selector: [name(format!("app={service}"))].into(),
        ports: [port(80, "", Target::Number(8080))].into(),
    }
}

fn endpoint(pod: &str, condition: Condition) -> SliceEndpoint {
    SliceEndpoint {
        pod: Some(PodRef {
            name: name(pod),
            uid: name(format!("uid-{pod}")),
        }),
        condition,
    }
}

fn slice(service: &str, endpoints: Vec<SliceEndpoint>) -> Slice {
    Slice {
        name: name(format!("{service}-slice")),
        service: name(service),
        ports: [SlicePort {
            name: "".into(),
            port: 8080,
            protocol: Protocol::Tcp,
        }]
        .into(),
        endpoints: endpoints.into(),
    }
}

fn index_with(services: Vec<Service>, slices: Vec<Slice>) -> NamespaceIndex {
    let mut index = NamespaceIndex::new(filter(&[]));
    index.services(Membership::SELECTED, Change::Listed(services));
    index.slices(Change::Listed(slices));
    index
}

fn picks(
    chooser: &mut select::Chooser,
    index: &NamespaceIndex,
    balance: Balance,
    count: usize,
) -> Vec<String> {
    let endpoints = index.endpoints("web");
    (0..count)
        .map(|_| {
            chooser
                .pick(&endpoints, balance, 80, None, &[])
                .map_or_else(|| "-".to_owned(), |chosen| chosen.pod.name.to_string())
        })
        .collect()
}

use Condition::{Draining, NotReady, Ready};

#[test]
fn nothing_is_said_before_everything_was_listed() {
    let mut index = NamespaceIndex::new(filter(&[]));
    assert_eq!(index.take_changes(), None);
    index.services(Membership::SELECTED, Change::Listed(vec![service("web")]));
    assert_eq!(index.take_changes(), None);
    index.slices(Change::Listed(vec![]));
    let changes = index.take_changes().unwrap();
    assert!(changes.complete);
    assert_eq!(changes.services.len(), 1);
    assert_eq!(index.take_changes(), None);
}

#[test]
fn an_empty_namespace_is_said_to_be_empty_once() {
    let mut index = index_with(vec![], vec![]);
    assert_eq!(
        index.take_changes(),
        Some(Changes {
            complete: true,
            ..Changes::default()
        })
    );
    assert_eq!(index.take_changes(), None);
}

#[test]
fn what_the_daemon_knows_is_not_said_again() {
    let mut index = index_with(
        vec![service("web"), service("db")],
        vec![slice("web", vec![endpoint("web-a", Ready)])],
    );
    assert_eq!(index.take_changes().unwrap().services.len(), 2);
    index.services(Membership::SELECTED, Change::Applied(service("web")));
    let again = index.take_changes().unwrap();
    assert!(again.services.is_empty() && again.removed.is_empty() && !again.complete);

    index.slices(Change::Applied(slice(
        "web",
        vec![endpoint("web-a", Ready), endpoint("web-b", NotReady)],
    )));
    let changed = index.take_changes().unwrap();
    assert_eq!(changed.services.len(), 1);
    assert_eq!(
        (
            changed.services[0].ready_pods,
            changed.services[0].total_pods
        ),
        (1, 2)
    );

    index.services(Membership::SELECTED, Change::Deleted(name("db")));
    assert_eq!(index.take_changes().unwrap().removed, ["db"]);
}

#[test]
fn the_primary_stays_until_it_is_not_ready() {
    let mut chooser = select::Chooser::default();
    let mut index = index_with(
        vec![service("web")],
        vec![slice(
            "web",
            vec![endpoint("b", Ready), endpoint("c", Ready)],
        )],
    );
    assert_eq!(picks(&mut chooser, &index, Balance::Primary, 2), ["b", "b"]);
    index.slices(Change::Applied(slice(
        "web",
        vec![
            endpoint("a", Ready),
            endpoint("b", Ready),
            endpoint("c", Ready),
        ],
    )));
    assert_eq!(picks(&mut chooser, &index, Balance::Primary, 1), ["b"]);
    index.slices(Change::Applied(slice(
        "web",
        vec![endpoint("b", Draining), endpoint("c", Ready)],
    )));
    assert_eq!(picks(&mut chooser, &index, Balance::Primary, 2), ["c", "c"]);
}

#[test]
fn a_pod_that_drains_is_used_only_when_nothing_is_ready() {
    let mut chooser = select::Chooser::default();
    let index = index_with(
        vec![service("web")],
        vec![slice(
            "web",
            vec![endpoint("a", NotReady), endpoint("b", Draining)],
        )],
    );
    assert_eq!(picks(&mut chooser, &index, Balance::Primary, 1), ["b"]);
    assert_eq!(picks(&mut chooser, &index, Balance::RoundRobin, 1), ["b"]);
}

#[test]
fn a_pod_that_was_tried_is_left_out_and_is_primary_no_longer() {
    let mut chooser = select::Chooser::default();
    let index = index_with(
        vec![service("web")],
        vec![slice(
            "web",
            vec![endpoint("a", Ready), endpoint("b", Ready)],
        )],
    );
    let endpoints = index.endpoints("web");
    let mut pick = |tried: &[String]| {
        chooser
            .pick(&endpoints, Balance::Primary, 80, None, tried)
            .map(|chosen| chosen.pod.uid.to_string())
    };
    let first = pick(&[]).unwrap();
    let second = pick(std::slice::from_ref(&first)).unwrap();
    assert_ne!(first, second);
    assert_eq!(pick(&[first, second.clone()]), None);
    assert_eq!(pick(&[]), Some(second));
}

#[test]
fn round_robin_and_least_connections_share() {
    let index = index_with(
        vec![service("web")],
        vec![slice(
            "web",
            vec![endpoint("a", Ready), endpoint("b", Ready)],
        )],
    );
    let mut chooser = select::Chooser::default();
    assert_eq!(
        picks(&mut chooser, &index, Balance::RoundRobin, 3),
        ["a", "b", "a"]
    );

    let mut chooser = select::Chooser::default();
    for _ in 0..3 {
        chooser.opened(&name("uid-a"));
    }
    let both = ["b", "b"];
    assert_eq!(
        picks(&mut chooser, &index, Balance::LeastConnections, 2),
        both
    );
    for _ in 0..3 {
        chooser.closed(&name("uid-a"));
    }
    let mut shared = picks(&mut chooser, &index, Balance::LeastConnections, 2);
    shared.sort();
    assert_eq!(shared, ["a", "b"]);
}

#[test]
fn a_headless_service_has_its_ready_pods_in_order_and_each_answers_alone() {
    let headless = Service {
        headless: true,
        ..service("web")
    };
    let mut index = index_with(
        vec![headless],
        vec![slice(
            "web",
            ["web-10", "web-2", "web-0"]
                .map(|pod| endpoint(pod, Ready))
                .into_iter()
                .chain([endpoint("web-1", Draining)])
                .collect(),
        )],
    );
    let observed = index.take_changes().unwrap().services.remove(0);
    assert_eq!(observed.pods, ["web-0", "web-2", "web-10"]);
    let endpoints = index.endpoints("web");
    let of = |pod| {
        let mut chooser = select::Chooser::default();
        chooser.pick(&endpoints, Balance::Primary, 80, Some(pod), &[])
    };
    assert_eq!(&*of("web-10").unwrap().pod.uid, "uid-web-10");
    assert!(of("web-1").unwrap().draining);
    assert_eq!(of("web-3"), None);
}

#[test]
fn what_cannot_be_forwarded_says_why() {
    let external = Service {
        external_name: Some("db.example.com".into()),
        ..service("external")
    };
    let mut udp = service("udp");
    udp.ports[0].protocol = Protocol::Udp;
    let none = Service {
        ports: [].into(),
        ..service("none")
    };
    let manual = Service {
        selector: [].into(),
        ..service("manual")
    };
    let adopted = Service {
        selector: [].into(),
        ..service("adopted")
    };
    let foreign = SliceEndpoint {
        pod: None,
        condition: Ready,
    };
    let mut index = index_with(
        vec![external, udp, none, manual, adopted, service("web")],
        vec![
            slice("manual", vec![foreign]),
            slice("adopted", vec![endpoint("pod", Ready)]),
        ],
    );
    let services = index.take_changes().unwrap().services;
    let reasons: BTreeMap<_, _> = services
        .iter()
        .map(|service| (service.name.as_str(), service.unsupported.as_str()))
        .collect();
    for (service, wanted) in [
        ("external", "db.example.com"),
        ("udp", "only UDP"),
        ("none", "no ports"),
        ("manual", "not pods"),
    ] {
        assert!(
            reasons[service].contains(wanted),
            "{service}: {}",
            reasons[service]
        );
    }
    assert_eq!((reasons["adopted"], reasons["web"]), ("", ""));
}

#[test]
fn services_of_two_watches_stay_while_one_of_them_wants_them() {
    let mut index = NamespaceIndex::new(filter(&["web"]));
    index.slices(Change::Listed(vec![]));
    index.services(
        Membership::SELECTED,
        Change::Listed(vec![service("web"), service("db")]),
    );
    assert!(!index.is_synced());
    index.services(
        Membership::NAMED,
        Change::Listed(vec![service("web"), service("db")]),
    );
    let services = index.take_changes().unwrap().services;
    assert_eq!(services.len(), 2);

    // The labels of web do not match the selection any more.
    index.services(Membership::SELECTED, Change::Deleted(name("web")));
    let services = index.take_changes().unwrap().services;
    assert!(services[0].name == "web" && !services[0].selected);
    index.services(Membership::NAMED, Change::Listed(vec![]));
    assert_eq!(index.take_changes().unwrap().removed, ["web"]);
}

#[test]
fn without_slices_and_pods_services_are_still_listed() {
    let mut index = NamespaceIndex::new(filter(&[]));
    index.use_nothing();
    let manual = Service {
        selector: [].into(),
        ..service("manual")
    };
    index.services(Membership::SELECTED, Change::Listed(vec![manual]));
    let services = index.take_changes().unwrap().services;
    assert_eq!(services[0].unsupported, "");
}

// === any order of events ends in the same state ===

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
                protocol: Protocol::Tcp,
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
        let covers = Membership::BOTH;
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
        if index.listed.is_none() || !index.is_synced() {
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
    }
}
