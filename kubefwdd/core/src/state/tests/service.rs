//! A daemon that starts again, and one that several users share.

use std::time::{Duration, Instant, SystemTime};

use kubefwd_model::{HostName, Options, Selection, Uid};

use super::super::*;
use super::{UID, World, headless, key, observed};

use crate::policy::Access;

const OTHER: u32 = 1001;

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
    world.state.forward_reported(UID, listener, report);
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

fn told(state: &mut State) -> Vec<u32> {
    let effects = state.settle(SystemTime::UNIX_EPOCH);
    let told = effects.into_iter().filter_map(|effect| match effect {
        Effect::LimitAccess { uid } => Some(uid),
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
        kubeconfig: Vec::new(),
        selection: Selection::default(),
        options: Options::default(),
        lease: None,
        environment: None,
    };
    state
        .add_namespace(request, SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(
        told(state),
        [UID],
        "who has a worker; a new one is told when it comes"
    );
    assert!(state.view().access_limited);
    state.worker_ready(OTHER);
    assert_eq!(told(state), [OTHER]);
    state.set_settings(settings(Access::Everyone));
    assert_eq!(told(state), [UID, OTHER]);
    assert!(!state.is_access_limited());
    state.set_settings(settings(Access::Auto));
    assert_eq!(told(state).len(), 2);
    state
        .remove_namespaces(OTHER, &RemoveNamespaces::All, SystemTime::UNIX_EPOCH)
        .unwrap();
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
    // The wall clock is set back after the first connection, and forward before the third.
    let mut refused = |stranger: Uid, running: u64, set: u64| {
        let running = start + Duration::from_secs(running);
        state.connections_refused(UID, listener, Some(stranger), 1, wall(set), running)
    };
    let line = refused(7, 0, 500_000).unwrap();
    assert!(
        line.contains("uid 7") && line.contains("api.demo.sim:80"),
        "{line}"
    );
    assert_eq!(refused(7, 1, 0), None);
    assert_eq!(refused(7, 59, 900_000), None);
    assert!(refused(7, 60, 2).is_some());
    for uid in 100..200 {
        let _line = refused(uid, u64::from(uid), u64::from(1_000 - uid));
    }
    let forged = state.connections_refused(OTHER, listener, Some(8), 1, wall(62), start);
    assert!(forged.is_none(), "another's listener");
    let _effects = state.settle(wall(300));
    let strangers = &state.view().workers[&UID].strangers;
    assert_eq!(strangers.len(), 16);
    assert!(strangers.contains_key(&Some(199)) && !strangers.contains_key(&Some(7)));
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
    assert_eq!(world.state.addresses().reservations().count(), 0);
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
        kubeconfig: Vec::new(),
        selection: Selection::default(),
        options: Options::default(),
        lease: None,
        environment: Some(environment),
    };
    world
        .state
        .add_namespace(request, SystemTime::UNIX_EPOCH)
        .unwrap();
    world.rest();
    let mut sequence = 0;
    let mut hint = |world: &mut World| {
        sequence += 1;
        let problem = Problem {
            reason: 13,
            message: "the plugin failed".into(),
            hint: "run the plugin".into(),
        };
        let key = key("demo");
        world
            .state
            .namespace_reported(&key, sequence, Phase::Failed(problem), Vec::new());
        world.rest();
        match &world.state.view().namespaces[&key].state {
            NamespaceStatus::Failed(problem) => problem.hint.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(hint(&mut world), "run the plugin", "nothing was taken yet");
    let mut world = World::new(world.state.save());
    world.rest();
    assert!(hint(&mut world).contains("AWS_SESSION_TOKEN"));
    world.state.environment_came(UID);
    world.rest();
    assert_eq!(hint(&mut world), "run the plugin");
}
