//! What the daemon forwards, as last reported: a snapshot of `Watch`, kept current by its changes.

use std::collections::BTreeMap;

use kubefwd_proto::control::v1::watch_response::Update;
use kubefwd_proto::control::v1::{self as pb, Changes, ListResponse, WatchResponse};
use kubefwd_proto::convert::Malformed;

use crate::item::{NamespaceItem, ServiceItem};

/// Key and owner: two owners may have the same key.
pub(crate) type Id = (String, u32);

/// What is forwarded.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// Grows with every change; the answer to a request carries the revision at which its effect shows here.
    pub(crate) revision: u64,
    pub(crate) namespaces: BTreeMap<Id, NamespaceItem>,
    pub(crate) services: BTreeMap<Id, ServiceItem>,
}

/// What one message changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Delta {
    /// Everything was replaced: what is not in the cache is gone.
    pub(crate) replaced: bool,
    /// Namespaces that are new or were changed.
    pub(crate) namespaces: Vec<Id>,
    /// Namespaces that are gone, as they were.
    pub(crate) removed_namespaces: Vec<NamespaceItem>,
    /// Services that are new or were changed, each with its former state.
    pub(crate) services: Vec<(Id, Option<ServiceItem>)>,
    /// Services that are gone, as they were.
    pub(crate) removed_services: Vec<ServiceItem>,
}

impl Cache {
    /// The answer to `List`.
    ///
    /// # Errors
    /// When an object in it does not hold what its type promises.
    pub(crate) fn of(list: ListResponse) -> Result<Self, Malformed> {
        let mut cache = Self::default();
        cache.replace(list)?;
        Ok(cache)
    }

    /// Applies one message.
    ///
    /// # Errors
    /// When an object in it does not hold what its type promises.
    pub(crate) fn apply(&mut self, message: WatchResponse) -> Result<Delta, Malformed> {
        self.revision = self.revision.max(message.revision);
        match message.update {
            Some(Update::Snapshot(snapshot)) => self.replace(snapshot),
            Some(Update::Changes(changes)) => self.change(changes),
            // An update of a kind that only a newer daemon knows, or a keepalive.
            None => Ok(Delta::default()),
        }
    }

    /// The namespaces of this name, of every owner.
    pub(crate) fn namespaces_with_key(&self, key: &str) -> impl Iterator<Item = &NamespaceItem> {
        let ids = (key.to_owned(), 0)..=(key.to_owned(), u32::MAX);
        self.namespaces.range(ids).map(|(_, item)| item)
    }

    fn replace(&mut self, snapshot: ListResponse) -> Result<Delta, Malformed> {
        self.revision = self.revision.max(snapshot.revision);
        let old_namespaces = std::mem::take(&mut self.namespaces);
        let old_services = std::mem::take(&mut self.services);
        let mut delta = self.change(Changes {
            namespaces: snapshot.namespaces,
            services: snapshot.services,
            ..Changes::default()
        })?;
        delta.replaced = true;
        for (id, before) in &mut delta.services {
            *before = old_services.get(id).cloned();
        }
        delta.removed_namespaces = missing(old_namespaces, &self.namespaces);
        delta.removed_services = missing(old_services, &self.services);
        Ok(delta)
    }

    fn change(&mut self, changes: Changes) -> Result<Delta, Malformed> {
        let mut delta = Delta::default();
        for pb::ObjectRef { key, uid } in changes.removed_namespaces {
            let removed = self.namespaces.remove(&(key, uid));
            delta.removed_namespaces.extend(removed);
        }
        for pb::ObjectRef { key, uid } in changes.removed_services {
            let removed = self.services.remove(&(key, uid));
            delta.removed_services.extend(removed);
        }
        for namespace in changes.namespaces {
            let item = NamespaceItem::try_from(&namespace)?;
            let id = (namespace.key, namespace.uid);
            delta.namespaces.push(id.clone());
            self.namespaces.insert(id, item);
        }
        for service in changes.services {
            let item = ServiceItem::try_from(&service)?;
            let id = (service.key, service.uid);
            let before = self.services.insert(id.clone(), item);
            delta.services.push((id, before));
        }
        Ok(delta)
    }
}

fn missing<T>(before: BTreeMap<Id, T>, now: &BTreeMap<Id, T>) -> Vec<T> {
    let gone = before.into_iter().filter(|(id, _)| !now.contains_key(id));
    gone.map(|(_, object)| object).collect()
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::control::v1::{ObjectRef, Service, ServiceState};

    use super::*;

    fn service(name: &str, uid: u32) -> Service {
        Service {
            key: format!("{name}.demo.real"),
            service: name.to_owned(),
            namespace: "demo".to_owned(),
            context: "real".to_owned(),
            uid,
            state: ServiceState::Active.into(),
            ..Service::default()
        }
    }

    fn item(name: &str, uid: u32) -> ServiceItem {
        ServiceItem::try_from(&service(name, uid)).expect("well formed")
    }

    fn id(name: &str, uid: u32) -> Id {
        (format!("{name}.demo.real"), uid)
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

    fn apply(cache: &mut Cache, message: WatchResponse) -> Delta {
        cache.apply(message).expect("well formed")
    }

    #[test]
    fn a_later_snapshot_removes_what_it_does_not_hold() {
        let mut cache = Cache::default();
        apply(
            &mut cache,
            snapshot(1, vec![service("a", 1), service("b", 1)]),
        );
        let delta = apply(
            &mut cache,
            snapshot(5, vec![service("b", 1), service("c", 1)]),
        );
        assert!(delta.replaced);
        assert_eq!(delta.removed_services, [item("a", 1)]);
        assert_eq!(
            delta.services,
            [(id("b", 1), Some(item("b", 1))), (id("c", 1), None)]
        );
        assert_eq!(cache.revision, 5);
    }

    #[test]
    fn the_same_key_of_another_owner_is_another_object() {
        let mut cache = Cache::default();
        apply(
            &mut cache,
            snapshot(1, vec![service("a", 1), service("a", 2)]),
        );
        let (key, uid) = id("a", 2);
        let changes = Changes {
            removed_services: vec![ObjectRef { key, uid }],
            ..Changes::default()
        };
        let message = WatchResponse {
            revision: 2,
            update: Some(Update::Changes(changes)),
        };
        let delta = apply(&mut cache, message);
        assert_eq!(delta.removed_services, [item("a", 2)]);
        assert_eq!(cache.services.len(), 1);
    }

    #[test]
    fn a_message_of_an_unknown_kind_only_moves_the_revision() {
        let mut cache = Cache::default();
        let message = WatchResponse {
            revision: 7,
            update: None,
        };
        let delta = apply(&mut cache, message);
        assert_eq!((delta, cache.revision), (Delta::default(), 7));
    }

    #[test]
    fn an_object_that_cannot_be_read_is_an_error() {
        let broken = Service {
            local_ip: "nowhere".to_owned(),
            ..service("a", 1)
        };
        assert!(Cache::default().apply(snapshot(1, vec![broken])).is_err());
    }
}
