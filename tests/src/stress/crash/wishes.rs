//! What was asked for, and by whom it was confirmed: the daemon must not forget what it has acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::runtime::Handle;

use crate::builder::ClusterBuilder;
use crate::harness::{System, eventually};
use crate::{Behaviour, Cluster, Namespace, Service, ServicePort, Workload};

/// Forwarded from beginning to end; its pods are left alone.
pub(super) const STEADY: &str = "n0";
/// Added and removed as a whole.
const WHOLE: [&str; 2] = ["n1", "n2"];
/// Of this one single services are forwarded.
const PICKED: &str = "n3";
/// Services of each namespace; the first half is always there.
const SERVICES: usize = 6;
/// The port of all services.
pub(super) const PORT: u16 = 7000;

/// A cluster with everything in it.
pub(super) fn cluster() -> ClusterBuilder {
    let mut cluster = Cluster::builder();
    for name in [STEADY, WHOLE[0], WHOLE[1], PICKED] {
        let mut namespace = Namespace::new(name).workload(Workload::deployment("echo").listen(
            "echo",
            PORT,
            Behaviour::Echo,
        ));
        for number in 0..SERVICES {
            namespace = namespace.service(service(number));
        }
        cluster = cluster.namespace(namespace);
    }
    cluster
}

fn service(number: usize) -> Service {
    Service::new(format!("s{number}"))
        .selects("app", "echo")
        .port(ServicePort::tcp(PORT).target("echo"))
}

/// Whether a name is the one of `SERVICE.NAMESPACE` that [`Wishes::expected_names`] uses.
pub(super) fn is_service(name: &str) -> bool {
    let parts = name.split_once('.');
    parts.is_some_and(|(service, namespace)| {
        service.len() == 2 && namespace.len() == 2 && service.starts_with('s')
    })
}

/// A thing that is forwarded or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Whole(&'static str),
    Picked(usize),
}

/// The latest request about a thing, and whether it was answered.
#[derive(Debug, Clone, Copy)]
struct Wish {
    is_on: bool,
    is_acknowledged: bool,
}

/// What was asked for, and what the cluster has.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    wishes: BTreeMap<Thing, Wish>,
    /// Services that are not in the cluster at present.
    missing: BTreeSet<(&'static str, usize)>,
    acknowledged: u64,
    unanswered: u64,
}

impl Wishes {
    /// Asks for something, or changes the cluster.
    pub(super) fn change(
        &mut self,
        rng: &mut StdRng,
        system: &System,
        cluster: &Arc<Cluster>,
        runtime: &Handle,
    ) {
        let all = [STEADY, WHOLE[0], WHOLE[1]];
        let namespace = all[rng.random_range(0..all.len())];
        match rng.random_range(0..10) {
            0..3 => self.ask(system, Thing::Whole(WHOLE[rng.random_range(0..2)])),
            3..6 => self.ask(system, Thing::Picked(rng.random_range(0..SERVICES / 2))),
            6..9 => {
                let number = rng.random_range(SERVICES / 2..SERVICES);
                if self.missing.remove(&(namespace, number)) {
                    cluster.put_service(namespace, service(number));
                } else {
                    cluster.delete_service(namespace, &format!("s{number}"));
                    self.missing.insert((namespace, number));
                }
            }
            _ => {
                let namespace = WHOLE[rng.random_range(0..2)];
                let cluster = cluster.clone();
                runtime.spawn(async move {
                    for pod in cluster.pods(namespace, "echo") {
                        cluster.delete_pod(namespace, &pod).await;
                    }
                });
            }
        }
    }

    /// Asks for the opposite of what is.
    fn ask(&mut self, system: &System, thing: Thing) {
        let is_on = !self.wishes.get(&thing).is_some_and(|wish| wish.is_on);
        let is_acknowledged = request(system, thing, is_on);
        match is_acknowledged {
            true => self.acknowledged += 1,
            false => self.unanswered += 1,
        }
        let wish = Wish {
            is_on,
            is_acknowledged,
        };
        self.wishes.insert(thing, wish);
    }

    /// Requests that were answered, and that were not, since the last call.
    pub(super) fn take_answers(&mut self) -> (u64, u64) {
        let answers = (self.acknowledged, self.unanswered);
        (self.acknowledged, self.unanswered) = (0, 0);
        answers
    }

    /// What was acknowledged holds as soon as a daemon is ready.
    pub(super) fn are_remembered(&self, system: &System) {
        for (thing, wish) in &self.wishes {
            let Thing::Whole(namespace) = thing else {
                continue;
            };
            let is_there = system.namespace(namespace).is_some();
            assert!(
                !wish.is_acknowledged || is_there == wish.is_on,
                "{namespace} was acknowledged as {wish:?}, and after a start it is not so"
            );
        }
    }

    /// As a person does who got no answer.
    pub(super) fn ask_again(&mut self, system: &System) {
        for (thing, wish) in &mut self.wishes {
            if !wish.is_acknowledged {
                eventually(&format!("{thing:?} {wish:?} is acknowledged"), || {
                    request(system, *thing, wish.is_on).then_some(())
                });
                wish.is_acknowledged = true;
            }
        }
    }

    /// The names `SERVICE.NAMESPACE` that have to be in the hosts file, sorted.
    pub(super) fn expected_names(&self) -> Vec<String> {
        let is_on = |thing| self.wishes.get(&thing).is_some_and(|wish| wish.is_on);
        let mut names = Vec::new();
        for namespace in [STEADY, WHOLE[0], WHOLE[1]] {
            if namespace != STEADY && !is_on(Thing::Whole(namespace)) {
                continue;
            }
            let present = (0..SERVICES).filter(|n| !self.missing.contains(&(namespace, *n)));
            names.extend(present.map(|number| format!("s{number}.{namespace}")));
        }
        let picked = (0..SERVICES / 2).filter(|number| is_on(Thing::Picked(*number)));
        names.extend(picked.map(|number| format!("s{number}.{PICKED}")));
        names.sort();
        names
    }
}

/// True when the daemon has acknowledged it, or says that an earlier request had done it.
fn request(system: &System, thing: Thing, is_on: bool) -> bool {
    const NOT_FOUND: i32 = 6;
    let answer = match (thing, is_on) {
        (Thing::Whole(namespace), true) => system.ctl(&["ns", "add", namespace, "--defer"]),
        (Thing::Whole(namespace), false) => system.ctl(&["ns", "rm", namespace]),
        (Thing::Picked(number), true) => {
            system.ctl(&["svc", "add", &format!("{PICKED}/s{number}"), "--defer"])
        }
        (Thing::Picked(number), false) => {
            system.ctl(&["svc", "rm", &format!("s{number}.{PICKED}.sim")])
        }
    };
    let was_done = match is_on {
        true => answer.err.contains("is forwarded already"),
        false => answer.code == NOT_FOUND,
    };
    answer.code == 0 || was_done
}
