//! Namespaces, services and forwards as lists show them: the public model with the owner's name, serialized as in REST.

use std::collections::HashSet;
use std::sync::Arc;

use kubefwd_model::entry::{ForwardEntry, NamespaceEntry, ServiceEntry, Totals};
use kubefwd_model::{Counts, Forward, Namespace, Service};
use kubefwd_proto::control::v1 as pb;
use kubefwd_proto::convert::Malformed;
use serde::{Serialize, Serializer};

/// Key and owner: two owners may have the same key.
pub(crate) type Id = (String, u32);

/// A namespace with the sums over its services.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamespaceItem {
    pub(crate) namespace: Namespace,
    /// Sums over its services.
    pub(crate) sums: Counts,
    /// The owner's name.
    pub(crate) owner: String,
}

/// A service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceItem {
    /// The service with its forwards.
    pub(crate) service: Arc<Service>,
    /// The owner's name.
    pub(crate) owner: String,
}

/// A forward.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ForwardItem {
    pub(crate) forward: Forward,
    /// The service that has it.
    pub(crate) service: ServiceItem,
}

/// The user's name, or the uid if the user database does not know it.
pub(crate) fn user_name(user: &str, uid: u32) -> String {
    match user {
        "" => uid.to_string(),
        user => user.to_owned(),
    }
}

// === impl NamespaceItem ===

impl TryFrom<&pb::Namespace> for NamespaceItem {
    type Error = Malformed;

    fn try_from(namespace: &pb::Namespace) -> Result<Self, Malformed> {
        let sums = pb::Counts {
            services: namespace.services,
            services_active: namespace.services_active,
            errors: namespace.errors,
            ..pb::Counts::default()
        };
        Ok(Self {
            sums: sums.into(),
            owner: user_name(&namespace.user, namespace.uid),
            namespace: namespace.try_into()?,
        })
    }
}

impl Serialize for NamespaceItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NamespaceEntry::new(&self.namespace, &self.sums).serialize(serializer)
    }
}

// === impl ServiceItem ===

impl ServiceItem {
    /// Its forwards; the service's own ports first.
    pub(crate) fn forwards(&self) -> Vec<ForwardItem> {
        let mut forwards: Vec<&Forward> = self.service.forwards.iter().collect();
        forwards.sort_by_key(|forward| (forward.pod_address, forward.local_port, &forward.key));
        let item = |forward: &Forward| ForwardItem {
            forward: forward.clone(),
            service: self.clone(),
        };
        forwards.into_iter().map(item).collect()
    }

    /// Its forwards that `now` does not have.
    pub(crate) fn forwards_without(&self, now: &Self) -> Vec<ForwardItem> {
        let now = now.service.forwards.iter();
        let kept: HashSet<&str> = now.map(|forward| forward.key.as_str()).collect();
        let mut lost = self.forwards();
        lost.retain(|item| !kept.contains(item.forward.key.as_str()));
        lost
    }
}

impl TryFrom<&pb::Service> for ServiceItem {
    type Error = Malformed;

    fn try_from(service: &pb::Service) -> Result<Self, Malformed> {
        Ok(Self {
            owner: user_name(&service.user, service.uid),
            service: Arc::new(service.try_into()?),
        })
    }
}

impl Serialize for ServiceItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let forwards = self.service.forwards.iter().map(Totals::from);
        let totals = forwards.fold(Totals::default(), Totals::plus);
        ServiceEntry::new(&self.service, totals, None, |_| None).serialize(serializer)
    }
}

// === impl ForwardItem ===

impl Serialize for ForwardItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ForwardEntry::new(&self.service.service, &self.forward, None).serialize(serializer)
    }
}
