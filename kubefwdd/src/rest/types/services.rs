//! Services and their sums.

use kubefwd_model as model;
use kubefwd_model::{ForwardStatus, HostName, ServiceStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::meters::Reading;
use kubefwd_model::entry::{Rates, ServiceEntry, Totals};

/// Service totals.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Services.
    #[schema(example = 3)]
    pub(crate) total_services: usize,
    /// Services that are active or partially active.
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

/// Services and their totals.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceList<'a> {
    /// The services, by context, namespace and name.
    pub(crate) services: Vec<ServiceEntry<'a>>,
    /// Totals over everything that matches, not only this page.
    pub(crate) summary: Summary,
}

/// Something that was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Removed {
    /// Always true.
    #[schema(example = true)]
    pub(crate) removed: bool,
    /// What was removed.
    #[schema(example = "api.shop.kind")]
    pub(crate) key: String,
    /// The same as a sentence.
    #[schema(example = "api.shop.kind is no longer forwarded")]
    pub(crate) message: String,
}

/// Services whose tunnels are being reopened.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reconnected {
    /// How many.
    #[schema(example = 1)]
    pub(crate) triggered: usize,
    /// Their keys.
    #[schema(example = json!(["api.shop.kind"]))]
    pub(crate) services: Vec<String>,
}

/// A service that is being synced.
#[derive(Serialize, ToSchema)]
pub(crate) struct Synced {
    /// Its key.
    #[schema(example = "api.shop.kind")]
    pub(crate) service: String,
    /// Whether its tunnels are reopened too.
    #[schema(example = false)]
    pub(crate) force: bool,
}

// === impl Summary ===

impl Summary {
    /// Adds a service with all of its forwards.
    pub(crate) fn add(&mut self, service: &model::Service, meters: &Reading<'_>) {
        let (totals, rates) = meters.service(service);
        self.count(service, service.forwards.iter(), totals, rates);
        if service.forwards.is_empty() && service.status == ServiceStatus::Error {
            self.error_count += 1;
        }
    }

    /// Adds some forwards of a service.
    pub(crate) fn add_forwards<'a>(
        &mut self,
        service: &model::Service,
        forwards: impl Iterator<Item = &'a model::Forward> + Clone,
        meters: &Reading<'_>,
    ) {
        let (mut totals, mut rates) = (Totals::default(), Rates::default());
        for forward in forwards.clone() {
            totals = totals.plus(forward.into());
            rates = rates.plus(meters.forward_rates(&service.key, forward).now);
        }
        self.count(service, forwards, totals, rates);
    }

    fn count<'a>(
        &mut self,
        service: &model::Service,
        forwards: impl Iterator<Item = &'a model::Forward>,
        totals: Totals,
        rates: Rates,
    ) {
        self.total_services += 1;
        self.active_services += usize::from(service.is_active());
        for forward in forwards {
            self.total_forwards += 1;
            match forward.status {
                ForwardStatus::Active => self.active_forwards += 1,
                ForwardStatus::Error => self.error_count += 1,
                ForwardStatus::Pending | ForwardStatus::Connecting | ForwardStatus::Stopping => {}
            }
        }
        self.total_bytes_in = self.total_bytes_in.saturating_add(totals.bytes_in);
        self.total_bytes_out = self.total_bytes_out.saturating_add(totals.bytes_out);
        self.rate_in += rates.rate_in;
        self.rate_out += rates.rate_out;
    }
}

/// A service with its rates.
pub(crate) fn service_entry<'a>(
    service: &'a model::Service,
    meters: &Reading<'_>,
) -> ServiceEntry<'a> {
    let (totals, rates) = meters.service(service);
    ServiceEntry::new(service, totals, Some(rates), |forward| {
        Some(meters.forward_rates(&service.key, forward))
    })
}

/// The part of a headless service that is one of its pods, under the key of that pod.
pub(crate) fn pod_entry<'a>(
    service: &'a model::Service,
    pod: &'a str,
    meters: &Reading<'_>,
) -> ServiceEntry<'a> {
    let of_pod = service.forwards.iter().filter(|forward| forward.pod == pod);
    let (mut totals, mut rates) = (Totals::default(), Rates::default());
    for forward in of_pod {
        totals = totals.plus(forward.into());
        rates = rates.plus(meters.forward_rates(&service.key, forward).now);
    }
    service_entry(service, meters).only_pod(pod, totals, Some(rates))
}

/// The address of a service and the names that resolve to it; of a headless one those of its first pod.
pub(crate) fn address_of(service: &model::Service) -> (Option<String>, Vec<String>) {
    match service.address() {
        Some((address, names)) => (Some(address.to_string()), HostName::texts(names)),
        None => (None, Vec::new()),
    }
}
