//! The pods behind one service, and which of them a new connection goes to.

use std::collections::{BTreeMap, HashMap};

use kubefwd_proto::common::v1::Balance;

use super::object::{Condition, Name, PodRef};

/// The pods behind one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// By the service's port; only ports and pods that take connections.
    ports: BTreeMap<u16, Box<[PodPort]>>,
    /// Pods that are ready, in a stable order.
    pub ready: Box<[Name]>,
    /// The uids of all pods, ready or not, sorted.
    pub uids: Box<[Name]>,
    /// Endpoints that are not pods.
    pub foreign: usize,
}

/// A port of a pod that takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodPort {
    pub pod: PodRef,
    /// The port of the pod.
    pub port: u16,
    /// The container that declares the port, where that is known.
    pub container: Option<Name>,
    /// Whether the pod is terminating and only serves because nothing else is there.
    pub draining: bool,
}

/// Chooses pods for the connections of one service, and remembers its choices.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    /// The pod that connections go to while it is ready.
    primary: Option<Name>,
    next: usize,
    /// Open connections by the pod's uid; only pods that have some.
    open: HashMap<Name, usize>,
}

/// Collects [`Endpoints`].
#[derive(Default)]
pub(super) struct EndpointsBuilder {
    pods: BTreeMap<Order, (PodRef, Condition)>,
    ports: BTreeMap<u16, BTreeMap<Order, PodPort>>,
    foreign: usize,
}

/// `db-9` sorts before `db-10`; the uid tells apart two pods that had the same name one after the other.
type Order = (usize, Name, Name);

impl Endpoints {
    /// The pods that answer on a port of the service: ready ones, or else those that drain; `pod` narrows to one by name.
    pub(crate) fn usable<'a>(
        &'a self,
        port: u16,
        pod: Option<&'a str>,
    ) -> impl Iterator<Item = &'a PodPort> {
        let pods = self.ports.get(&port).into_iter().flatten();
        let matching =
            pods.filter(move |candidate| pod.is_none_or(|name| *candidate.pod.name == *name));
        // Draining ones come after the ready ones.
        let some_ready = matching.clone().next().is_some_and(|first| !first.draining);
        matching.filter(move |candidate| !(some_ready && candidate.draining))
    }
}

impl Chooser {
    /// The pod for a new connection to `port`, leaving out the uids in `tried`; remembers the choice. `None`: nothing is
    /// ready, or everything was tried.
    pub(crate) fn pick(
        &mut self,
        endpoints: &Endpoints,
        balance: Balance,
        port: u16,
        pod: Option<&str>,
        tried: &[String],
    ) -> Option<PodPort> {
        let candidates = endpoints
            .usable(port, pod)
            .filter(|candidate| !tried.iter().any(|uid| **uid == *candidate.pod.uid));
        match balance {
            Balance::Unspecified | Balance::Primary => {
                let chosen = self.primary_of(candidates)?;
                // A pod that was asked for by name says nothing about the others. One that failed is no longer the
                // primary, although the cluster still calls it ready.
                if pod.is_none() && self.primary.as_ref() != Some(&chosen.pod.uid) {
                    self.primary = Some(chosen.pod.uid.clone());
                }
                Some(chosen.clone())
            }
            Balance::RoundRobin | Balance::LeastConnections => {
                // The first of equals is always the same: rotate, so that idle pods share what comes one by one.
                let all: Vec<&PodPort> = candidates.collect();
                let (before, from) = all.split_at(self.next % all.len().max(1));
                let mut rotated = from.iter().chain(before);
                let open = |candidate: &&&PodPort| self.open.get(&candidate.pod.uid).unwrap_or(&0);
                let chosen = match balance {
                    Balance::LeastConnections => rotated.min_by_key(open)?,
                    _ => rotated.next()?,
                };
                self.next = self.next.wrapping_add(1);
                Some((*chosen).clone())
            }
        }
    }

    /// The pod that a connection would go to now if it were the next; changes nothing.
    pub(crate) fn peek(
        &self,
        endpoints: &Endpoints,
        port: u16,
        pod: Option<&str>,
    ) -> Option<PodPort> {
        self.primary_of(endpoints.usable(port, pod)).cloned()
    }

    /// A connection to this pod was opened.
    pub(crate) fn opened(&mut self, uid: &Name) {
        *self.open.entry(uid.clone()).or_default() += 1;
    }

    /// A connection to this pod has ended.
    pub(crate) fn closed(&mut self, uid: &Name) {
        if let Some(open) = self.open.get_mut(uid) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(uid);
            }
        }
    }

    fn primary_of<'a>(
        &self,
        mut candidates: impl Iterator<Item = &'a PodPort>,
    ) -> Option<&'a PodPort> {
        let first = candidates.next()?;
        let is_primary = |candidate: &PodPort| self.primary.as_ref() == Some(&candidate.pod.uid);
        if is_primary(first) {
            return Some(first);
        }
        Some(candidates.find(|c| is_primary(c)).unwrap_or(first))
    }
}

impl EndpointsBuilder {
    /// Counts a pod. A pod of a dual-stack service is in two slices: the better condition counts.
    pub(super) fn pod(&mut self, pod: &PodRef, condition: Condition) {
        let known = self.pods.entry(order(pod));
        let known = known.or_insert_with(|| (pod.clone(), condition));
        known.1 = known.1.max(condition);
    }

    /// Counts an endpoint that is not a pod.
    pub(super) fn foreign(&mut self) {
        self.foreign += 1;
    }

    /// Adds the pod's port behind a port of the service.
    pub(super) fn port(
        &mut self,
        service_port: u16,
        pod: &PodRef,
        condition: Condition,
        port: u16,
        container: Option<Name>,
    ) {
        if condition == Condition::NotReady {
            return;
        }
        let pod_port = PodPort {
            pod: pod.clone(),
            port,
            container,
            draining: condition == Condition::Draining,
        };
        let ports = self.ports.entry(service_port).or_default();
        let known = ports.entry(order(pod)).or_insert_with(|| pod_port.clone());
        if known.draining && !pod_port.draining {
            *known = pod_port;
        }
    }

    pub(super) fn build(self) -> Endpoints {
        let ready = self.pods.values();
        let ready = ready.filter(|(_, condition)| *condition == Condition::Ready);
        let ready = ready.map(|(pod, _)| pod.name.clone()).collect();
        let mut uids: Vec<Name> = self.pods.into_values().map(|(pod, _)| pod.uid).collect();
        uids.sort_unstable();
        let ports = self.ports.into_iter().map(|(port, pods)| {
            let mut pods: Vec<PodPort> = pods.into_values().collect();
            pods.sort_by_key(|pod| pod.draining);
            (port, pods.into_boxed_slice())
        });
        Endpoints {
            ports: ports.collect(),
            ready,
            uids: uids.into(),
            foreign: self.foreign,
        }
    }
}

fn order(pod: &PodRef) -> Order {
    (pod.name.len(), pod.name.clone(), pod.uid.clone())
}
