//! The pool: who has which address, who had it, and who is to have it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use kubefwd_model::{HostName, NamespaceKey, Uid, UnitKey};

use super::blocks::Blocks;
use super::memory::Memory;
use super::numbering::{Numbering, Numbers, namespace_key};
use super::range::AddressRange;
use super::reservations::{PER_OWNER, Reservation, Reservations, ReserveError, Target};
use super::saved::{SavedAddresses, SavedNamespace, SavedUnit};

/// Every address is in use or reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no address is free in {0}: remove services or reservations, or set addresses.range to a larger network"
)]
pub struct Exhausted(AddressRange);

/// The addresses of a range and their owners.
///
/// No two live units ever have the same address, and a unit that comes back gets the one it had.
#[derive(Debug)]
pub struct AddressPool {
    range: AddressRange,
    numbering: Numbering,
    blocks: Blocks,
    reservations: Reservations,
    memory: Memory,
    units: BTreeMap<Arc<UnitKey>, Assigned>,
    holders: BTreeMap<Ipv4Addr, Arc<UnitKey>>,
    /// How many addresses were shunned.
    shunned: usize,
}

/// The most addresses that may be shunned: whoever takes one after the other does not use up the range.
const MAX_SHUNNED: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Assigned {
    address: Ipv4Addr,
    /// When it was released; `None` while in use.
    released: Option<u64>,
}

impl AddressPool {
    /// An empty pool.
    #[must_use]
    pub fn new(range: AddressRange) -> Self {
        Self {
            range,
            numbering: Numbering::default(),
            blocks: Blocks::new(range),
            reservations: Reservations::default(),
            memory: Memory::default(),
            units: BTreeMap::new(),
            holders: BTreeMap::new(),
            shunned: 0,
        }
    }

    /// Gives the unit its address: the one it has, else the one reserved for it or for one of
    /// `names` (all forms it asks for), else the one it had, else the next free one.
    ///
    /// # Errors
    /// When the range is used up.
    pub fn assign<'a>(
        &mut self,
        unit: &UnitKey,
        names: impl IntoIterator<Item = &'a HostName>,
    ) -> Result<Ipv4Addr, Exhausted> {
        if let Some(address) = self.address(unit) {
            return Ok(address);
        }
        let reserved = self.reservations.find(unit, names);
        let reserved = reserved.filter(|address| match self.holders.get(address) {
            // Two units may match one reservation by name: the first has it, also while it is
            // only remembered and the other has an address of its own to come back to.
            Some(holder) if **holder != *unit => {
                !self.is_live(holder) && !self.units.contains_key(unit)
            }
            _ => true,
        });
        if let Some(address) = self.revive(unit, reserved) {
            return Ok(address);
        }
        self.forget(unit);
        if let Some(address) = reserved {
            self.evict(address);
            self.numbering.enter(unit);
            self.insert(unit, address);
            return Ok(address);
        }
        let Numbers { context, namespace } = self.numbering.enter(unit);
        let numbered = self.range.numbered(context, namespace);
        loop {
            if let Some(address) = self.blocks.take_any(namespace, numbered) {
                self.insert(unit, address);
                return Ok(address);
            }
            let Some(oldest) = self.memory.oldest() else {
                self.numbering.leave(unit);
                return Err(Exhausted(self.range));
            };
            self.forget(&oldest);
        }
    }

    /// Ends the use of the unit's address, which is remembered. False where it had none.
    pub fn release(&mut self, unit: &UnitKey) -> bool {
        let Some((key, assigned)) = self.units.get_key_value(unit) else {
            return false;
        };
        if assigned.released.is_some() {
            return false;
        }
        let moment = self.memory.push(Arc::clone(key));
        if let Some(assigned) = self.units.get_mut(unit) {
            assigned.released = Some(moment);
        }
        if let Some(surplus) = self.memory.surplus(unit.uid) {
            self.forget(&surplus);
        }
        true
    }

    /// Whether the unit could have another address than the one it has.
    #[must_use]
    pub fn can_move(&self, unit: &UnitKey) -> bool {
        let address = self.address(unit);
        let reserved = address.and_then(|address| self.reservations.holder(address));
        address.is_some() && reserved.is_none() && self.shunned < MAX_SHUNNED
    }

    /// Ends the use of the unit's address, which nobody gets again: another program listens there.
    pub fn shun(&mut self, unit: &UnitKey) {
        self.release(unit);
        if self.take_out(unit).is_some() {
            self.shunned += 1;
        }
    }

    /// The address that a unit has in use.
    #[must_use]
    pub fn address(&self, unit: &UnitKey) -> Option<Ipv4Addr> {
        let assigned = self.units.get(unit)?;
        assigned.released.is_none().then_some(assigned.address)
    }

    /// The unit that has an address in use.
    #[must_use]
    pub fn holder(&self, address: Ipv4Addr) -> Option<&Arc<UnitKey>> {
        self.holders.get(&address).filter(|unit| self.is_live(unit))
    }

    /// Every unit with an address in use, in order.
    pub fn live(&self) -> impl Iterator<Item = (&Arc<UnitKey>, Ipv4Addr)> {
        let live = self
            .units
            .iter()
            .filter(|(_, assigned)| assigned.released.is_none());
        live.map(|(unit, assigned)| (unit, assigned.address))
    }

    /// Sets an address aside. A unit that matches gets it with its next [`Self::assign`]; a
    /// reservation of the same owner for the same target moves. The same again changes nothing.
    ///
    /// # Errors
    /// When the address is not usable, in use, or reserved for something else.
    pub fn reserve(&mut self, reservation: Reservation) -> Result<(), ReserveError> {
        let Reservation {
            owner,
            ref target,
            address,
        } = reservation;
        if let Err(reason) = self.range.check(address) {
            return Err(ReserveError::Unusable { address, reason });
        }
        if let Some((holder, reserved)) = self.reservations.holder(address) {
            return match *holder == owner && reserved == target {
                true => Ok(()),
                false => Err(ReserveError::Reserved {
                    address,
                    target: reserved.clone(),
                }),
            };
        }
        if let Some(unit) = self.holder(address).filter(|unit| !target.is(unit)) {
            return Err(ReserveError::Taken {
                address,
                unit: Arc::clone(unit),
            });
        }
        if self.reservations.count(owner) >= PER_OWNER {
            return Err(ReserveError::TooMany { address });
        }
        // A remembered unit goes to make room; the target itself stays.
        if let Some(unit) = self
            .holders
            .get(&address)
            .filter(|unit| !target.is(unit))
            .cloned()
        {
            self.forget(&unit);
        }
        self.blocks.take(address);
        if let Some(before) = self.reservations.insert(reservation) {
            self.give(before);
        }
        Ok(())
    }

    /// Lifts a reservation. A unit that has the address keeps it. Returns the address.
    pub fn unreserve(&mut self, owner: Option<Uid>, target: &Target) -> Option<Ipv4Addr> {
        let address = self.reservations.remove(owner, target)?;
        self.give(address);
        Some(address)
    }

    /// All reservations, by address.
    pub fn reservations(&self) -> impl Iterator<Item = Reservation> {
        self.reservations.iter()
    }

    /// Everything to be persisted.
    #[must_use]
    pub fn save(&self) -> SavedAddresses {
        let mut namespaces: BTreeMap<_, SavedNamespace> = BTreeMap::new();
        for (unit, assigned) in &self.units {
            let Some(numbers) = self.numbering.of(unit) else {
                continue;
            };
            let namespace =
                namespaces
                    .entry(namespace_key(unit))
                    .or_insert_with(|| SavedNamespace {
                        uid: unit.uid,
                        context: unit.context.clone(),
                        context_number: numbers.context,
                        namespace: unit.namespace.clone(),
                        number: numbers.namespace,
                        blocks: self.blocks.of(numbers.namespace).collect(),
                        units: Vec::new(),
                    });
            namespace.units.push(SavedUnit {
                service: unit.service.clone(),
                pod: unit.pod.clone(),
                address: assigned.address,
                released: assigned.released,
            });
        }
        SavedAddresses {
            namespaces: namespaces.into_values().collect(),
            reservations: self.reservations.iter().collect(),
        }
    }

    /// The pool as it was saved, with every unit remembered and none in use, and the units and
    /// reservations that do not fit (another range, or a damaged file) as texts for the log.
    #[must_use]
    pub fn restore(range: AddressRange, saved: SavedAddresses) -> (Self, Vec<String>) {
        let mut pool = Self::new(range);
        let mut dropped = Vec::new();
        for reservation in saved.reservations {
            if let Err(error) = pool.reserve(reservation) {
                dropped.push(error.to_string());
            }
        }
        let mut units = Vec::new();
        let mut blocks = Vec::new();
        for namespace in saved.namespaces {
            let key = NamespaceKey {
                uid: namespace.uid,
                context: namespace.context,
                namespace: namespace.namespace,
            };
            let numbers = Numbers {
                context: namespace.context_number,
                namespace: namespace.number,
            };
            if pool.numbering.restore(&key, numbers) {
                blocks.extend(
                    namespace
                        .blocks
                        .iter()
                        .map(|start| (numbers.namespace, *start)),
                );
            }
            units.extend(namespace.units.into_iter().map(|saved| {
                let unit = key.service(saved.service).unit(saved.pod);
                // In use when saved is later than every release.
                (saved.released.unwrap_or(u64::MAX), unit, saved.address)
            }));
        }
        units.sort();
        let units = units.into_iter().map(|(_, unit, address)| (unit, address));
        dropped.extend(units.filter_map(|(unit, address)| pool.remember(&unit, address)));
        for (namespace, start) in blocks {
            if range.contains(start) {
                pool.blocks.restore(namespace, start);
            }
        }
        pool.numbering.drop_unused();
        (pool, dropped)
    }

    /// Remembers a unit that was saved; where it cannot keep its address, the text for the log.
    fn remember(&mut self, unit: &UnitKey, address: Ipv4Addr) -> Option<String> {
        let is_ours = self.reservations.holder(address).is_some();
        let is_double = self.holders.contains_key(&address) || self.units.contains_key(unit);
        let fits = self.range.check(address).is_ok() && !is_double;
        if !fits || !(is_ours || self.blocks.take(address)) {
            return Some(format!("{unit} of user {} cannot keep {address}", unit.uid));
        }
        self.numbering.enter(unit);
        self.insert(unit, address);
        self.release(unit);
        None
    }

    /// Puts a remembered unit's address back into use, if that is the one it should have now.
    fn revive(&mut self, unit: &UnitKey, reserved: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let assigned = self.units.get_mut(unit)?;
        let moment = assigned.released?;
        let address = assigned.address;
        let is_its_own = match reserved {
            Some(reserved) => reserved == address,
            None => self.reservations.holder(address).is_none(),
        };
        if !is_its_own {
            return None;
        }
        assigned.released = None;
        self.memory.remove(moment);
        Some(address)
    }

    /// Forgets a remembered unit, whose address is free then. Does nothing to a live one.
    fn forget(&mut self, unit: &UnitKey) {
        if let Some(address) = self.take_out(unit) {
            self.give(address);
        }
    }

    /// Forgets a remembered unit, but not that its address is taken. `None` for a live one.
    fn take_out(&mut self, unit: &UnitKey) -> Option<Ipv4Addr> {
        let Assigned { address, released } = self.units.get(unit).copied()?;
        let moment = released?;
        self.units.remove(unit);
        self.holders.remove(&address);
        self.memory.remove(moment);
        self.numbering.leave(unit);
        Some(address)
    }

    /// Forgets the remembered unit that stands on an address.
    fn evict(&mut self, address: Ipv4Addr) {
        if let Some(holder) = self.holders.get(&address).cloned() {
            self.forget(&holder);
        }
    }

    fn insert(&mut self, unit: &UnitKey, address: Ipv4Addr) {
        let key = Arc::new(unit.clone());
        self.holders.insert(address, Arc::clone(&key));
        self.units.insert(
            key,
            Assigned {
                address,
                released: None,
            },
        );
    }

    /// Gives an address back to its block, unless a unit or a reservation still needs it.
    fn give(&mut self, address: Ipv4Addr) {
        let is_needed =
            self.holders.contains_key(&address) || self.reservations.holder(address).is_some();
        if !is_needed {
            self.blocks.give(address);
        }
    }

    fn is_live(&self, unit: &UnitKey) -> bool {
        self.units
            .get(unit)
            .is_some_and(|assigned| assigned.released.is_none())
    }
}

impl Target {
    fn is(&self, unit: &UnitKey) -> bool {
        matches!(self, Self::Unit(target) if target == unit)
    }
}

#[cfg(test)]
mod tests;
