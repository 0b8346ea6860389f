//! The pods behind services as EndpointSlices say: readiness, termination and port numbers are resolved by the cluster.

use std::collections::{BTreeSet, HashMap};

use super::object::{Name, Service, Slice};
use super::presence::Presence;
use super::select::{Endpoints, EndpointsBuilder};
use super::{Change, absent, remove_from};

#[derive(Default)]
pub(super) struct Slices {
    pub(super) listed: bool,
    slices: HashMap<Name, Slice>,
    by_service: HashMap<Name, BTreeSet<Name>>,
    pub(super) presence: Presence,
}

impl Slices {
    pub(super) fn apply(&mut self, change: Change<Slice>, dirty: &mut BTreeSet<Name>) {
        match change {
            Change::Listed(slices) => {
                for name in absent(&self.slices, slices.iter().map(|s| &s.name)) {
                    self.delete(&name, dirty);
                }
                for slice in slices {
                    self.insert(slice, dirty);
                }
                self.listed = true;
            }
            Change::Applied(slice) => self.insert(slice, dirty),
            Change::Deleted(name) => self.delete(&name, dirty),
        }
    }

    pub(super) fn endpoints(&self, service: &Service) -> Endpoints {
        let mut builder = EndpointsBuilder::default();
        let slices = self.by_service.get(&service.name).into_iter().flatten();
        for slice in slices.filter_map(|name| self.slices.get(name)) {
            for endpoint in &slice.endpoints {
                let Some(pod) = &endpoint.pod else {
                    builder.foreign();
                    continue;
                };
                builder.pod(pod, endpoint.condition);
                for port in service.tcp_ports() {
                    let mut ports = slice.ports.iter();
                    if let Some(resolved) = ports.find(|resolved| resolved.name == port.name) {
                        builder.port(port.port, pod, endpoint.condition, resolved.port, None);
                    }
                }
            }
        }
        builder.build()
    }

    fn insert(&mut self, slice: Slice, dirty: &mut BTreeSet<Name>) {
        if self.slices.get(&slice.name) == Some(&slice) {
            return;
        }
        // A slice's service is a label, which anyone may change.
        self.delete(&slice.name, dirty);
        dirty.insert(slice.service.clone());
        self.by_service
            .entry(slice.service.clone())
            .or_default()
            .insert(slice.name.clone());
        for pod in slice.endpoints.iter().filter_map(|e| e.pod.as_ref()) {
            self.presence.add(&pod.uid);
        }
        self.slices.insert(slice.name.clone(), slice);
    }

    fn delete(&mut self, name: &Name, dirty: &mut BTreeSet<Name>) {
        let Some(slice) = self.slices.remove(name) else {
            return;
        };
        remove_from(&mut self.by_service, &slice.service, name);
        for pod in slice.endpoints.iter().filter_map(|e| e.pod.as_ref()) {
            self.presence.remove(&pod.uid);
        }
        dirty.insert(slice.service);
    }
}
