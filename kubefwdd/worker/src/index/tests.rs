//! The rules of the index, one by one.

use std::collections::BTreeMap;

use kubefwd_proto::common::v1::{Balance, Selection};

use super::object::*;
use super::*;

mod convergence;

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
fn nothing_is_reported_until_everything_is_listed() {
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
fn an_empty_namespace_is_reported_once() {
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
fn what_the_daemon_knows_is_not_repeated() {
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
fn a_pod_that_was_tried_is_skipped_and_no_longer_primary() {
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

    // The labels of web no longer match the selection.
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

#[test]
fn a_pod_is_gone_once_no_service_selects_it() {
    let mut index = index_with(
        vec![service("web"), service("db")],
        vec![
            slice("web", vec![endpoint("a", Ready), endpoint("b", Ready)]),
            slice("db", vec![endpoint("a", Ready)]),
        ],
    );
    let gone = |index: &mut NamespaceIndex| {
        let gone = index.take_changes().unwrap().gone;
        gone.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(gone(&mut index).is_empty());
    index.services(Membership::SELECTED, Change::Deleted(name("web")));
    index.slices(Change::Deleted(name("web-slice")));
    assert_eq!(gone(&mut index), ["uid-b"]);
    assert!(index.has_pod("uid-a") && !index.has_pod("uid-b"));
    index.slices(Change::Listed(vec![slice("db", vec![])]));
    assert_eq!(gone(&mut index), ["uid-a"]);
}

#[test]
fn a_pod_that_comes_back_before_anybody_asks_is_not_gone() {
    let mut index = index_with(
        vec![service("web")],
        vec![slice("web", vec![endpoint("a", Ready)])],
    );
    index.slices(Change::Deleted(name("web-slice")));
    index.slices(Change::Applied(slice("web", vec![endpoint("a", NotReady)])));
    assert!(index.take_changes().unwrap().gone.is_empty());
}
