//! A daemon that starts again, and one that several users share.

use std::time::{Duration, Instant, SystemTime};

use kubefwd_model::{Failure, HostName, Options, Reason, Selection, Uid};

use super::super::*;
use super::{UID, World, headless, key, observed};

use crate::policy::Access;

const OTHER: Uid = Uid::new(1001);

fn has_name(world: &World, text: &str) -> bool {
    let wanted = HostName::parse(text).unwrap();
    world.hosts.values().flatten().any(|name| *name == wanted)
}

#[test]
fn what_was_known_has_its_name_as_soon_as_it_listens() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();

    let mut world = World::new(world.state.save());
    // No worker comes.
    world.running = true;
    world.rest();
    assert!(has_name(&world, "api"), "connections wait for the worker");
    world.found("demo", "new", observed(&[80]));
    world.rest();
    assert_eq!(world.open.len(), 2);
    assert!(!has_name(&world, "new"), "it never answered under its name");
}

#[test]
fn a_headless_service_and_its_first_pod_have_forwards_with_keys_of_their_own() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "db", headless(&["db-0", "db-1"]));
    world.rest();
    let listener = world.service("demo", "db").unwrap().forwards[0].listener;
    let report = ForwardReport {
        phase: ForwardPhase::Active,
        pod: "db-0".to_owned(),
        sequence: 2,
        ..ForwardReport::default()
    };
    world.report(Report::Forward {
        uid: UID,
        listener,
        report,
    });
    world.rest();
    let forwards = &world.service("demo", "db").unwrap().forwards;
    let keys: Vec<&str> = forwards.iter().map(|one| one.key.as_str()).collect();
    let expected = [
        "db.demo.sim.db-0.80",
        "db-0.db.demo.sim.db-0.80",
        "db-1.db.demo.sim.db-1.80",
    ];
    assert_eq!(keys, expected);
}

fn settings(access: Access) -> Settings {
    let world = World::new(Saved::default());
    Settings {
        access,
        ..world.state.settings.clone()
    }
}

fn told(state: &mut State) -> Vec<Uid> {
    let effects = state.settle(SystemTime::UNIX_EPOCH);
    let told = effects.into_iter().filter_map(|effect| match effect {
        Effect::LimitAccess { uid, .. } => Some(uid),
        _ => None,
    });
    told.collect()
}

#[test]
fn access_is_limited_from_the_second_user_on() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.rest();
    let state = &mut world.state;
    assert!(!state.is_access_limited() && !state.view().access_limited);
    let mut other = key("demo");
    other.uid = OTHER;
    let request = AddNamespace {
        key: other.clone(),
        selection: Selection::default(),
        options: Options::default(),
        origin: Origin::default(),
    };
    state
        .apply(Command::AddNamespace(request), SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(
        told(state),
        [UID],
        "who has a worker; a new one is told when it comes"
    );
    assert!(state.view().access_limited);
    state.reported(Report::WorkerReady { uid: OTHER }, SystemTime::UNIX_EPOCH);
    assert_eq!(told(state), [OTHER]);
    state.set_settings(settings(Access::Everyone));
    assert_eq!(told(state), [UID, OTHER]);
    assert!(!state.is_access_limited());
    state.set_settings(settings(Access::Auto));
    assert_eq!(told(state).len(), 2);
    let which = Which::All;
    let remove = Command::RemoveNamespaces { uid: OTHER, which };
    state.apply(remove, SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(told(state), [UID, OTHER]);
    assert!(!state.is_access_limited());
}

#[test]
fn strangers_are_remembered_to_a_bound_and_logged_once_in_a_while() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let listener = *world.open.keys().next().unwrap();
    let state = &mut world.state;
    let wall = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second);
    let start = Instant::now();
    let mut denied = |uid, peer, running, set| {
        let report = Report::PeerDenied {
            uid,
            listener,
            peer: Some(Uid::new(peer)),
            count: 1,
            at: start + Duration::from_secs(running),
        };
        state.reported(report, wall(set));
        let effects = state.settle(wall(set)).into_iter();
        let mut lines = effects.filter_map(|effect| match effect {
            Effect::Warn { message, .. } => Some(message),
            _ => None,
        });
        lines.next()
    };
    // The wall clock is set back after the first connection, and forward before the third.
    let line = denied(UID, 7, 0, 500_000).unwrap();
    assert!(
        line.contains("uid 7") && line.contains("api.demo.sim:80"),
        "{line}"
    );
    assert_eq!(denied(UID, 7, 1, 0), None);
    assert_eq!(denied(UID, 7, 59, 900_000), None);
    assert!(denied(UID, 7, 60, 2).is_some());
    for peer in 100..200 {
        let _line = denied(UID, peer, u64::from(peer), u64::from(1_000 - peer));
    }
    let forged = denied(OTHER, 8, 0, 62);
    assert!(forged.is_none(), "another's listener");
    let peers = &state.view().workers[&UID].denied;
    assert_eq!(peers.len(), 16);
    let has = |peer| peers.contains_key(&Some(Uid::new(peer)));
    assert!(has(199) && !has(7));
}

#[test]
fn settings_that_change_reach_the_services() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", observed(&[80]));
    world.rest();
    let address = world.service("demo", "api").unwrap().address;
    let reserved = "127.9.9.9".parse().unwrap();
    let new = Settings {
        dashed_names: true,
        reservations: vec![Reservation {
            owner: None,
            target: crate::addresses::Target::Name(HostName::parse("api").unwrap()),
            address: reserved,
        }],
        ..settings(Access::Auto)
    };
    world.state.set_settings(new);
    world.rest();
    assert!(has_name(&world, "api-demo"));
    assert_eq!(
        world.service("demo", "api").unwrap().address,
        Some(reserved)
    );
    assert_ne!(address, Some(reserved));
    world.state.set_settings(settings(Access::Auto));
    world.rest();
    assert!(!has_name(&world, "api-demo"));
    assert_eq!(world.state.addresses.reservations().count(), 0);
    assert!(world.state.view().warnings.is_empty());
}

#[test]
fn what_a_restart_took_is_said_until_it_comes_back() {
    let mut world = World::new(Saved::default());
    let environment = Environment {
        secrets: ["AWS_SESSION_TOKEN".to_owned()].into(),
        ..Environment::default()
    };
    let request = AddNamespace {
        key: key("demo"),
        selection: Selection::default(),
        options: Options::default(),
        origin: Origin {
            environment: Some(environment),
            ..Origin::default()
        },
    };
    world
        .state
        .apply(Command::AddNamespace(request), SystemTime::UNIX_EPOCH)
        .unwrap();
    world.rest();
    let mut sequence = 0;
    let mut hint = |world: &mut World| {
        sequence += 1;
        let failure = Failure::new(Reason::CredentialsNeeded, "the plugin failed");
        let key = key("demo");
        world.report(Report::Namespace {
            key: key.clone(),
            sequence,
            phase: Phase::Failed(failure.hint("run the plugin")),
            notes: Vec::new(),
        });
        world.rest();
        let namespace = &world.state.view().namespaces[&key];
        namespace.failure.as_ref().unwrap().hint.clone()
    };
    assert_eq!(hint(&mut world), "run the plugin", "nothing was taken yet");
    let mut world = World::new(world.state.save());
    world.rest();
    assert!(hint(&mut world).contains("AWS_SESSION_TOKEN"));
    world
        .apply(Command::EnvironmentReceived { uid: UID })
        .unwrap();
    world.rest();
    assert_eq!(hint(&mut world), "run the plugin");
}
