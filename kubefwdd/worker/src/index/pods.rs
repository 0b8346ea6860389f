//! The pods behind services by selector, for clusters that do not let the user read EndpointSlices.
//!
//! Services and pods are found from each other by label, so that neither a pod's change looks at every service nor a
//! service's change at every pod.

use std::collections::{BTreeSet, HashMap};

use super::object::{Condition, Label, Name, Pod, PodRef, Service, Target};
use super::presence::Presence;
use super::select::{Endpoints, EndpointsBuilder};
use super::{Change, absent, remove_from};

#[derive(Default)]
pub(super) struct Pods {
    pub(super) listed: bool,
    pods: HashMap<Name, Pod>,
    pods_by_label: HashMap<Label, BTreeSet<Name>>,
    selectors: HashMap<Name, Box<[Label]>>,
    /// By the first label of the selector.
    services_by_label: HashMap<Label, BTreeSet<Name>>,
    pub(super) presence: Presence,
}

impl Pods {
    pub(super) fn apply(&mut self, change: Change<Pod>, dirty: &mut BTreeSet<Name>) {
        match change {
            Change::Listed(pods) => {
                for name in absent(&self.pods, pods.iter().map(|p| &p.name)) {
                    self.delete(&name, dirty);
                }
                for pod in pods {
                    self.insert(pod, dirty);
                }
                self.listed = true;
            }
            Change::Applied(pod) => self.insert(pod, dirty),
            Change::Deleted(name) => self.delete(&name, dirty),
        }
    }

    pub(super) fn service_applied(&mut self, service: &Service) {
        self.service_deleted(&service.name);
        let Some(first) = service.selector.first() else {
            return;
        };
        self.services_by_label
            .entry(first.clone())
            .or_default()
            .insert(service.name.clone());
        self.selectors
            .insert(service.name.clone(), service.selector.clone());
    }

    pub(super) fn service_deleted(&mut self, name: &Name) {
        let selector = self.selectors.remove(name);
        if let Some(first) = selector.as_ref().and_then(|labels| labels.first()) {
            remove_from(&mut self.services_by_label, first, name);
        }
    }

    pub(super) fn endpoints(&self, service: &Service) -> Endpoints {
        let mut builder = EndpointsBuilder::default();
        for pod in self.matching(&service.selector) {
            let condition = condition(pod, service.publish_not_ready);
            let reference = PodRef {
                name: pod.name.clone(),
                uid: pod.uid.clone(),
            };
            builder.pod(&reference, condition);
            for port in service.tcp_ports() {
                let declared = pod.ports.iter().find(|declared| match &port.target {
                    Target::Number(number) => declared.port == *number,
                    Target::Name(name) => declared.name == *name,
                });
                let number = match &port.target {
                    Target::Number(number) => Some(*number),
                    Target::Name(_) => declared.map(|declared| declared.port),
                };
                if let Some(number) = number {
                    let container = declared.map(|declared| declared.container.clone());
                    builder.port(port.port, &reference, condition, number, container);
                }
            }
        }
        builder.build()
    }

    fn matching<'a>(&'a self, selector: &'a [Label]) -> impl Iterator<Item = &'a Pod> {
        let labelled = selector.iter().map(|label| self.pods_by_label.get(label));
        let rarest = labelled.min_by_key(|pods| pods.map_or(0, BTreeSet::len));
        let names = rarest.flatten().into_iter().flatten();
        let pods = names.filter_map(|name| self.pods.get(name));
        pods.filter(move |pod| matches(selector, pod))
    }

    fn insert(&mut self, pod: Pod, dirty: &mut BTreeSet<Name>) {
        if self.pods.get(&pod.name) == Some(&pod) {
            return;
        }
        self.delete(&pod.name, dirty);
        self.touch_services(&pod, dirty);
        for label in &pod.labels {
            self.pods_by_label
                .entry(label.clone())
                .or_default()
                .insert(pod.name.clone());
        }
        self.presence.add(&pod.uid);
        self.pods.insert(pod.name.clone(), pod);
    }

    fn delete(&mut self, name: &Name, dirty: &mut BTreeSet<Name>) {
        let Some(pod) = self.pods.remove(name) else {
            return;
        };
        self.presence.remove(&pod.uid);
        self.touch_services(&pod, dirty);
        for label in &pod.labels {
            remove_from(&mut self.pods_by_label, label, name);
        }
    }

    fn touch_services(&self, pod: &Pod, dirty: &mut BTreeSet<Name>) {
        let labels = pod.labels.iter();
        let candidates = labels.filter_map(|label| self.services_by_label.get(label));
        for service in candidates.flatten() {
            if let Some(selector) = self.selectors.get(service)
                && matches(selector, pod)
            {
                dirty.insert(service.clone());
            }
        }
    }
}

fn matches(selector: &[Label], pod: &Pod) -> bool {
    let mut labels = selector.iter();
    labels.all(|label| pod.labels.binary_search(label).is_ok())
}

/// As the cluster's EndpointSlice controller decides it.
fn condition(pod: &Pod, publish_not_ready: bool) -> Condition {
    match (pod.ready, pod.terminating) {
        _ if !pod.running => Condition::NotReady,
        _ if publish_not_ready => Condition::Ready,
        (true, false) => Condition::Ready,
        (true, true) => Condition::Draining,
        (false, _) => Condition::NotReady,
    }
}
