//! Faults on demand: of the network between client and pods, of single requests, and of the cluster's components.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

/// Which pods and ports a network fault concerns; what is not named is not restricted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    namespace: Option<String>,
    pod: Option<String>,
    port: Option<u16>,
}

impl Scope {
    /// Every port of every pod.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Restricts to one namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Restricts to one pod, or with `*` at the end to pods whose names begin so.
    #[must_use]
    pub fn pod(mut self, pod: impl Into<String>) -> Self {
        self.pod = Some(pod.into());
        self
    }

    /// Restricts to one port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    pub(crate) fn covers_pod(&self, namespace: &str, pod: &str) -> bool {
        self.namespace.as_ref().is_none_or(|n| n == namespace)
            && self
                .pod
                .as_ref()
                .is_none_or(|pattern| match pattern.strip_suffix('*') {
                    Some(start) => pod.starts_with(start),
                    None => pattern == pod,
                })
    }

    fn covers(&self, namespace: &str, pod: &str, port: Option<u16>) -> bool {
        self.covers_pod(namespace, pod) && (self.port.is_none() || self.port == port)
    }
}

/// What is wrong between the container runtime and an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFault {
    /// Every chunk from the application reaches the client this much later.
    pub delay: Duration,
    /// Bytes per second, in each direction of each connection.
    pub rate: Option<u64>,
    /// Nothing moves in either direction, silently.
    pub stalled: bool,
    /// New connections are refused as if nothing listened.
    pub refused: bool,
    /// Bit `n`: worker `n` of the five SPDY workers of a connection handles nothing (a stalled partition).
    pub stalled_partitions: u8,
}

/// The present set of network faults.
pub(crate) struct NetworkFaults {
    faults: RwLock<Vec<(Scope, NetworkFault)>>,
    version: AtomicU64,
    changed: watch::Sender<u64>,
}

impl NetworkFaults {
    pub(crate) fn new() -> Self {
        Self {
            faults: RwLock::default(),
            version: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        }
    }

    /// Sets the fault of exactly this scope; a fault without effect removes it.
    pub(crate) fn set(&self, scope: Scope, fault: NetworkFault) {
        {
            let mut faults = self.faults.write().unwrap_or_else(PoisonError::into_inner);
            faults.retain(|(other, _)| *other != scope);
            if fault != NetworkFault::default() {
                faults.push((scope, fault));
            }
        }
        self.announce();
    }

    pub(crate) fn clear(&self) {
        self.faults
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.announce();
    }

    fn announce(&self) {
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.send_replace(version);
    }

    /// Changes whenever faults change; cheap enough to look at for every chunk.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether uploads to some port of the pod are slowed down or stalled.
    pub(crate) fn slows_uploads(&self, namespace: &str, pod: &str) -> bool {
        let faults = self.faults.read().unwrap_or_else(PoisonError::into_inner);
        faults.iter().any(|(scope, fault)| {
            scope.covers_pod(namespace, pod) && (fault.stalled || fault.rate.is_some())
        })
    }

    /// All faults of a port put together; `port` is `None` for what concerns the whole pod.
    pub(crate) fn of(&self, namespace: &str, pod: &str, port: Option<u16>) -> NetworkFault {
        let faults = self.faults.read().unwrap_or_else(PoisonError::into_inner);
        let mut sum = NetworkFault::default();
        for (scope, fault) in faults.iter() {
            if scope.covers(namespace, pod, port) {
                sum.delay = sum.delay.max(fault.delay);
                sum.rate = match (sum.rate, fault.rate) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                sum.stalled |= fault.stalled;
                sum.refused |= fault.refused;
                sum.stalled_partitions |= fault.stalled_partitions;
            }
        }
        sum
    }
}

/// Which requests a request fault concerns; what is not named is not restricted.
#[derive(Debug, Clone, Default)]
pub struct RequestMatch {
    method: Option<String>,
    path_prefix: Option<String>,
    resource: Option<String>,
    verb: Option<String>,
    user: Option<String>,
}

/// A request as far as faults look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestFacts<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) verb: &'a str,
    pub(crate) user: &'a str,
}

impl RequestMatch {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests with this HTTP method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Requests whose path begins so.
    #[must_use]
    pub fn path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.path_prefix = Some(prefix.into());
        self
    }

    /// Requests for a resource, with its subresource after a slash: `services`, `pods/portforward`.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Requests with a verb: `get`, `list`, `watch`, `create`, `delete`.
    #[must_use]
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// Requests of a user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    fn matches(&self, request: RequestFacts<'_>) -> bool {
        let same = |wanted: &Option<String>, got: &str| wanted.as_ref().is_none_or(|w| w == got);
        same(&self.method, request.method)
            && same(&self.resource, request.resource)
            && same(&self.verb, request.verb)
            && same(&self.user, request.user)
            && self
                .path_prefix
                .as_ref()
                .is_none_or(|prefix| request.path.starts_with(prefix))
    }
}

/// What happens to a matched request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEffect {
    /// It is answered with this code and the Status body that belongs to it (401, 403, 404, 429, 5xx).
    Answer(u16),
    /// It is handled this much later.
    Delay(Duration),
    /// It is never answered.
    Hang,
    /// Its connection is closed without an answer.
    Close,
}

struct RequestFault {
    matching: RequestMatch,
    effect: RequestEffect,
    left: Option<u32>,
}

/// The present request faults; the first that matches has its effect.
#[derive(Default)]
pub(crate) struct RequestFaults(RwLock<Vec<RequestFault>>);

impl RequestFaults {
    pub(crate) fn add(&self, matching: RequestMatch, effect: RequestEffect, times: Option<u32>) {
        let fault = RequestFault {
            matching,
            effect,
            left: times,
        };
        let mut faults = self.0.write().unwrap_or_else(PoisonError::into_inner);
        faults.push(fault);
    }

    pub(crate) fn clear(&self) {
        let mut faults = self.0.write().unwrap_or_else(PoisonError::into_inner);
        faults.clear();
    }

    pub(crate) fn take(&self, request: RequestFacts<'_>) -> Option<RequestEffect> {
        {
            let faults = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if faults.is_empty() {
                return None;
            }
        }
        let mut faults = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = faults.iter().position(|f| f.matching.matches(request))?;
        let effect = faults[at].effect;
        if let Some(left) = &mut faults[at].left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                faults.remove(at);
            }
        }
        Some(effect)
    }
}

/// Events that open connections react to; each counts how often it happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// The container runtime went away.
    pub(crate) runtime: u64,
    /// The kubelet restarted.
    pub(crate) kubelet: u64,
    /// Watches were cut: their connections end in the middle of the stream.
    pub(crate) watches: u64,
    /// Watches ended as if their timeout had come.
    pub(crate) watch_timeouts: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_faults_add_up_and_go_away() {
        let faults = NetworkFaults::new();
        let slow = Scope::all().namespace("demo");
        faults.set(
            slow.clone(),
            NetworkFault {
                rate: Some(1000),
                ..NetworkFault::default()
            },
        );
        faults.set(
            Scope::all().pod("web-*").port(80),
            NetworkFault {
                stalled: true,
                rate: Some(10),
                ..NetworkFault::default()
            },
        );
        let fault = faults.of("demo", "web-1", Some(80));
        assert_eq!((fault.rate, fault.stalled), (Some(10), true));
        let fault = faults.of("demo", "web-1", Some(81));
        assert_eq!((fault.rate, fault.stalled), (Some(1000), false));
        assert_eq!(faults.of("other", "db", Some(80)), NetworkFault::default());
        faults.set(slow, NetworkFault::default());
        assert_eq!(faults.of("demo", "db", Some(80)), NetworkFault::default());
    }

    #[test]
    fn a_counted_request_fault_ends() {
        let faults = RequestFaults::default();
        let matching = RequestMatch::any().verb("list").resource("services");
        faults.add(matching, RequestEffect::Answer(429), Some(2));
        let list = RequestFacts {
            method: "GET",
            path: "/api/v1/services",
            resource: "services",
            verb: "list",
            user: "admin",
        };
        let watch = RequestFacts {
            verb: "watch",
            ..list
        };
        assert_eq!(faults.take(watch), None);
        assert_eq!(faults.take(list), Some(RequestEffect::Answer(429)));
        assert_eq!(faults.take(list), Some(RequestEffect::Answer(429)));
        assert_eq!(faults.take(list), None);
    }
}
