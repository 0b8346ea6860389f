//! Addresses: one per service, or per pod of a headless service, and always the same one.
//!
//! The numbering is kubefwd's: `127.(1+context).(27+namespace).(1+n)`, contexts and namespaces
//! counted in the order of their first use. Where a namespace outgrows its block of 254 it gets
//! further blocks, beginning in the upper half of the range where no numbering points.
//!
//! An address belongs to its unit from the first [`AddressPool::assign`] on. After
//! [`AddressPool::release`] it is remembered and comes back to the same unit, until the range (or
//! a user's share of what is remembered) is used up: then the longest unused goes first.

mod blocks;
mod memory;
mod numbering;
mod pool;
mod range;
mod reservations;
mod saved;

pub use pool::{AddressPool, Exhausted};
pub use range::{API_ADDRESS, AddressRange, RangeError, Unusable};
pub use reservations::{Reservation, ReserveError, Target};
pub use saved::{SavedAddresses, SavedNamespace, SavedUnit};
