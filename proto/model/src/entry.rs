//! Services, forwards and namespaces as lists show them: the model with its keys, sums and rates, borrowed from a snapshot.
//!
//! These are the documents of REST and of `kubefwdctl -o json`.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Serialize, Serializer};

use crate::{
    ContextName, Counts, Forward, ForwardStatus, HostName, Namespace, NamespaceKey, NamespaceName,
    NamespaceStatus, Service, ServiceKey, ServiceName, Uid,
};

/// The names that the key of a namespace is made of.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamespaceId<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceName,
    /// Its context.
    pub context: &'a ContextName,
}

/// The names that the key of a service is made of.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceId<'a> {
    /// The service.
    pub service_name: &'a ServiceName,
    /// Its namespace.
    #[serde(flatten)]
    pub namespace: NamespaceId<'a>,
}

/// Where a forward listens and which pod serves it. The published contract has ports as text.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Route<'a> {
    /// The pod that serves, or served last; empty while none is known.
    pub pod_name: &'a str,
    /// The address it listens on.
    #[serde(rename = "localIP")]
    pub local_ip: Ipv4Addr,
    /// The port it listens on.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub local_port: u16,
    /// The pod's port; 0 while unknown.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub pod_port: u16,
}

/// What a service moved, or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Totals {
    /// Bytes from pods, including pods that are gone.
    #[serde(rename = "totalBytesIn")]
    pub bytes_in: u64,
    /// Bytes to pods, including pods that are gone.
    #[serde(rename = "totalBytesOut")]
    pub bytes_out: u64,
}

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bytes {
    /// From pods.
    pub bytes_in: u64,
    /// To pods.
    pub bytes_out: u64,
}

/// Bytes per second in both directions, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rates {
    /// From pods.
    pub rate_in: f64,
    /// To pods.
    pub rate_out: f64,
}

/// Bytes per second of one forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForwardRates {
    /// Now.
    #[serde(flatten)]
    pub now: Rates,
    /// From the pod, over ten seconds.
    pub avg_rate_in: f64,
    /// To the pod, over ten seconds.
    pub avg_rate_out: f64,
}

/// A service with its sums and forwards.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceEntry<'a> {
    /// `service.namespace.context`, or `pod.service.namespace.context` for one pod of a headless service.
    pub key: Key<'a>,
    #[serde(flatten)]
    id: ServiceId<'a>,
    /// The uid of the user who forwards it.
    owner: Uid,
    #[serde(flatten)]
    service: &'a Service,
    /// Forwards that are active.
    active_count: usize,
    /// Forwards in error.
    error_count: usize,
    #[serde(flatten)]
    totals: Totals,
    #[serde(flatten)]
    rates: Option<Rates>,
    /// Its address, once it has one.
    #[serde(rename = "localIP", skip_serializing_if = "Option::is_none")]
    local_ip: Option<Ipv4Addr>,
    /// Names that resolve to that address.
    hostnames: &'a [HostName],
    /// Its forwards, by pod and local port.
    forwards: Vec<ForwardEntry<'a>>,
}

/// A forward with its service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForwardEntry<'a> {
    /// `service.namespace.context`
    service_key: Key<'a>,
    #[serde(flatten)]
    id: ServiceId<'a>,
    /// Belongs to a headless service.
    headless: bool,
    #[serde(flatten)]
    route: Route<'a>,
    #[serde(flatten)]
    forward: &'a Forward,
    #[serde(flatten)]
    rates: Option<ForwardRates>,
    /// TCP.
    protocol: &'static str,
}

/// A namespace with the sums over its services.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamespaceEntry<'a> {
    /// `namespace.context`
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    key: &'a NamespaceKey,
    #[serde(flatten)]
    id: NamespaceId<'a>,
    /// The uid of the user who forwards it.
    owner: Uid,
    /// Its services.
    service_count: usize,
    /// Services that are active or partially active.
    active_count: usize,
    /// Forwards in error, and services in error that have none.
    error_count: usize,
    /// Whether it is watched.
    running: bool,
    #[serde(flatten)]
    details: &'a Namespace,
}

/// The key of a service, or of one pod of a headless one.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The pod.
    pub pod: Option<&'a str>,
    /// The service.
    pub service: &'a ServiceKey,
}

// === impl ServiceEntry ===

impl<'a> ServiceEntry<'a> {
    /// The whole service. `rates` gives the rates of one of its forwards.
    pub fn new(
        service: &'a Service,
        totals: Totals,
        rates: Option<Rates>,
        forward_rates: impl Fn(&Forward) -> Option<ForwardRates>,
    ) -> Self {
        let forwards = service.forwards.iter();
        let (local_ip, hostnames) = match service.address() {
            Some((address, hostnames)) => (Some(address), &**hostnames),
            None => (None, &[][..]),
        };
        Self {
            key: (&service.key).into(),
            id: ServiceId::from(&service.key),
            owner: service.key.uid,
            service,
            active_count: service.count(ForwardStatus::Active),
            error_count: service.count(ForwardStatus::Error),
            totals,
            rates,
            local_ip,
            hostnames,
            forwards: forwards
                .map(|forward| ForwardEntry::new(service, forward, forward_rates(forward)))
                .collect(),
        }
    }

    /// The part of a headless service that is one of its pods, under the key of that pod.
    #[must_use]
    pub fn only_pod(mut self, pod: &'a str, totals: Totals, rates: Option<Rates>) -> Self {
        self.key.pod = Some(pod);
        self.forwards.retain(|entry| entry.forward.pod == pod);
        let count = |status| {
            let has = |entry: &&ForwardEntry<'_>| entry.forward.status == status;
            self.forwards.iter().filter(has).count()
        };
        self.active_count = count(ForwardStatus::Active);
        self.error_count = count(ForwardStatus::Error);
        (self.totals, self.rates) = (totals, rates);
        let own = self.forwards.iter().find(|entry| entry.forward.pod_address);
        if let Some(ForwardEntry { forward, .. }) = own {
            self.local_ip = Some(forward.address);
            self.hostnames = &forward.hostnames;
        }
        self
    }
}

// === impl ForwardEntry ===

impl<'a> ForwardEntry<'a> {
    /// A forward of `service`.
    pub fn new(service: &'a Service, forward: &'a Forward, rates: Option<ForwardRates>) -> Self {
        Self {
            service_key: (&service.key).into(),
            id: ServiceId::from(&service.key),
            headless: service.headless,
            route: forward.into(),
            forward,
            rates,
            protocol: "TCP",
        }
    }
}

// === impl NamespaceEntry ===

impl<'a> NamespaceEntry<'a> {
    /// A namespace with the sums over its services.
    pub fn new(namespace: &'a Namespace, sums: &Counts) -> Self {
        let key = &namespace.key;
        Self {
            key,
            id: key.into(),
            owner: key.uid,
            service_count: sums.services,
            active_count: sums.services_active,
            error_count: sums.errors,
            running: namespace.status == NamespaceStatus::Watching,
            details: namespace,
        }
    }
}

impl<'a> From<&'a NamespaceKey> for NamespaceId<'a> {
    fn from(key: &'a NamespaceKey) -> Self {
        Self {
            namespace: &key.namespace,
            context: &key.context,
        }
    }
}

impl<'a> From<&'a ServiceKey> for ServiceId<'a> {
    fn from(key: &'a ServiceKey) -> Self {
        Self {
            service_name: &key.service,
            namespace: NamespaceId {
                namespace: &key.namespace,
                context: &key.context,
            },
        }
    }
}

impl<'a> From<&'a Forward> for Route<'a> {
    fn from(forward: &'a Forward) -> Self {
        Self {
            pod_name: &forward.pod,
            local_ip: forward.address,
            local_port: forward.local_port,
            pod_port: forward.pod_port,
        }
    }
}

// === impl Totals ===

impl Totals {
    /// The sum of both; workers say how much it was, so it saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
        }
    }
}

impl From<&Forward> for Totals {
    fn from(forward: &Forward) -> Self {
        Self {
            bytes_in: forward.traffic.bytes_in,
            bytes_out: forward.traffic.bytes_out,
        }
    }
}

// === impl Rates ===

impl Rates {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rate_in: self.rate_in + other.rate_in,
            rate_out: self.rate_out + other.rate_out,
        }
    }
}

// === impl Key ===

impl<'a> From<&'a ServiceKey> for Key<'a> {
    fn from(service: &'a ServiceKey) -> Self {
        Self { pod: None, service }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pod) = self.pod {
            write!(f, "{pod}.")?;
        }
        self.service.fmt(f)
    }
}

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(crate) fn as_text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
