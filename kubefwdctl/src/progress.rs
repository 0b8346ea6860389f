//! Tracks how far the requested services have come up: the pure part of `--wait` and `--attach`.

mod missing;
mod targets;

use std::collections::BTreeMap;

use kubefwd_model::{NamespaceStatus, ServiceStatus};

use crate::cache::{Cache, Delta};
use crate::item::{Id, ServiceItem};
use crate::output::changes::Cached as _;
pub(crate) use missing::Missing;
pub(crate) use targets::Targets;

/// Services that need no more waiting: active, or impossible.
fn is_settled(status: ServiceStatus) -> bool {
    matches!(status, ServiceStatus::Active | ServiceStatus::Unsupported)
}

/// Counts services by status; each update costs only what changed, so that ten thousand can come up one by one.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) targets: Targets,
    /// Requested services with the key of their namespace.
    known: BTreeMap<Id, (String, ServiceStatus)>,
    /// Services seen per namespace key.
    seen: BTreeMap<String, usize>,
    unsettled: usize,
}

impl Progress {
    /// Starts from what the cache holds.
    pub(crate) fn new(targets: Targets, cache: &Cache) -> Self {
        let mut progress = Self {
            targets,
            known: BTreeMap::new(),
            seen: BTreeMap::new(),
            unsettled: 0,
        };
        for item in cache.services.values() {
            progress.put(item);
        }
        progress
    }

    /// Applies a change; returns the requested services in it.
    pub(crate) fn apply(&mut self, delta: Delta) -> Vec<ServiceItem> {
        for item in &delta.removed.services {
            self.remove(&item.id());
        }
        let mut touched = delta.changed.services;
        touched.retain(|item| self.put(item));
        touched
    }

    fn put(&mut self, item: &ServiceItem) -> bool {
        let namespace = item.service.key.namespace_key().to_string();
        let id = item.id();
        if !self.targets.cover(&id.0, &namespace) {
            return false;
        }
        self.remove(&id);
        let status = item.service.status;
        *self.seen.entry(namespace.clone()).or_default() += 1;
        self.unsettled += usize::from(!is_settled(status));
        self.known.insert(id, (namespace, status));
        true
    }

    fn remove(&mut self, id: &Id) {
        let Some((namespace, status)) = self.known.remove(id) else {
            return;
        };
        self.unsettled -= usize::from(!is_settled(status));
        if let Some(seen) = self.seen.get_mut(&namespace) {
            *seen -= 1;
        }
    }

    /// Whether every requested service is known, and active or impossible.
    pub(crate) fn is_complete(&self, cache: &Cache) -> bool {
        let Targets {
            namespaces,
            services,
            revision,
        } = &self.targets;
        cache.revision >= *revision
            && self.unsettled == 0
            && services.iter().all(|key| self.knows(key))
            && namespaces.iter().all(|key| self.is_listed(key, cache))
    }

    fn knows(&self, key: &str) -> bool {
        let mut from = self.known.range((key.to_owned(), 0)..);
        from.next().is_some_and(|((found, _), _)| found == key)
    }

    /// The cluster has listed the services of the namespace, and all of them are here.
    fn is_listed(&self, key: &str, cache: &Cache) -> bool {
        let seen = self.seen.get(key).copied().unwrap_or_default();
        cache.namespaces_with_key(key).any(|item| {
            item.namespace.status == NamespaceStatus::Watching && seen >= item.sums.services
        })
    }

    /// The requested services that exist.
    pub(crate) fn services(&self, cache: &Cache) -> Vec<ServiceItem> {
        let ids = self.known.keys();
        ids.filter_map(|id| cache.services.get(id).cloned())
            .collect()
    }

    /// Totals for the last line: `11 services active, 1 cannot be forwarded`.
    pub(crate) fn summary(&self) -> String {
        let count = |wanted| {
            let statuses = self.known.values().map(|(_, status)| *status);
            statuses.filter(|status| *status == wanted).count()
        };
        let mut text = format!("{} active", services(count(ServiceStatus::Active)));
        let others = [
            (ServiceStatus::Partial, "partially active"),
            (ServiceStatus::Pending, "pending"),
            (ServiceStatus::Error, "in error"),
            (ServiceStatus::Unsupported, "cannot be forwarded"),
        ];
        for (status, what) in others {
            let count = count(status);
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        text
    }
}

/// `1 service`, `11 services`.
fn services(count: usize) -> String {
    match count {
        1 => "1 service".to_owned(),
        count => format!("{count} services"),
    }
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::common::v1::{Failure, Reason};
    use kubefwd_proto::control::v1::watch_response::Update;
    use kubefwd_proto::control::v1::{
        Changes, Namespace, NamespaceState, ObjectRef, Service, ServiceState, WatchResponse,
    };

    use super::*;

    struct Fixture {
        cache: Cache,
        progress: Progress,
    }

    impl Fixture {
        fn new(namespaces: &[&str], services: &[&str]) -> Self {
            let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
            let targets = Targets {
                namespaces: set(namespaces),
                services: set(services),
                revision: 2,
            };
            let cache = Cache::default();
            let progress = Progress::new(targets, &cache);
            Self { cache, progress }
        }

        fn send(&mut self, revision: u64, changes: Changes) -> Vec<ServiceItem> {
            let message = WatchResponse {
                revision,
                update: Some(Update::Changes(changes)),
            };
            let delta = self.cache.apply(message).expect("well formed");
            self.progress.apply(delta)
        }

        fn services(&mut self, revision: u64, services: Vec<Service>) -> Vec<ServiceItem> {
            self.send(
                revision,
                Changes {
                    services,
                    ..Changes::default()
                },
            )
        }

        fn namespace(&mut self, revision: u64, state: NamespaceState, services: u32) {
            let namespace = Namespace {
                key: "demo.real".to_owned(),
                namespace: "demo".to_owned(),
                context: "real".to_owned(),
                state: state.into(),
                services,
                failure: (state == NamespaceState::Failed).then(|| Failure {
                    reason: Reason::ForbiddenByCluster.into(),
                    message: "cannot list services".to_owned(),
                    hint: "kubectl auth can-i list services".to_owned(),
                }),
                ..Namespace::default()
            };
            let namespaces = vec![namespace];
            self.send(
                revision,
                Changes {
                    namespaces,
                    ..Changes::default()
                },
            );
        }

        fn missing(&self) -> Missing {
            Missing::of(&self.progress, &self.cache)
        }

        fn is_complete(&self) -> bool {
            self.progress.is_complete(&self.cache)
        }
    }

    fn service(name: &str, state: ServiceState) -> Service {
        Service {
            key: format!("{name}.demo.real"),
            service: name.to_owned(),
            namespace: "demo".to_owned(),
            context: "real".to_owned(),
            state: state.into(),
            reason: if state == ServiceState::Pending {
                "no pod is ready".to_owned()
            } else {
                String::new()
            },
            ..Service::default()
        }
    }

    #[test]
    fn a_namespace_is_complete_when_every_service_it_has_is_here_and_active() {
        let mut fixture = Fixture::new(&["demo.real"], &[]);
        fixture.namespace(2, NamespaceState::Connecting, 0);
        assert!(!fixture.is_complete());
        fixture.namespace(3, NamespaceState::Watching, 2);
        fixture.services(4, vec![service("a", ServiceState::Active)]);
        assert!(!fixture.is_complete(), "the second service is not here yet");
        fixture.services(5, vec![service("b", ServiceState::Pending)]);
        assert!(!fixture.is_complete());
        fixture.services(6, vec![service("b", ServiceState::Active)]);
        assert!(fixture.is_complete());
        assert_eq!(fixture.progress.summary(), "2 services active");
    }

    #[test]
    fn what_was_there_before_the_change_does_not_count() {
        let mut fixture = Fixture::new(&["demo.real"], &[]);
        fixture.namespace(1, NamespaceState::Watching, 0);
        assert!(!fixture.is_complete());
        fixture.namespace(2, NamespaceState::Watching, 0);
        assert!(fixture.is_complete(), "a namespace without services");
    }

    #[test]
    fn a_service_that_cannot_be_forwarded_holds_nothing_up() {
        let mut fixture = Fixture::new(&["demo.real"], &[]);
        fixture.namespace(2, NamespaceState::Watching, 2);
        let services = vec![
            service("a", ServiceState::Active),
            service("dns", ServiceState::Unsupported),
        ];
        fixture.services(3, services);
        assert!(fixture.is_complete());
        assert_eq!(
            fixture.progress.summary(),
            "1 service active, 1 cannot be forwarded"
        );
    }

    #[test]
    fn a_single_service_is_waited_for_by_its_key() {
        let mut fixture = Fixture::new(&[], &["db.demo.real"]);
        let touched = fixture.services(2, vec![service("other", ServiceState::Pending)]);
        assert!(touched.is_empty(), "not asked for");
        assert!(!fixture.is_complete());
        assert_eq!(fixture.missing().causes, ["db.demo.real: not known yet"]);
        fixture.services(3, vec![service("db", ServiceState::Active)]);
        assert!(fixture.is_complete());
    }

    #[test]
    fn a_service_that_vanishes_is_no_longer_waited_for() {
        let mut fixture = Fixture::new(&["demo.real"], &[]);
        fixture.namespace(2, NamespaceState::Watching, 1);
        fixture.services(3, vec![service("a", ServiceState::Pending)]);
        let gone = ObjectRef {
            key: "a.demo.real".to_owned(),
            uid: 0,
        };
        fixture.send(
            4,
            Changes {
                removed_services: vec![gone],
                ..Changes::default()
            },
        );
        fixture.namespace(5, NamespaceState::Watching, 0);
        assert!(fixture.is_complete());
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let mut fixture = Fixture::new(&["demo.real"], &[]);
        fixture.namespace(2, NamespaceState::Watching, 2);
        let services = vec![
            service("a", ServiceState::Active),
            service("b", ServiceState::Pending),
        ];
        fixture.services(3, services);
        let missing = fixture.missing();
        assert_eq!(missing.what, "1 of 2 services is not active");
        assert_eq!(missing.causes, ["b.demo.real: pending: no pod is ready"]);

        fixture.namespace(4, NamespaceState::Failed, 0);
        let missing = fixture.missing();
        assert_eq!(missing.causes[0], "demo.real: cannot list services");
        assert_eq!(missing.hint, "kubectl auth can-i list services");
    }
}
