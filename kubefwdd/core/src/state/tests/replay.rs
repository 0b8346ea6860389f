//! Commands are data: replaying a recorded sequence gives the same state.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::*;
use super::any_order::{perform, step};
use super::{Recorded, World};

fn replay(world: &World) -> State {
    let (saved, recorded) = &world.recorded;
    let mut state = State::restore(saved.clone(), World::settings(), NameRules::default());
    for one in recorded {
        match one {
            // Refused then, refused now.
            Recorded::Apply(command, now) => drop(state.apply(Command::clone(command), *now)),
            Recorded::Settle => drop(state.settle(SystemTime::UNIX_EPOCH)),
        }
    }
    state
}

/// What readers see, without what only tells snapshots apart.
fn shown(
    state: &State,
) -> (
    Vec<Arc<kubefwd_model::Service>>,
    Vec<Arc<kubefwd_model::Namespace>>,
) {
    let view = state.view();
    let services = view.services.values().cloned().collect();
    (services, view.namespaces.values().cloned().collect())
}

proptest! {
    #[test]
    fn a_recorded_sequence_gives_the_same_state(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(Saved::default());
        for step in &steps {
            perform(&mut world, step);
            world.settle();
        }
        let again = replay(&world);
        prop_assert_eq!(shown(&again), shown(&world.state));
        prop_assert_eq!(again.view().revision, world.state.view().revision);
        prop_assert_eq!(again.hosts_entries(), world.state.hosts_entries());
        prop_assert_eq!(again.save(), world.state.save());
    }
}

#[test]
fn every_command_can_be_written_to_a_log() {
    let mut world = World::new(Saved::default());
    world.add_namespace("demo").unwrap();
    world.found("demo", "api", super::observed(&[80]));
    world.settle();
    let log: Vec<String> = world
        .recorded
        .1
        .iter()
        .map(|one| format!("{one:?}"))
        .collect();
    let has = |text: &str| log.iter().any(|line| line.contains(text));
    assert!(has("AddNamespace") && has("\"demo\""), "{log:?}");
    assert!(
        has("Bound { listener: ListenerId(1), result: Ok(()) }"),
        "{log:?}"
    );
}
