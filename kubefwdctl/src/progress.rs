//! Tracks how far the requested services have come up: the pure part of `--wait` and `--attach`.

use std::collections::{BTreeMap, BTreeSet};

use kubefwd_proto::control::v1::{NamespaceState, Service, ServiceState};

use crate::mirror::{Delta, Id, Mirror};

/// What was requested, by the keys that the daemon returned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    /// Keys of namespaces: all their services count.
    pub(crate) namespaces: BTreeSet<String>,
    /// Keys of single services.
    pub(crate) services: BTreeSet<String>,
    /// The first revision at which all of it can be seen.
    pub(crate) revision: u64,
}

impl Targets {
    fn covers(&self, service: &Service) -> bool {
        self.services.contains(&service.key) || self.namespaces.contains(&namespace_key(service))
    }

    /// All keys, for messages.
    pub(crate) fn keys(&self) -> String {
        let keys: Vec<&str> = self
            .namespaces
            .iter()
            .chain(&self.services)
            .map(String::as_str)
            .collect();
        keys.join(", ")
    }
}

fn namespace_key(service: &Service) -> String {
    format!("{}.{}", service.namespace, service.context)
}

/// Services that need no more waiting: active, or impossible.
fn is_settled(state: ServiceState) -> bool {
    matches!(state, ServiceState::Active | ServiceState::Unsupported)
}

/// Counts services by state; each update costs only what changed, so that ten thousand can come up one by one.
#[derive(Debug)]
pub(crate) struct Progress {
    targets: Targets,
    states: BTreeMap<Id, (String, ServiceState)>,
    /// Services seen per namespace key.
    seen: BTreeMap<String, u32>,
    unsettled: usize,
}

impl Progress {
    /// Starts from what the mirror holds.
    pub(crate) fn new(targets: Targets, mirror: &Mirror) -> Self {
        let mut progress = Self {
            targets,
            states: BTreeMap::new(),
            seen: BTreeMap::new(),
            unsettled: 0,
        };
        for (id, service) in &mirror.services {
            progress.put(id, service);
        }
        progress
    }

    /// Applies a change; returns the ids of the targets' services in it.
    pub(crate) fn apply(&mut self, delta: &Delta, mirror: &Mirror) -> Vec<Id> {
        for service in &delta.removed_services {
            self.remove(&(service.key.clone(), service.uid));
        }
        let mut touched = Vec::new();
        for (id, _) in &delta.services {
            let Some(service) = mirror.services.get(id) else {
                continue;
            };
            if self.put(id, service) {
                touched.push(id.clone());
            }
        }
        touched
    }

    fn put(&mut self, id: &Id, service: &Service) -> bool {
        if !self.targets.covers(service) {
            return false;
        }
        self.remove(id);
        let key = namespace_key(service);
        *self.seen.entry(key.clone()).or_default() += 1;
        self.unsettled += usize::from(!is_settled(service.state()));
        self.states.insert(id.clone(), (key, service.state()));
        true
    }

    fn remove(&mut self, id: &Id) {
        let Some((key, state)) = self.states.remove(id) else {
            return;
        };
        self.unsettled -= usize::from(!is_settled(state));
        if let Some(seen) = self.seen.get_mut(&key) {
            *seen -= 1;
        }
    }

    /// Whether every requested service is known, and active or impossible.
    pub(crate) fn is_complete(&self, mirror: &Mirror) -> bool {
        mirror.revision >= self.targets.revision
            && self.unsettled == 0
            && self.targets.services.iter().all(|key| self.knows(key))
            && self
                .targets
                .namespaces
                .iter()
                .all(|key| self.is_listed(key, mirror))
    }

    fn knows(&self, key: &str) -> bool {
        self.states
            .range((key.to_owned(), 0)..)
            .next()
            .is_some_and(|((found, _), _)| found == key)
    }

    /// The cluster has listed the services of the namespace, and all of them are here.
    fn is_listed(&self, key: &str, mirror: &Mirror) -> bool {
        let seen = self.seen.get(key).copied().unwrap_or(0);
        mirror
            .namespaces
            .range((key.to_owned(), 0)..=(key.to_owned(), u32::MAX))
            .any(|(_, ns)| ns.state() == NamespaceState::Watching && seen >= ns.services)
    }

    /// Ids of the requested services that exist.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &Id> {
        self.states.keys()
    }

    /// Totals for the last line: `11 services active, 1 cannot be forwarded`.
    pub(crate) fn summary(&self) -> String {
        let count = |wanted| {
            self.states
                .values()
                .filter(|(_, state)| *state == wanted)
                .count()
        };
        let mut text = format!("{} active", services(count(ServiceState::Active)));
        let others = [
            (count(ServiceState::Partial), "partially active"),
            (
                count(ServiceState::Pending) + count(ServiceState::Unspecified),
                "pending",
            ),
            (count(ServiceState::Error), "in error"),
            (count(ServiceState::Unsupported), "cannot be forwarded"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            text += &format!(", {count} {what}");
        }
        text
    }

    /// What is missing: a headline, one line for each cause, and the daemon's hint, if any.
    pub(crate) fn missing(&self, mirror: &Mirror) -> Missing {
        let mut causes = Vec::new();
        let mut hint = String::new();
        for key in &self.targets.namespaces {
            if !self.is_listed(key, mirror) {
                let (cause, what_next) = namespace_cause(key, mirror);
                causes.push(cause);
                keep_first(&mut hint, what_next);
            }
        }
        for key in &self.targets.services {
            if !self.knows(key) {
                causes.push(format!("{key}: not known yet"));
            }
        }
        let unknown = causes.len();
        for id in self
            .states
            .iter()
            .filter(|(_, (_, state))| !is_settled(*state))
            .map(|(id, _)| id)
        {
            let Some(service) = mirror.services.get(id) else {
                continue;
            };
            causes.push(format!("{}: {}", service.key, explain(service)));
            keep_first(&mut hint, service.hint.clone());
        }
        let what = match (unknown, self.unsettled) {
            (0, 0) => format!("{} did not come up", self.targets.keys()),
            (0, unsettled) => format!(
                "{unsettled} of {} {} not active",
                services(self.states.len()),
                if unsettled == 1 { "is" } else { "are" }
            ),
            (_, 0) => format!("{} is not fully forwarded", self.targets.keys()),
            (_, unsettled) => format!(
                "{} is not fully forwarded, and {unsettled} of {} not active",
                self.targets.keys(),
                services(self.states.len())
            ),
        };
        Missing { what, causes, hint }
    }
}

/// What `--wait` did not see in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The headline, without the time.
    pub(crate) what: String,
    /// One line for each object.
    pub(crate) causes: Vec<String>,
    /// What the daemon suggests; may be empty.
    pub(crate) hint: String,
}

fn namespace_cause(key: &str, mirror: &Mirror) -> (String, String) {
    let found = mirror
        .namespaces
        .range((key.to_owned(), 0)..=(key.to_owned(), u32::MAX))
        .next();
    let Some((_, namespace)) = found else {
        return (format!("{key}: no longer forwarded"), String::new());
    };
    let failure = namespace.failure.clone().unwrap_or_default();
    let cause = match namespace.state() {
        NamespaceState::Failed => failure.message,
        NamespaceState::Connecting | NamespaceState::Unspecified => {
            "waiting for the cluster's service list".to_owned()
        }
        NamespaceState::Watching => "some of its services are not set up yet".to_owned(),
    };
    (format!("{key}: {cause}"), failure.hint)
}

/// `pending: no pod is ready`.
pub(crate) fn explain(service: &Service) -> String {
    let state = crate::output::shape::service_status(service.state());
    match service.reason.as_str() {
        "" => state.to_owned(),
        reason => format!("{state}: {reason}"),
    }
}

/// `1 service`, `11 services`.
pub(crate) fn services(count: usize) -> String {
    if count == 1 {
        "1 service".to_owned()
    } else {
        format!("{count} services")
    }
}

fn keep_first(hint: &mut String, other: String) {
    if hint.is_empty() {
        *hint = other;
    }
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::common::v1::Failure;
    use kubefwd_proto::control::v1::watch_response::Update;
    use kubefwd_proto::control::v1::{Changes, Namespace, ObjectRef, WatchResponse};

    use super::*;

    struct Fixture {
        mirror: Mirror,
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
            let mirror = Mirror::default();
            let progress = Progress::new(targets, &mirror);
            Self { mirror, progress }
        }

        fn send(&mut self, revision: u64, changes: Changes) -> Vec<Id> {
            let delta = self.mirror.apply(WatchResponse {
                revision,
                update: Some(Update::Changes(changes)),
            });
            self.progress.apply(&delta, &self.mirror)
        }

        fn services(&mut self, revision: u64, services: Vec<Service>) -> Vec<Id> {
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
                state: state.into(),
                services,
                failure: (state == NamespaceState::Failed).then(|| Failure {
                    message: "cannot list services".to_owned(),
                    hint: "kubectl auth can-i list services".to_owned(),
                    ..Failure::default()
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

        fn is_complete(&self) -> bool {
            self.progress.is_complete(&self.mirror)
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
        assert_eq!(
            fixture.progress.missing(&fixture.mirror).causes,
            ["db.demo.real: not known yet"]
        );
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
        let missing = fixture.progress.missing(&fixture.mirror);
        assert_eq!(missing.what, "1 of 2 services is not active");
        assert_eq!(missing.causes, ["b.demo.real: pending: no pod is ready"]);

        fixture.namespace(4, NamespaceState::Failed, 0);
        let missing = fixture.progress.missing(&fixture.mirror);
        assert_eq!(missing.causes[0], "demo.real: cannot list services");
        assert_eq!(missing.hint, "kubectl auth can-i list services");
    }
}
