//! A desired namespace of a context.

use std::collections::{BTreeMap, HashMap};

use kubefwd_proto::common::v1::Balance;
use kubefwd_proto::worker::v1::DesiredNamespace;
use tokio_util::task::AbortOnDropHandle;

use crate::event_loop::balance;
use crate::forward::route::ConnectionPolicy;
use crate::watch::Spec;

/// A desired namespace and its watch.
pub(super) struct WatchedNamespace {
    pub(super) spec: Spec,
    balance: Balance,
    /// Services with a balance of their own.
    balances: BTreeMap<String, Balance>,
    /// Services with a capture setting of their own.
    capture: HashMap<String, bool>,
    /// `None` while the cluster is unknown.
    pub(super) watch: Option<AbortOnDropHandle<()>>,
}

impl WatchedNamespace {
    pub(super) fn new(context: &str, wanted: DesiredNamespace) -> Self {
        let own = |service: i32| match balance(service) {
            Balance::Unspecified => balance(wanted.balance),
            own => own,
        };
        let services = wanted.services.iter();
        let services = services.map(|service| (service.name.clone(), own(service.balance)));
        Self {
            balance: balance(wanted.balance),
            balances: services.collect(),
            capture: wanted.capture,
            spec: Spec {
                context: context.to_owned(),
                namespace: wanted.name,
                selection: wanted.selection,
                names: wanted.services.into_iter().map(|s| s.name).collect(),
                generation: wanted.generation,
            },
            watch: None,
        }
    }

    /// The settings for new connections of a service; `capture` is the default.
    pub(super) fn policy(&self, service: &str, capture: bool) -> ConnectionPolicy {
        ConnectionPolicy {
            balance: self.balances.get(service).copied().unwrap_or(self.balance),
            capture: self.capture.get(service).copied().unwrap_or(capture),
        }
    }
}
