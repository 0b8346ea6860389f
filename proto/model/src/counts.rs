//! Sums over services.

use crate::{ForwardStatus, Service, ServiceStatus};

/// Sums over many services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Namespaces that were asked for.
    pub namespaces: usize,
    /// Services, including those that cannot be forwarded.
    pub services: usize,
    /// Services that are active or partly so.
    pub services_active: usize,
    /// Listening ports.
    pub forwards: usize,
    /// Listening ports with a ready pod.
    pub forwards_active: usize,
    /// Forwards in error, services in error that have none, and failed namespaces.
    pub errors: usize,
    /// Bytes from pods.
    pub bytes_in: u64,
    /// Bytes to pods.
    pub bytes_out: u64,
}

// === impl Counts ===

impl Counts {
    /// Adds one service.
    pub fn add(&mut self, service: &Service) {
        self.services += 1;
        self.services_active += usize::from(service.is_active());
        for forward in &service.forwards {
            self.forwards += 1;
            match forward.status {
                ForwardStatus::Active => self.forwards_active += 1,
                ForwardStatus::Error => self.errors += 1,
                ForwardStatus::Pending | ForwardStatus::Connecting | ForwardStatus::Stopping => {}
            }
            // The numbers come from workers, which are not trusted.
            self.bytes_in = self.bytes_in.saturating_add(forward.traffic.bytes_in);
            self.bytes_out = self.bytes_out.saturating_add(forward.traffic.bytes_out);
        }
        if service.forwards.is_empty() && service.status == ServiceStatus::Error {
            self.errors += 1;
        }
    }
}
