//! Reserved addresses, and moving what is forwarded already to them.

use kubefwd_model::{ServiceKey, Uid, UnitKey};

use super::State;
use super::command::Refused;
use crate::addresses::{Reservation, Target};

impl State {
    /// Keeps an address for what it is meant for; what is forwarded already moves to it.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(super) fn reserve(&mut self, reservation: Reservation) -> Result<(), Refused> {
        let target = reservation.target.clone();
        self.addresses.reserve(reservation)?;
        self.changed.persist = true;
        self.changed.view = true;
        let moves: Vec<UnitKey> = self
            .addresses
            .live()
            .map(|(unit, _)| unit)
            .filter(|unit| match &target {
                Target::Unit(meant) => ***unit == *meant,
                Target::Name(name) => self.names.held(unit).any(|held| held == name),
            })
            .map(|unit| UnitKey::clone(unit))
            .collect();
        for unit in moves {
            let key = ServiceKey::from(&unit);
            self.drain(&key, unit.pod.as_ref());
            self.changed.converge.insert(key);
        }
        Ok(())
    }

    /// Gives a reservation up; what has the address keeps it until it is removed.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn unreserve(&mut self, owner: Option<Uid>, target: &Target) -> Result<(), Refused> {
        if self.addresses.unreserve(owner, target).is_none() {
            let key = target.to_string();
            return Err(Refused::Missing {
                what: "reservation",
                key,
                list: "reserve ls",
            });
        }
        self.changed.persist = true;
        self.changed.view = true;
        Ok(())
    }
}
