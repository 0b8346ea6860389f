//! What happens in single cases, step by step.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use kubefwd_model::{
    ContextName, EventKind, HostName, NamespaceName, NamespaceStatus, Options, Selection,
    ServiceStatus, Traffic, Uid,
};

use super::super::*;
use super::{LIMIT, UID, World, gone, headless, key, name, observed};
use crate::addresses::Target;

#[test]
fn a_service_is_active_once_its_name_is_written() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80, 8080]));
    world.settle();
    assert_eq!(
        world.service("demo", "api").unwrap().status,
        ServiceStatus::Pending
    );
    world.rest();
    let api = world.service("demo", "api").unwrap();
    assert_eq!(api.status, ServiceStatus::Active);
    assert_eq!(api.forwards.len(), 2);
    let names = &world.hosts[&api.address.unwrap()];
    assert!(names.contains(&HostName::parse("api").unwrap()));
    let kinds: BTreeSet<_> = world.events.iter().map(|e| e.kind).collect();
    assert!(
        kinds.contains(&EventKind::ServiceAdded) && kinds.contains(&EventKind::ForwardConnected)
    );
}

#[test]
fn listeners_outlive_the_names_that_lead_to_them() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    world.remove_namespaces(Which::All).unwrap();
    world.settle();
    assert_eq!(
        world.open.len(),
        1,
        "the name still stands in the hosts file"
    );
    world.rest();
    assert!(world.open.is_empty() && world.hosts.is_empty());
    assert!(world.state.view().services.is_empty() && world.state.view().namespaces.is_empty());
}

#[test]
fn a_dead_worker_costs_no_listener_and_no_name() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let (open, hosts) = (world.open.clone(), world.hosts.clone());
    world.held.clear();
    world.report(gone(true));
    world.rest();
    assert_eq!((&world.open, &world.hosts), (&open, &hosts));
    assert_eq!(
        world.service("demo", "api").unwrap().status,
        ServiceStatus::Pending
    );
    world.report(Report::WorkerReady { uid: UID });
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().status,
        ServiceStatus::Active
    );
    assert_eq!(world.open, open);
}

#[test]
fn everything_listens_again_after_a_restart_before_the_cluster_answers() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.found("demo", "db", headless(&["db-0", "db-1"]));
    world.rest();
    let saved: Saved =
        serde_json::from_str(&serde_json::to_string(&world.state.save()).unwrap()).unwrap();
    let mut again = World::new(saved);
    again.rest();
    assert_eq!(again.hosts, world.hosts);
    let places = |world: &World| world.open.values().copied().collect::<BTreeSet<_>>();
    assert_eq!(places(&again), places(&world));
}

#[test]
fn a_port_that_is_taken_later_takes_the_names_away() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    assert!(!world.hosts.is_empty());
    world.taken.insert(9090);
    world.found("demo", "api", observed(&[80, 9090]));
    world.rest();
    assert!(world.hosts.is_empty(), "{:?}", world.hosts);
    world.found("demo", "api", observed(&[80]));
    world.rest();
    assert!(!world.hosts.is_empty(), "what is left is all there");
}

#[test]
fn a_unit_moves_where_only_its_address_is_taken() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.taken_here = true;
    world.found("demo", "api", observed(&[80, 8080]));
    world.rest();
    let api = world.service("demo", "api").unwrap();
    assert_eq!(api.status, ServiceStatus::Active);
    assert_eq!(
        world.hosts.keys().copied().collect::<Vec<_>>(),
        [api.address.unwrap()]
    );
    assert_eq!(world.open.len(), 2);
}

#[test]
fn what_is_removed_and_added_at_once_keeps_its_listeners() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let open = world.open.clone();
    world.remove_namespaces(Which::All).unwrap();
    world.settle();
    world.add_namespace("demo").unwrap();
    world.settle();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    assert_eq!(world.open, open);
    assert_eq!(
        world.service("demo", "api").unwrap().status,
        ServiceStatus::Active
    );
}

#[test]
fn a_unit_has_its_names_with_all_of_its_ports_and_a_taken_one_is_tried_again() {
    let mut world = World::new(Saved::default());
    world.taken.insert(80);
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80, 8080]));
    world.rest();
    let api = world.service("demo", "api").unwrap();
    assert_eq!(
        (api.status, api.status_reason.as_str()),
        (ServiceStatus::Error, "taken")
    );
    assert!(world.hosts.is_empty(), "{:?}", world.hosts);
    world.taken.clear();
    assert_eq!(
        world.apply(Command::RetryFailedPorts),
        Ok(Reply::Retrying(true))
    );
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().status,
        ServiceStatus::Active
    );
}

#[test]
fn short_names_go_to_the_first_and_pass_on() {
    let mut world = World::new(Saved::default());
    world.add_namespace("first").unwrap();
    world.add_namespace("second").unwrap();
    // The later namespace is known earlier.
    world.found("second", "api", observed(&[80]));
    world.found("first", "api", observed(&[80]));
    world.rest();
    let holder = |world: &World| {
        let short = HostName::parse("api").unwrap();
        world
            .hosts
            .iter()
            .find(|(_, names)| names.contains(&short))
            .map(|(address, _)| *address)
    };
    assert_eq!(
        holder(&world),
        world.service("first", "api").unwrap().address
    );
    assert!(
        !world
            .service("second", "api")
            .unwrap()
            .refused_names
            .is_empty()
    );
    let first = Which::Named("first".into());
    world
        .state
        .remove_namespaces(UID, &first, SystemTime::UNIX_EPOCH)
        .unwrap();
    world.rest();
    assert_eq!(
        holder(&world),
        world.service("second", "api").unwrap().address
    );
}

#[test]
fn single_services_take_the_ports_that_were_asked_for() {
    let mut world = World::new(Saved::default());
    world.add_service("demo", "api", &[8080, 9999]).unwrap();
    assert!(matches!(
        world.add_service("demo", "api", &[]),
        Err(Refused::Exists { .. })
    ));
    let unselected = ObservedService {
        selected: false,
        ..observed(&[80, 8080])
    };
    world.found("demo", "api", unselected);
    world.rest();
    let api = world.service("demo", "api").unwrap();
    assert_eq!(
        api.forwards
            .iter()
            .map(|f| f.local_port)
            .collect::<Vec<_>>(),
        [8080]
    );
    assert!(
        api.skipped_ports[0].contains("9999"),
        "{:?}",
        api.skipped_ports
    );
}

#[test]
fn a_service_can_be_taken_out_of_its_namespace_and_come_back() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.found("demo", "db", observed(&[5432]));
    world.rest();
    let removed = world
        .state
        .remove_services(UID, &Which::Named("api".into()))
        .unwrap();
    assert_eq!(removed[0].to_string(), "api.demo.sim");
    world.rest();
    assert!(world.service("demo", "api").is_none() && world.service("demo", "db").is_some());
    world.add_service("demo", "api", &[]).unwrap();
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().status,
        ServiceStatus::Active
    );
}

#[test]
fn what_a_lease_brought_goes_with_it() {
    let mut world = World::new(Saved::default());
    let lease = Lease(7);
    let request = AddNamespace {
        key: key("demo"),
        selection: Selection::default(),
        options: Options::default(),
        origin: Origin {
            lease: Some(lease),
            ..Origin::default()
        },
    };
    world.apply(Command::AddNamespace(request)).unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    assert!(
        world.state.save().spec.users.is_empty(),
        "leases are not persisted"
    );
    world.apply(Command::EndLease(lease)).unwrap();
    world.rest();
    assert!(world.open.is_empty() && world.hosts.is_empty());
}

#[test]
fn requests_that_cannot_be_are_refused_with_what_to_do() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    let twice = world.add_namespace("demo").unwrap_err().hint();
    assert!(twice.contains("remove it first"), "{twice}");
    let now = SystemTime::UNIX_EPOCH;
    let missing = Which::Named("nope".into());
    let missing = world.remove_namespaces(missing).unwrap_err().hint();
    assert!(missing.contains("kubefwdctl ns ls"), "{missing}");
    let mut other = key("other");
    other.context = ContextName::parse("sim2").unwrap();
    let request = AddNamespace {
        key: NamespaceKey {
            namespace: NamespaceName::parse("demo").unwrap(),
            ..other
        },
        selection: Selection::default(),
        options: Options::default(),
        origin: Origin {
            kubeconfig: vec!["/k".into()],
            ..Origin::default()
        },
    };
    world.apply_at(Command::AddNamespace(request), now).unwrap();
    let which = Which::Named("demo".into());
    let ambiguous = world.remove_namespaces(which).unwrap_err().to_string();
    assert!(ambiguous.contains("demo.sim, demo.sim2"), "{ambiguous}");
    let exact = Which::Named("demo.sim".into());
    let Ok(Reply::Namespaces(removed)) = world.remove_namespaces(exact) else {
        panic!("it is there");
    };
    assert_eq!(removed.len(), 1);
}

#[test]
fn a_reserved_address_moves_what_is_meant() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let address = Ipv4Addr::new(127, 9, 9, 9);
    let target = Target::Name(HostName::parse("api").unwrap());
    world
        .apply(Command::Reserve(Reservation {
            owner: Some(UID),
            target: target.clone(),
            address,
        }))
        .unwrap();
    world.rest();
    assert_eq!(world.service("demo", "api").unwrap().address, Some(address));
    assert_eq!(
        world.open.values().copied().collect::<Vec<_>>(),
        [(address, 80)]
    );
    let unreserve = Command::Unreserve { uid: UID, target };
    world.apply(unreserve.clone()).unwrap();
    assert!(world.apply(unreserve).is_err());
}

#[test]
fn a_worker_speaks_for_its_own_listeners_only() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let before = world.service("demo", "api").unwrap().clone();
    let listener = *world.open.keys().next().unwrap();
    let stranger = Uid::new(1001);
    let traffic = Traffic {
        bytes_in: 99,
        ..Traffic::default()
    };
    world.report(Report::Traffic {
        uid: stranger,
        traffic: vec![(listener, traffic)],
    });
    world.report(Report::Held {
        uid: stranger,
        listener,
        error: Some("x".into()),
    });
    let report = ForwardReport {
        sequence: 9,
        ..ForwardReport::default()
    };
    world.report(Report::Forward {
        uid: stranger,
        listener,
        report,
    });
    world.rest();
    assert_eq!(*world.service("demo", "api").unwrap(), before);
}

#[test]
fn counters_go_on_over_a_worker_s_death_and_never_back() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let listener = *world.open.keys().next().unwrap();
    let moved = |world: &mut World, bytes_in| {
        let traffic = Traffic {
            bytes_in,
            ..Traffic::default()
        };
        world.report(Report::Traffic {
            uid: UID,
            traffic: vec![(listener, traffic)],
        });
    };
    moved(&mut world, 10);
    moved(&mut world, 5);
    world.held.clear();
    world.report(gone(true));
    world.report(Report::WorkerReady { uid: UID });
    world.rest();
    moved(&mut world, 3);
    world.rest();
    assert_eq!(
        world.service("demo", "api").unwrap().forwards[0]
            .traffic
            .bytes_in,
        13
    );
}

#[test]
fn a_report_that_was_overtaken_says_nothing() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    let reported = |world: &mut World, sequence, phase| {
        world.report(Report::Namespace {
            key: key("demo"),
            sequence,
            phase,
            notes: Vec::new(),
        });
        world.rest();
        world.state.view().namespaces[&key("demo")].status
    };
    let watching = reported(&mut world, 2, Phase::Watching);
    assert_eq!(watching, NamespaceStatus::Watching);
    assert_eq!(reported(&mut world, 1, Phase::Connecting), watching);
    assert_eq!(
        reported(&mut world, 3, Phase::Connecting),
        NamespaceStatus::Connecting
    );
    world.report(gone(true));
    assert_eq!(
        reported(&mut world, 1, Phase::Watching),
        watching,
        "another worker counts from the beginning"
    );
}

#[test]
fn services_beyond_the_limit_are_said_to_be_left_out_until_there_is_room() {
    let mut world = World::new(Saved::default());
    world.add_namespace("big").unwrap();
    world.add_namespace("small").unwrap();
    let many = (0..LIMIT).map(|n| (name(&format!("s{n}")), observed(&[80])));
    world.services("big", many.collect(), &[], None);
    world.found("small", "late", observed(&[80]));
    world.rest();
    assert_eq!(world.warnings.len(), 1);
    world.found("small", "late", observed(&[80]));
    world.rest();
    assert_eq!(world.warnings.len(), 1, "it is said once");
    let small = |world: &World| world.state.view().namespaces[&key("small")].clone();
    assert!(
        small(&world).notes[0].contains("limits.services_per_user"),
        "{:?}",
        small(&world).notes
    );
    assert!(world.service("small", "late").is_none());
    let generation = world.state.observed[&key("small")].generation;

    let gone = [name("s0")];
    world.services("big", Vec::new(), &gone, None);
    world.rest();
    assert!(small(&world).notes.is_empty());
    assert_ne!(
        world.state.observed[&key("small")].generation,
        generation,
        "the worker tells everything again"
    );
    world.found("small", "late", observed(&[80]));
    world.rest();
    assert!(world.service("small", "late").is_some());
}
