//! Services and their sums.

use std::time::SystemTime;

use kubefwd_core::policy::Actor;
use kubefwd_model as model;
use kubefwd_model::Counts;
use kubefwd_model::entry::{Rates, ServiceEntry, Totals};
use kubefwd_telemetry::meters::Reading;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::Control;
use crate::keys;

/// Sums over services.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) counts: Counts,
    #[serde(flatten)]
    pub(crate) rates: Rates,
}

/// Services and their sums.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceList {
    /// The services, by context, namespace and name.
    #[schema(value_type = Vec<ServiceEntry<'static>>)]
    pub(crate) services: [(); 0],
    /// Sums over everything that matches, not only this page.
    pub(crate) summary: Summary,
}

/// Something that was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Removed {
    /// Always true.
    pub(crate) removed: bool,
    /// What was removed.
    pub(crate) key: String,
    /// The same as a sentence.
    pub(crate) message: String,
}

/// Services whose tunnels are being reopened.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reconnected {
    /// How many.
    pub(crate) triggered: usize,
    /// Their keys.
    pub(crate) services: Vec<String>,
}

/// A service that is being synced.
#[derive(Serialize, ToSchema)]
pub(crate) struct Synced {
    /// Its key.
    pub(crate) service: String,
    /// Whether its tunnels are reopened too.
    pub(crate) force: bool,
}

// === impl Removed ===

impl Removed {
    pub(crate) fn new(key: &impl ToString) -> Self {
        let key = key.to_string();
        Self {
            removed: true,
            message: format!("{key} is no longer forwarded"),
            key,
        }
    }
}

// === impl Summary ===

impl Summary {
    /// The sums over everything that an actor sees.
    pub(crate) fn of(control: &dyn Control, actor: &Actor) -> Self {
        let view = control.view();
        let meters = control.telemetry().meters.read(SystemTime::now());
        let mut sums = Self::default();
        keys::visible(&view, actor).for_each(|service| sums.add(service, &meters));
        sums
    }

    /// Adds a service with all of its forwards.
    pub(crate) fn add(&mut self, service: &model::Service, meters: &Reading<'_>) {
        let (totals, rates) = meters.service(service);
        let before = self.counts.totals;
        self.counts.add(service);
        // Forwards know only their own bytes, the meters also those of forwards that are gone.
        self.counts.totals = before.plus(totals);
        self.rates = self.rates.plus(rates);
    }

    /// Adds only these forwards of a service.
    pub(crate) fn add_forwards<'a>(
        &mut self,
        service: &model::Service,
        forwards: impl Iterator<Item = &'a model::Forward> + Clone,
        meters: &Reading<'_>,
    ) {
        self.counts.add_forwards(service, forwards.clone());
        for forward in forwards {
            let rates = meters.forward_rates(&service.key, forward);
            self.rates = self.rates.plus(rates.now);
        }
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

/// One pod of a headless service, under the key of that pod.
pub(crate) fn pod_entry<'a>(
    service: &'a model::Service,
    pod: &'a str,
    meters: &Reading<'_>,
) -> ServiceEntry<'a> {
    let (mut totals, mut rates) = (Totals::default(), Rates::default());
    for forward in service.forwards.iter().filter(|forward| forward.pod == pod) {
        totals = totals.plus(forward.into());
        rates = rates.plus(meters.forward_rates(&service.key, forward).now);
    }
    service_entry(service, meters).only_pod(pod, totals, Some(rates))
}
