//! The hosts file as a gate: a name counts once the file has it, and a unit that was taken away listens until the file no
//! longer names it. So a name never points at nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use kubefwd_model::{ListenerId, UnitKey};

use super::forwards::{Port, Ports};

/// The versions of the hosts file, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct HostsGate {
    /// The version that was last asked for.
    requested: u64,
    /// The version that the file is known to have.
    written: u64,
    /// The file cannot be written just now: nothing waits for it.
    failed: bool,
    /// A version has to be asked for.
    changed: bool,
    /// Addresses whose names changed since a version was last asked for.
    addresses: BTreeSet<Ipv4Addr>,
    /// Units that were taken away since then.
    draining: Vec<Draining>,
    /// Units that were taken away before, by the version that no longer names them.
    closing: BTreeMap<u64, Vec<Draining>>,
}

/// A unit that was taken away but still listens, until its names are gone from the hosts file.
#[derive(Clone, Debug)]
pub(super) struct Draining {
    pub(super) unit: UnitKey,
    pub(super) address: Ipv4Addr,
    pub(super) ports: Ports,
}

// === impl HostsGate ===

impl HostsGate {
    /// A gate whose first version is due, whatever it names: it replaces what an earlier daemon left.
    pub(super) fn new() -> Self {
        Self {
            changed: true,
            ..Self::default()
        }
    }

    /// The names at this address may have changed.
    pub(super) fn mark(&mut self, address: Ipv4Addr) {
        self.changed = true;
        self.addresses.insert(address);
    }

    /// The version that the next settling asks for.
    pub(super) fn next_version(&self) -> u64 {
        self.requested + 1
    }

    /// Whether the file is known to have this version.
    pub(super) fn has(&self, version: u64) -> bool {
        version <= self.written
    }

    /// Keeps a unit until its names are gone.
    pub(super) fn drain(&mut self, unit: Draining) {
        self.mark(unit.address);
        self.draining.push(unit);
    }

    /// Takes out what still listens at an address that is used again.
    pub(super) fn reclaim(&mut self, address: Ipv4Addr) -> Vec<Draining> {
        let waiting = self.closing.values_mut().chain([&mut self.draining]);
        waiting
            .flat_map(|list| list.extract_if(.., |unit| unit.address == address))
            .collect()
    }

    /// A port of a unit that was taken away but still listens.
    pub(super) fn port_mut(&mut self, listener: ListenerId) -> Option<&mut Port> {
        let waiting = self.closing.values_mut().flatten();
        let mut ports = waiting
            .chain(&mut self.draining)
            .flat_map(|unit| unit.ports.values_mut());
        ports
            .find(|port| port.listener == listener)
            .map(Box::as_mut)
    }

    /// The version to ask for now, with the addresses whose names changed.
    pub(super) fn request(&mut self) -> Option<(u64, BTreeSet<Ipv4Addr>)> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.requested += 1;
        let draining = std::mem::take(&mut self.draining);
        if !draining.is_empty() {
            self.closing.insert(self.requested, draining);
        }
        Some((self.requested, std::mem::take(&mut self.addresses)))
    }

    /// The file has this version: which versions are new in it, and what nothing names now.
    pub(super) fn written(&mut self, version: u64) -> (RangeInclusive<u64>, Vec<Draining>) {
        let new = self.written + 1..=version;
        self.written = self.written.max(version);
        let later = self.closing.split_off(&(version + 1));
        let due = std::mem::replace(&mut self.closing, later);
        (new, due.into_values().flatten().collect())
    }

    /// Whether the file can be written.
    pub(super) fn set_failed(&mut self, failed: bool) {
        self.failed = failed;
    }

    /// Where the file cannot be written there is nothing to wait for: the version that counts as written then.
    pub(super) fn assumed(&self) -> Option<u64> {
        self.failed.then_some(self.requested)
    }
}
