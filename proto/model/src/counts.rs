//! Sums over services.

use serde::Serialize;

use crate::entry::Totals;
use crate::{Forward, ForwardStatus, Service, ServiceStatus};

/// Sums over many services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Namespaces that were asked for.
    #[serde(skip)]
    pub namespaces: usize,
    /// Services, including those that cannot be forwarded.
    #[serde(rename = "totalServices")]
    pub services: usize,
    /// Services that are active or partially active.
    #[serde(rename = "activeServices")]
    pub services_active: usize,
    /// Listening ports.
    #[serde(rename = "totalForwards")]
    pub forwards: usize,
    /// Listening ports with a ready pod.
    #[serde(rename = "activeForwards")]
    pub forwards_active: usize,
    /// Forwards in error, services in error that have none, and failed namespaces.
    #[serde(rename = "errorCount")]
    pub errors: usize,
    /// Bytes moved.
    #[serde(flatten)]
    pub totals: Totals,
}

// === impl Counts ===

impl Counts {
    /// Adds one service with all of its forwards.
    pub fn add(&mut self, service: &Service) {
        self.add_forwards(service, &service.forwards);
        if service.forwards.is_empty() && service.status == ServiceStatus::Error {
            self.errors += 1;
        }
    }

    /// Adds one service with only these of its forwards.
    pub fn add_forwards<'a>(
        &mut self,
        service: &Service,
        forwards: impl IntoIterator<Item = &'a Forward>,
    ) {
        self.services += 1;
        self.services_active += usize::from(service.is_active());
        for forward in forwards {
            self.forwards += 1;
            match forward.status {
                ForwardStatus::Active => self.forwards_active += 1,
                ForwardStatus::Error => self.errors += 1,
                ForwardStatus::Pending | ForwardStatus::Connecting | ForwardStatus::Stopping => {}
            }
            self.totals = self.totals.plus(forward.into());
        }
    }
}
