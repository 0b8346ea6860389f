//! From the wire to the control layer's requests.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use kubefwd_core::policy::Actor;
use kubefwd_core::requests::{ClusterAccess, NamespaceRequest, ServiceRequest};
use kubefwd_core::state::Lease;
use kubefwd_model::{Balance, Failure, HostName, NamespaceKey, Options, ServiceKey, failure};
use kubefwd_proto::common::v1::{self as common};
use kubefwd_proto::control::v1 as pb;
use kubefwd_proto::environment;

/// Which objects a caller asked to see, and may.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    actor: Actor,
    wanted: pb::Filter,
}

// === impl Filter ===

impl Filter {
    pub(super) fn new(actor: Actor, wanted: Option<pb::Filter>) -> Self {
        let wanted = wanted.unwrap_or_default();
        Self { actor, wanted }
    }

    pub(super) fn namespace(&self, key: &NamespaceKey) -> bool {
        let is_owner_wanted = match self.wanted.all_users {
            true => self.actor.sees(key.uid),
            false => self.actor.uid() == Some(key.uid),
        };
        is_owner_wanted
            && matches(&self.wanted.namespace, key.namespace.as_str())
            && matches(&self.wanted.context, key.context.as_str())
    }

    pub(super) fn service(&self, key: &ServiceKey) -> bool {
        self.namespace(&key.namespace_key()) && matches(&self.wanted.service, key.service.as_str())
    }
}

fn matches(wanted: &str, value: &str) -> bool {
    wanted.is_empty() || wanted == value
}

pub(super) fn access(access: Option<pb::Access>) -> ClusterAccess {
    let pb::Access {
        context,
        kubeconfig,
        environment,
    } = access.unwrap_or_default();
    let environment = (!environment.is_empty()).then(|| environment::filter(environment));
    ClusterAccess {
        context,
        kubeconfig,
        environment,
    }
}

pub(super) fn namespace_request(
    request: pb::AddNamespaceRequest,
    lease: Option<Lease>,
) -> Result<NamespaceRequest, Failure> {
    let wanted = request.options.unwrap_or_default();
    Ok(NamespaceRequest {
        access: access(request.access),
        namespace: request.namespace,
        selection: request.selection.unwrap_or_default().into(),
        defer: wanted.defer,
        options: options(wanted)?,
        lease,
    })
}

pub(super) fn service_request(
    request: pb::AddServiceRequest,
    lease: Option<Lease>,
) -> Result<ServiceRequest, Failure> {
    let wanted = request.options.unwrap_or_default();
    Ok(ServiceRequest {
        access: access(request.access),
        namespace: request.namespace,
        service: request.service,
        ports: request
            .ports
            .into_iter()
            .map(port)
            .collect::<Result<BTreeSet<_>, _>>()?,
        address: address(&request.local_ip)?,
        defer: wanted.defer,
        options: options(wanted)?,
        lease,
    })
}

pub(super) fn address(text: &str) -> Result<Option<Ipv4Addr>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        failure!(InvalidArgument, "{text:?} is not a valid IPv4 address")
            .hint("use a form such as 127.3.3.3")
    })
}

fn options(wanted: pb::Options) -> Result<Options, Failure> {
    let balance = match wanted.balance() {
        common::Balance::Unspecified | common::Balance::Primary => Balance::Primary,
        common::Balance::RoundRobin => Balance::RoundRobin,
        common::Balance::LeastConnections => Balance::LeastConnections,
    };
    let mappings = wanted.port_mappings.into_iter();
    let port_mappings = mappings.map(|mapping| Ok((port(mapping.from)?, port(mapping.to)?)));
    let domain = match wanted.domain.as_str() {
        "" => None,
        domain => {
            let name = HostName::parse(domain);
            Some(name.map_err(|error| failure!(InvalidArgument, "{error}"))?)
        }
    };
    Ok(Options {
        port_mappings: port_mappings.collect::<Result<_, Failure>>()?,
        domain,
        balance,
    })
}

fn port(number: u32) -> Result<u16, Failure> {
    let valid = u16::try_from(number).ok().filter(|port| *port != 0);
    valid.ok_or_else(|| {
        failure!(InvalidArgument, "{number} is not a valid port").hint("ports are 1 to 65535")
    })
}
