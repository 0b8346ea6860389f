//! A copy of what the daemon forwards: starts from a snapshot of `Watch` and applies its changes.

use std::collections::BTreeMap;

use kubefwd_proto::control::v1::watch_response::Update;
use kubefwd_proto::control::v1::{Changes, ListResponse, Namespace, Service, WatchResponse};

/// Keys of two owners may be the same.
pub(crate) type Id = (String, u32);

/// The copy.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// Grows with every change; the answer to a request carries the revision at which its effect shows here.
    pub(crate) revision: u64,
    /// Namespaces by key and owner.
    pub(crate) namespaces: BTreeMap<Id, Namespace>,
    /// Services by key and owner.
    pub(crate) services: BTreeMap<Id, Service>,
}

/// What one message changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Delta {
    /// Everything was replaced: what is not in the copy is gone.
    pub(crate) replaced: bool,
    /// Namespaces that are new or were changed.
    pub(crate) namespaces: Vec<Id>,
    /// Namespaces that are gone, as they were.
    pub(crate) removed_namespaces: Vec<Namespace>,
    /// Services that are new or were changed, each with its former state.
    pub(crate) services: Vec<(Id, Option<Service>)>,
    /// Services that are gone, as they were.
    pub(crate) removed_services: Vec<Service>,
}

impl Mirror {
    /// Applies one message.
    pub(crate) fn apply(&mut self, message: WatchResponse) -> Delta {
        self.revision = self.revision.max(message.revision);
        match message.update {
            Some(Update::Snapshot(snapshot)) => self.replace(snapshot),
            Some(Update::Changes(changes)) => self.change(changes),
            // An update of a kind that only a newer daemon knows, or a keepalive.
            None => Delta::default(),
        }
    }

    fn replace(&mut self, snapshot: ListResponse) -> Delta {
        self.revision = self.revision.max(snapshot.revision);
        let old_namespaces = std::mem::take(&mut self.namespaces);
        let old_services = std::mem::take(&mut self.services);
        let mut delta = self.change(Changes {
            namespaces: snapshot.namespaces,
            services: snapshot.services,
            ..Changes::default()
        });
        delta.replaced = true;
        for (id, before) in &mut delta.services {
            *before = old_services.get(id).cloned();
        }
        delta.removed_namespaces = missing(old_namespaces, &self.namespaces);
        delta.removed_services = missing(old_services, &self.services);
        delta
    }

    fn change(&mut self, changes: Changes) -> Delta {
        let mut delta = Delta::default();
        for gone in changes.removed_namespaces {
            delta
                .removed_namespaces
                .extend(self.namespaces.remove(&(gone.key, gone.uid)));
        }
        for gone in changes.removed_services {
            delta
                .removed_services
                .extend(self.services.remove(&(gone.key, gone.uid)));
        }
        for namespace in changes.namespaces {
            let id = (namespace.key.clone(), namespace.uid);
            delta.namespaces.push(id.clone());
            self.namespaces.insert(id, namespace);
        }
        for service in changes.services {
            let id = (service.key.clone(), service.uid);
            let before = self.services.insert(id.clone(), service);
            delta.services.push((id, before));
        }
        delta
    }
}

fn missing<T>(before: BTreeMap<Id, T>, now: &BTreeMap<Id, T>) -> Vec<T> {
    let gone = before.into_iter().filter(|(id, _)| !now.contains_key(id));
    gone.map(|(_, object)| object).collect()
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::control::v1::ObjectRef;

    use super::*;

    fn service(key: &str, uid: u32) -> Service {
        Service {
            key: key.to_owned(),
            uid,
            ..Service::default()
        }
    }

    fn snapshot(revision: u64, services: Vec<Service>) -> WatchResponse {
        let list = ListResponse {
            revision,
            services,
            ..ListResponse::default()
        };
        WatchResponse {
            revision,
            update: Some(Update::Snapshot(list)),
        }
    }

    #[test]
    fn a_later_snapshot_removes_what_it_does_not_hold() {
        let mut mirror = Mirror::default();
        mirror.apply(snapshot(1, vec![service("a", 1), service("b", 1)]));
        let delta = mirror.apply(snapshot(5, vec![service("b", 1), service("c", 1)]));
        assert!(delta.replaced);
        assert_eq!(delta.removed_services, [service("a", 1)]);
        assert_eq!(
            delta.services,
            [
                (("b".to_owned(), 1), Some(service("b", 1))),
                (("c".to_owned(), 1), None)
            ]
        );
        assert_eq!(mirror.revision, 5);
    }

    #[test]
    fn the_same_key_of_another_owner_is_another_object() {
        let mut mirror = Mirror::default();
        mirror.apply(snapshot(1, vec![service("a", 1), service("a", 2)]));
        let gone = ObjectRef {
            key: "a".to_owned(),
            uid: 2,
        };
        let changes = Changes {
            removed_services: vec![gone],
            ..Changes::default()
        };
        let delta = mirror.apply(WatchResponse {
            revision: 2,
            update: Some(Update::Changes(changes)),
        });
        assert_eq!(delta.removed_services, [service("a", 2)]);
        assert_eq!(mirror.services.len(), 1);
    }

    #[test]
    fn a_message_of_an_unknown_kind_only_moves_the_revision() {
        let mut mirror = Mirror::default();
        let delta = mirror.apply(WatchResponse {
            revision: 7,
            update: None,
        });
        assert_eq!((delta, mirror.revision), (Delta::default(), 7));
    }
}
