//! The storage behind the API: objects by kind, one resource version for all, and a bounded history for watches and
//! consistent reads of the past.
//!
//! Objects are kept as the JSON text they are served as, without `kind` and `apiVersion` (which lists omit), so that a
//! list of 10,000 is a concatenation and costs about its own size in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use crate::json;
use crate::kinds::{ALL, Kind};

/// How many changes per kind are kept by default; a watch from before them is answered 410.
const DEFAULT_HISTORY: usize = 20_000;

/// `(namespace, name)`; the namespace is empty for cluster-scoped kinds.
pub(crate) type Key = (String, String);

/// A stored object of some resource version.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) key: Key,
    pub(crate) version: u64,
    pub(crate) labels: Vec<(String, String)>,
    /// `{"metadata":…}`: everything but `kind` and `apiVersion`.
    body: Bytes,
}

impl Object {
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(k, _)| k == key)?;
        Some(&found.1)
    }

    /// The object as an item of a list: without `kind` and `apiVersion`.
    pub(crate) fn item(&self) -> &[u8] {
        &self.body
    }

    /// Appends the whole object, with `kind` and `apiVersion`.
    pub(crate) fn write_full(&self, kind: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"kind\":\"");
        out.extend_from_slice(kind.name().as_bytes());
        out.extend_from_slice(b"\",\"apiVersion\":\"");
        out.extend_from_slice(kind.api_version().as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&self.body[1..]);
    }

    /// The object as a value, without `kind` and `apiVersion`.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body was written by serde_json")
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One entry of the history.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) change: Change,
    /// The object after the change; for a deletion its last state with the version of the deletion.
    pub(crate) object: Arc<Object>,
    /// The object before the change.
    pub(crate) before: Option<Arc<Object>>,
}

struct Table {
    objects: BTreeMap<Key, Arc<Object>>,
    history: VecDeque<Event>,
    /// Changes at or before this version are no longer known.
    forgotten: u64,
    notify: watch::Sender<u64>,
}

struct Inner {
    version: u64,
    keep: usize,
    tables: Vec<Table>,
}

/// Reading at a version failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionError {
    /// The history no longer reaches back so far.
    TooOld {
        /// The oldest version that can be read.
        oldest: u64,
    },
    /// The version lies in the future.
    TooLarge {
        /// The present version.
        current: u64,
    },
}

/// The objects of a kind at one version.
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) objects: Vec<Arc<Object>>,
}

/// All stored objects of the cluster.
pub(crate) struct Store {
    inner: Mutex<Inner>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let table = || Table {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten: 0,
            notify: watch::Sender::new(0),
        };
        Self {
            inner: Mutex::new(Inner {
                version: 400,
                keep: DEFAULT_HISTORY,
                tables: ALL.iter().map(|_| table()).collect(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present resource version of the whole store.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Creates or replaces an object; the value must have `metadata.name`. Sets its resource version and returns it.
    pub(crate) fn put(&self, kind: Kind, mut value: Value) -> u64 {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        value["metadata"]["resourceVersion"] = Value::String(version.to_string());
        let object = Arc::new(object_of(value, version));
        let table = &mut inner.tables[kind.index()];
        let before = table
            .objects
            .insert(object.key.clone(), Arc::clone(&object));
        let change = if before.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        inner.record(
            kind,
            Event {
                version,
                change,
                object,
                before,
            },
        );
        version
    }

    /// Removes an object; false when it is not there.
    pub(crate) fn delete(&self, kind: Kind, key: &Key) -> bool {
        let mut inner = self.lock();
        let Some(before) = inner.tables[kind.index()].objects.remove(key) else {
            return false;
        };
        inner.version += 1;
        let version = inner.version;
        let mut last = before.value();
        last["metadata"]["resourceVersion"] = Value::String(version.to_string());
        inner.record(
            kind,
            Event {
                version,
                change: Change::Deleted,
                object: Arc::new(object_of(last, version)),
                before: Some(before),
            },
        );
        true
    }

    pub(crate) fn get(&self, kind: Kind, key: &Key) -> Option<Arc<Object>> {
        self.lock().tables[kind.index()].objects.get(key).cloned()
    }

    /// All objects of a kind in a namespace (`None`: in all) now.
    pub(crate) fn list(&self, kind: Kind, namespace: Option<&str>) -> Snapshot {
        let inner = self.lock();
        let objects = &inner.tables[kind.index()].objects;
        Snapshot {
            version: inner.version,
            objects: in_namespace(objects, namespace),
        }
    }

    /// All objects of a kind as they were at a version.
    pub(crate) fn list_at(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<Snapshot, VersionError> {
        let inner = self.lock();
        if version > inner.version {
            return Err(VersionError::TooLarge {
                current: inner.version,
            });
        }
        let table = &inner.tables[kind.index()];
        if version < table.forgotten {
            return Err(VersionError::TooOld {
                oldest: table.forgotten,
            });
        }
        let newer = table.history.iter().rev();
        let newer: Vec<_> = newer.take_while(|e| e.version > version).collect();
        if newer.is_empty() {
            return Ok(Snapshot {
                version,
                objects: in_namespace(&table.objects, namespace),
            });
        }
        let mut past = table.objects.clone();
        for event in newer {
            match &event.before {
                Some(before) => past.insert(before.key.clone(), Arc::clone(before)),
                None => past.remove(&event.object.key),
            };
        }
        Ok(Snapshot {
            version,
            objects: in_namespace(&past, namespace),
        })
    }

    /// Changes after a version, and the version up to which they reach.
    pub(crate) fn events_after(
        &self,
        kind: Kind,
        version: u64,
    ) -> Result<(Vec<Event>, u64), VersionError> {
        let inner = self.lock();
        let table = &inner.tables[kind.index()];
        if version < table.forgotten {
            return Err(VersionError::TooOld {
                oldest: table.forgotten,
            });
        }
        let start = table.history.partition_point(|e| e.version <= version);
        let events = table.history.range(start..).cloned().collect();
        Ok((events, inner.version))
    }

    /// A receiver that changes with every change of the kind.
    pub(crate) fn subscribe(&self, kind: Kind) -> watch::Receiver<u64> {
        self.lock().tables[kind.index()].notify.subscribe()
    }

    /// Forgets all history, as etcd's compaction does: older versions are answered 410 from now on.
    pub(crate) fn compact(&self) {
        let mut inner = self.lock();
        let version = inner.version;
        for table in &mut inner.tables {
            table.history = VecDeque::new();
            table.forgotten = version;
        }
    }

    /// How many changes per kind are kept.
    pub(crate) fn set_history(&self, keep: usize) {
        self.lock().keep = keep;
    }
}

impl Inner {
    fn record(&mut self, kind: Kind, event: Event) {
        let keep = self.keep;
        let table = &mut self.tables[kind.index()];
        table.notify.send_replace(event.version);
        table.history.push_back(event);
        while table.history.len() > keep {
            if let Some(dropped) = table.history.pop_front() {
                table.forgotten = dropped.version;
            }
        }
    }
}

fn in_namespace(objects: &BTreeMap<Key, Arc<Object>>, namespace: Option<&str>) -> Vec<Arc<Object>> {
    match namespace {
        None => objects.values().cloned().collect(),
        Some(namespace) => objects
            .range((namespace.to_owned(), String::new())..)
            .take_while(|(key, _)| key.0 == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect(),
    }
}

fn object_of(value: Value, version: u64) -> Object {
    let metadata = &value["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    let labels = metadata["labels"].as_object().map(|labels| {
        labels
            .iter()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
            .collect()
    });
    Object {
        key: (text("namespace"), text("name")),
        version,
        labels: labels.unwrap_or_default(),
        body: Bytes::from(json::compact(&value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(store: &Store, namespace: &str, name: &str, generation: u64) -> u64 {
        store.put(
            Kind::Pod,
            json!({"metadata": {"namespace": namespace, "name": name, "generation": generation}}),
        )
    }

    #[test]
    fn events_are_those_after_the_version_asked_for() {
        let store = Store::new();
        let first = put(&store, "a", "x", 1);
        put(&store, "a", "x", 2);
        assert!(store.delete(Kind::Pod, &("a".into(), "x".into())));
        assert!(!store.delete(Kind::Pod, &("a".into(), "x".into())));
        let (events, upto) = store.events_after(Kind::Pod, first).unwrap();
        let changes: Vec<_> = events.iter().map(|e| e.change).collect();
        assert_eq!(changes, [Change::Modified, Change::Deleted]);
        assert_eq!(upto, store.version());
        assert_eq!(
            events[1].object.value()["metadata"]["resourceVersion"],
            upto.to_string()
        );
    }

    #[test]
    fn compaction_forgets_the_past_but_not_the_present() {
        let store = Store::new();
        let first = put(&store, "a", "x", 1);
        let second = put(&store, "a", "y", 1);
        store.compact();
        assert_eq!(
            store.events_after(Kind::Pod, first).err(),
            Some(VersionError::TooOld { oldest: second })
        );
        assert!(store.events_after(Kind::Pod, second).is_ok());
        assert_eq!(store.list(Kind::Pod, Some("a")).objects.len(), 2);
        assert!(store.list_at(Kind::Pod, None, first).is_err());
    }

    #[test]
    fn namespaces_with_a_common_prefix_are_apart() {
        let store = Store::new();
        put(&store, "a", "x", 1);
        put(&store, "a-b", "x", 1);
        assert_eq!(store.list(Kind::Pod, Some("a")).objects.len(), 1);
        assert_eq!(store.list(Kind::Pod, None).objects.len(), 2);
    }

    proptest::proptest! {
        /// Whatever happens, reading at a past version gives what was there then.
        #[test]
        fn the_past_reads_as_it_was(steps in proptest::collection::vec((0_u8..4, proptest::bool::ANY), 1..40)) {
            let store = Store::new();
            let mut seen = Vec::new();
            for (n, (name, remove)) in steps.into_iter().enumerate() {
                let name = format!("p{name}");
                if remove {
                    store.delete(Kind::Pod, &("ns".into(), name));
                } else {
                    put(&store, "ns", &name, n as u64);
                }
                let now = store.list(Kind::Pod, None);
                let bodies: Vec<_> = now.objects.iter().map(|o| o.item().to_vec()).collect();
                seen.push((now.version, bodies));
            }
            for (version, bodies) in seen {
                let past = store.list_at(Kind::Pod, None, version).unwrap();
                let again: Vec<_> = past.objects.iter().map(|o| o.item().to_vec()).collect();
                proptest::prop_assert_eq!(again, bodies);
            }
        }
    }
}
