//! Listeners of others on addresses that names lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use kubefwd_core::policy::Actor;
use kubefwd_core::state::View;
use kubefwd_model::{Finding, ServiceKey, Severity};

use crate::net::listeners;

/// One finding for each port, of an address of the caller's, on which somebody listens and kubefwd does not.
pub(super) fn findings(view: &View, actor: &Actor) -> Vec<Finding> {
    let mut own: BTreeMap<Ipv4Addr, (&ServiceKey, BTreeSet<u16>)> = BTreeMap::new();
    for service in view.services.values().filter(|s| actor.sees(s.key.uid)) {
        for forward in &service.forwards {
            let (_, ports) = own
                .entry(forward.address)
                .or_insert_with(|| (&service.key, BTreeSet::new()));
            ports.insert(forward.local_port);
        }
    }
    let strangers = listeners().into_iter().filter_map(|(local, uid)| {
        let IpAddr::V4(address) = local.ip() else {
            return None;
        };
        let (key, ports) = own.get(&address)?;
        (!ports.contains(&local.port())).then(|| {
            let message = format!(
                "uid {uid} listens on port {} of {address}, the address of {key}",
                local.port()
            );
            let hint = format!(
                "the names of {key} lead to that program on this port: `sudo lsof -nP -iTCP@{local} -sTCP:LISTEN` shows it"
            );
            Finding::new(Severity::Warning, local.to_string(), message).hint(hint)
        })
    });
    strangers.collect()
}
