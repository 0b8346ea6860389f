//! Services and their sums.

use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::forwards::Forward;
use super::non_empty;
use crate::core::names::HostName;
use crate::core::state::{ForwardState, ForwardView, ServiceState, ServiceView};
use crate::telemetry::meters::{Rates, Reading, Totals};

/// The state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ServiceStatus {
    /// Every forward is active.
    Active,
    /// None works, or it cannot be forwarded at all.
    Error,
    /// Some forwards are active, some are not.
    Partial,
    /// Being set up, or no pod is ready.
    Pending,
}

/// Sums over services.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Services.
    #[schema(example = 3)]
    pub(crate) total_services: usize,
    /// Services that are active or partly so.
    #[schema(example = 2)]
    pub(crate) active_services: usize,
    /// Forwards.
    #[schema(example = 4)]
    pub(crate) total_forwards: usize,
    /// Forwards that are active.
    #[schema(example = 3)]
    pub(crate) active_forwards: usize,
    /// Forwards in error, and services in error that have none.
    #[schema(example = 1)]
    pub(crate) error_count: usize,
    /// Bytes from pods.
    #[schema(example = 1048576)]
    pub(crate) total_bytes_in: u64,
    /// Bytes to pods.
    #[schema(example = 524288)]
    pub(crate) total_bytes_out: u64,
    /// Bytes per second from pods, now.
    #[schema(example = 1024.0)]
    pub(crate) rate_in: f64,
    /// Bytes per second to pods, now.
    #[schema(example = 512.0)]
    pub(crate) rate_out: f64,
}

/// A service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    /// `service.namespace.context`
    #[schema(example = "api.shop.kind")]
    key: String,
    /// Its name.
    #[schema(example = "api")]
    service_name: String,
    /// Its namespace.
    #[schema(example = "shop")]
    namespace: String,
    /// Its context.
    #[schema(example = "kind")]
    context: String,
    /// The number of the user who forwards it.
    #[schema(example = 1000)]
    owner: u32,
    /// Has no cluster address: each pod has an address of its own.
    #[schema(example = false)]
    headless: bool,
    /// How it is.
    status: ServiceStatus,
    /// Why it is not (fully) active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "no pod is ready")]
    status_reason: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "see its pods with kubectl")]
    hint: Option<String>,
    /// Forwards that are active.
    #[schema(example = 1)]
    active_count: usize,
    /// Forwards in error.
    #[schema(example = 0)]
    error_count: usize,
    /// Bytes from pods, also from those that are gone.
    #[schema(example = 2048)]
    total_bytes_in: u64,
    /// Bytes to pods, also to those that are gone.
    #[schema(example = 512)]
    total_bytes_out: u64,
    /// Bytes per second from pods, now.
    #[schema(example = 10.5)]
    rate_in: f64,
    /// Bytes per second to pods, now.
    #[schema(example = 1.5)]
    rate_out: f64,
    /// Its address.
    #[serde(rename = "localIP", skip_serializing_if = "Option::is_none")]
    #[schema(example = "127.1.27.1")]
    local_ip: Option<String>,
    /// Names that lead to that address.
    #[schema(example = json!(["api", "api.shop"]))]
    hostnames: Vec<String>,
    /// Its forwards, by pod and port.
    forwards: Vec<Forward>,
}

/// Services and their sums.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceList {
    /// The services, by context, namespace and name.
    pub(crate) services: Vec<Service>,
    /// The sums over all that match, not only over this page.
    pub(crate) summary: Summary,
}

/// Something that was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Removed {
    /// True.
    #[schema(example = true)]
    pub(crate) removed: bool,
    /// What was removed.
    #[schema(example = "api.shop.kind")]
    pub(crate) key: String,
    /// The same in a sentence.
    #[schema(example = "api.shop.kind is not forwarded any more")]
    pub(crate) message: String,
}

/// Services whose tunnels are opened anew.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reconnected {
    /// How many.
    #[schema(example = 1)]
    pub(crate) triggered: usize,
    /// Their keys.
    #[schema(example = json!(["api.shop.kind"]))]
    pub(crate) services: Vec<String>,
}

/// A service that is looked at afresh.
#[derive(Serialize, ToSchema)]
pub(crate) struct Synced {
    /// Its key.
    #[schema(example = "api.shop.kind")]
    pub(crate) service: String,
    /// Whether its tunnels are opened anew, too.
    #[schema(example = false)]
    pub(crate) force: bool,
}

// === impl ServiceStatus ===

impl From<ServiceState> for ServiceStatus {
    fn from(state: ServiceState) -> Self {
        match state {
            ServiceState::Pending => Self::Pending,
            ServiceState::Active => Self::Active,
            ServiceState::Partial => Self::Partial,
            ServiceState::Error | ServiceState::Unsupported => Self::Error,
        }
    }
}

impl ServiceStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Error => "error",
            Self::Partial => "partial",
            Self::Pending => "pending",
        }
    }
}

impl FromStr for ServiceStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "active" => Ok(Self::Active),
            "error" => Ok(Self::Error),
            "partial" => Ok(Self::Partial),
            "pending" => Ok(Self::Pending),
            _ => Err(format!(
                "{text:?} is none of active, error, partial, pending"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for ServiceStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

// === impl Summary ===

impl Summary {
    /// Adds a service with all of its forwards.
    pub(crate) fn add(&mut self, service: &ServiceView, meters: &Reading<'_>) {
        let (totals, rates) = meters.service(service);
        self.count(service, service.forwards.iter(), totals, rates);
        if service.forwards.is_empty() && service.state == ServiceState::Error {
            self.error_count += 1;
        }
    }

    /// Adds some forwards of a service.
    pub(crate) fn add_forwards<'a>(
        &mut self,
        service: &ServiceView,
        forwards: impl Iterator<Item = &'a ForwardView> + Clone,
        meters: &Reading<'_>,
    ) {
        let (mut totals, mut rates) = (Totals::default(), Rates::default());
        for forward in forwards.clone() {
            let traffic = &forward.traffic;
            let moved = Totals {
                bytes_in: traffic.bytes_in,
                bytes_out: traffic.bytes_out,
            };
            totals = totals.plus(moved);
            rates = rates.plus(meters.forward_rates(&service.key, forward));
        }
        self.count(service, forwards, totals, rates);
    }

    fn count<'a>(
        &mut self,
        service: &ServiceView,
        forwards: impl Iterator<Item = &'a ForwardView>,
        totals: Totals,
        rates: Rates,
    ) {
        self.total_services += 1;
        if matches!(service.state, ServiceState::Active | ServiceState::Partial) {
            self.active_services += 1;
        }
        for forward in forwards {
            self.total_forwards += 1;
            match forward.state {
                ForwardState::Active => self.active_forwards += 1,
                ForwardState::Error { .. } => self.error_count += 1,
                ForwardState::Pending | ForwardState::Connecting | ForwardState::Stopping => {}
            }
        }
        self.total_bytes_in = self.total_bytes_in.saturating_add(totals.bytes_in);
        self.total_bytes_out = self.total_bytes_out.saturating_add(totals.bytes_out);
        self.rate_in += rates.rate_in;
        self.rate_out += rates.rate_out;
    }
}

// === impl Service ===

impl Service {
    pub(crate) fn new(service: &ServiceView, meters: &Reading<'_>) -> Self {
        let (totals, rates) = meters.service(service);
        let (local_ip, hostnames) = address_of(service);
        let mut summary = Summary::default();
        summary.count(service, service.forwards.iter(), totals, rates);
        Self {
            key: service.key.to_string(),
            service_name: service.key.service.to_string(),
            namespace: service.key.namespace.to_string(),
            context: service.key.context.to_string(),
            owner: service.key.uid,
            headless: service.headless,
            status: service.state.into(),
            status_reason: non_empty(&service.reason),
            hint: non_empty(&service.hint),
            active_count: summary.active_forwards,
            error_count: summary.error_count,
            total_bytes_in: totals.bytes_in,
            total_bytes_out: totals.bytes_out,
            rate_in: rates.rate_in,
            rate_out: rates.rate_out,
            local_ip,
            hostnames,
            forwards: service
                .forwards
                .iter()
                .map(|f| Forward::new(service, f, meters))
                .collect(),
        }
    }

    /// The part of a headless service that is one of its pods, under the key of that pod.
    pub(crate) fn of_pod(service: &ServiceView, pod: &str, meters: &Reading<'_>) -> Self {
        let forwards = service
            .forwards
            .iter()
            .filter(|forward| forward.pod == pod)
            .cloned();
        let part = ServiceView {
            forwards: forwards.collect(),
            ..service.clone()
        };
        let mut shown = Self::new(&part, meters);
        let mut summary = Summary::default();
        summary.add_forwards(&part, part.forwards.iter(), meters);
        shown.key = format!("{pod}.{}", service.key);
        (shown.total_bytes_in, shown.total_bytes_out) =
            (summary.total_bytes_in, summary.total_bytes_out);
        (shown.rate_in, shown.rate_out) = (summary.rate_in, summary.rate_out);
        if let Some(own) = part.forwards.iter().find(|forward| forward.pod_address) {
            shown.local_ip = Some(own.address.to_string());
            shown.hostnames = HostName::texts(&own.hostnames);
        }
        shown
    }
}

/// The address of a service and the names that lead there; of a headless one those of its first pod.
pub(crate) fn address_of(service: &ServiceView) -> (Option<String>, Vec<String>) {
    match (service.address, service.forwards.first()) {
        (Some(address), _) => (
            Some(address.to_string()),
            HostName::texts(&service.hostnames),
        ),
        (None, Some(first)) => (
            Some(first.address.to_string()),
            HostName::texts(&first.hostnames),
        ),
        (None, None) => (None, Vec::new()),
    }
}
