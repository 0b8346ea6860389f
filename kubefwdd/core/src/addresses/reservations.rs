//! Addresses set aside for a service, by the administrator or by a user for their own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use kubefwd_model::{HostName, Uid, UnitKey};
use serde::{Deserialize, Serialize};

use super::range::Unusable;

/// How many reservations one user (or the configuration) may have.
pub(super) const PER_OWNER: usize = 4096;

/// What an address is set aside for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This unit.
    Unit(UnitKey),
    /// The first unit that asks for this name, in any of its forms.
    Name(HostName),
}

/// An address set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The user whose units it is for; `None` is the configuration, for units of everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Uid>,
    /// What it is for.
    pub target: Target,
    /// The address.
    pub address: Ipv4Addr,
}

/// Why an address cannot be reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// No service can have it.
    #[error("{address} cannot be reserved: {reason}")]
    Unusable {
        /// The address.
        address: Ipv4Addr,
        /// Why.
        reason: Unusable,
    },
    /// A unit has it now.
    #[error(
        "{address} cannot be reserved: {unit} of user {uid} has it", uid = unit.uid
    )]
    Taken {
        /// The address.
        address: Ipv4Addr,
        /// Who has it.
        unit: Arc<UnitKey>,
    },
    /// It is set aside for something else.
    #[error("{address} is already reserved for {target}")]
    Reserved {
        /// The address.
        address: Ipv4Addr,
        /// What for.
        target: Target,
    },
    /// Too many.
    #[error("{address} cannot be reserved: a user can have at most {PER_OWNER} reservations")]
    TooMany {
        /// The address.
        address: Ipv4Addr,
    },
}

// === impl ReserveError ===

impl ReserveError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unusable { reason, .. } => reason.hint(),
            Self::Taken { .. } => "choose another address, or remove that service first",
            Self::Reserved { .. } => "choose another address, or remove that reservation first",
            Self::TooMany { .. } => "remove reservations that are no longer needed",
        }
    }
}

/// All reservations, by what they are for and by address.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    by_target: BTreeMap<(Option<Uid>, Target), Ipv4Addr>,
    by_address: BTreeMap<Ipv4Addr, (Option<Uid>, Target)>,
}

impl Reservations {
    /// The address set aside for a unit that asks for `names`. What a user reserved goes before
    /// what the configuration says, the unit itself before one of its names.
    pub(super) fn find<'a>(
        &self,
        unit: &UnitKey,
        names: impl IntoIterator<Item = &'a HostName>,
    ) -> Option<Ipv4Addr> {
        if self.by_target.is_empty() {
            return None;
        }
        let names = names.into_iter().map(|name| Target::Name(name.clone()));
        let targets: Vec<Target> = std::iter::once(Target::Unit(unit.clone()))
            .chain(names)
            .collect();
        [Some(unit.uid), None].into_iter().find_map(|owner| {
            targets
                .iter()
                .find_map(|target| self.by_target.get(&(owner, target.clone())).copied())
        })
    }

    /// What an address is set aside for.
    pub(super) fn holder(&self, address: Ipv4Addr) -> Option<&(Option<Uid>, Target)> {
        self.by_address.get(&address)
    }

    /// Sets an address aside that is free of reservations; returns the one the target had before.
    pub(super) fn insert(&mut self, reservation: Reservation) -> Option<Ipv4Addr> {
        let Reservation {
            owner,
            target,
            address,
        } = reservation;
        let before = self.by_target.insert((owner, target.clone()), address);
        if let Some(before) = before {
            self.by_address.remove(&before);
        }
        self.by_address.insert(address, (owner, target));
        before
    }

    /// Lifts a reservation; returns its address.
    pub(super) fn remove(&mut self, owner: Option<Uid>, target: &Target) -> Option<Ipv4Addr> {
        let address = self.by_target.remove(&(owner, target.clone()))?;
        self.by_address.remove(&address);
        Some(address)
    }

    pub(super) fn count(&self, owner: Option<Uid>) -> usize {
        self.by_target
            .keys()
            .filter(|(holder, _)| *holder == owner)
            .count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Reservation> {
        let each = |(address, (owner, target)): (&Ipv4Addr, &(Option<Uid>, Target))| Reservation {
            owner: *owner,
            target: target.clone(),
            address: *address,
        };
        self.by_address.iter().map(each)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unit(unit) => unit.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
