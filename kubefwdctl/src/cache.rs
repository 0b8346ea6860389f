//! What the daemon forwards, as last reported: a snapshot of `Watch`, kept current by its changes.

use std::collections::BTreeMap;

use kubefwd_proto::control::v1::watch_response::Update;
use kubefwd_proto::control::v1::{self as pb, Changes, ListResponse, WatchResponse};
use kubefwd_proto::convert::Malformed;

use crate::item::{ForwardItem, Id, NamespaceItem, ServiceItem};

/// What is forwarded.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// Grows with every change; the answer to a request carries the revision at which its effect shows here.
    pub(crate) revision: u64,
    pub(crate) namespaces: BTreeMap<Id, NamespaceItem>,
    pub(crate) services: BTreeMap<Id, ServiceItem>,
}

/// Some of what is forwarded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Objects {
    pub(crate) namespaces: Vec<NamespaceItem>,
    pub(crate) services: Vec<ServiceItem>,
    /// Forwards whose services are not among these.
    pub(crate) forwards: Vec<ForwardItem>,
}

/// What one message changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Delta {
    /// Everything was replaced: what is not in the cache is gone.
    pub(crate) replaced: bool,
    /// What is new or was changed.
    pub(crate) changed: Objects,
    /// What is gone, as it was.
    pub(crate) removed: Objects,
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

    /// All of it.
    pub(crate) fn objects(&self) -> Objects {
        Objects {
            namespaces: self.namespaces.values().cloned().collect(),
            services: self.services.values().cloned().collect(),
            forwards: Vec::new(),
        }
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
        delta.removed.namespaces = missing(old_namespaces, &self.namespaces);
        delta.removed.services = missing(old_services, &self.services);
        Ok(delta)
    }

    fn change(&mut self, changes: Changes) -> Result<Delta, Malformed> {
        let mut delta = Delta::default();
        let (changed, removed) = (&mut delta.changed, &mut delta.removed);
        for pb::ObjectRef { key, uid } in changes.removed_namespaces {
            removed
                .namespaces
                .extend(self.namespaces.remove(&(key, uid)));
        }
        for pb::ObjectRef { key, uid } in changes.removed_services {
            removed.services.extend(self.services.remove(&(key, uid)));
        }
        for namespace in changes.namespaces {
            let item = NamespaceItem::try_from(&namespace)?;
            changed.namespaces.push(item.clone());
            self.namespaces.insert((namespace.key, namespace.uid), item);
        }
        for service in changes.services {
            let item = ServiceItem::try_from(&service)?;
            changed.services.push(item.clone());
            let id = (service.key, service.uid);
            if let Some(before) = self.services.insert(id, item.clone()) {
                removed.forwards.extend(before.forwards_without(&item));
            }
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
    use kubefwd_proto::control::v1::{Forward, ForwardState, ObjectRef, Service, ServiceState};

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
        assert_eq!(delta.removed.services, [item("a", 1)]);
        assert_eq!(delta.changed.services, [item("b", 1), item("c", 1)]);
        assert_eq!(cache.revision, 5);
    }

    #[test]
    fn the_same_key_of_another_owner_is_another_object() {
        let mut cache = Cache::default();
        apply(
            &mut cache,
            snapshot(1, vec![service("a", 1), service("a", 2)]),
        );
        let gone = ObjectRef {
            key: "a.demo.real".to_owned(),
            uid: 2,
        };
        let changes = Changes {
            removed_services: vec![gone],
            ..Changes::default()
        };
        let message = WatchResponse {
            revision: 2,
            update: Some(Update::Changes(changes)),
        };
        let delta = apply(&mut cache, message);
        assert_eq!(delta.removed.services, [item("a", 2)]);
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

    #[test]
    fn forwards_that_a_service_no_longer_has_are_removed() {
        let forward = |key: &str| Forward {
            key: key.to_owned(),
            local_ip: "127.1.27.1".to_owned(),
            state: ForwardState::Active.into(),
            ..Forward::default()
        };
        let with = |keys: &[&str]| Service {
            forwards: keys.iter().map(|key| forward(key)).collect(),
            ..service("a", 1)
        };
        let mut cache = Cache::default();
        apply(&mut cache, snapshot(1, vec![with(&["80", "443"])]));
        let changes = Changes {
            services: vec![with(&["443", "8080"])],
            ..Changes::default()
        };
        let message = WatchResponse {
            revision: 2,
            update: Some(Update::Changes(changes)),
        };
        let lost = apply(&mut cache, message).removed.forwards;
        let keys: Vec<_> = lost.iter().map(|item| item.forward.key.as_str()).collect();
        assert_eq!(keys, ["80"]);
    }
}
