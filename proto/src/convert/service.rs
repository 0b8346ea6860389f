//! Services with their forwards.

use kubefwd_model::{
    ContextName, NamespaceName, RefusedName, Service, ServiceKey, ServiceName, ServiceStatus, Uid,
};

use super::{Malformed, hostnames, timestamp, to_time, words};
use crate::control::v1 as pb;

words!(
    pb::ServiceState,
    ServiceStatus,
    Pending,
    Active,
    Partial,
    Error,
    Unsupported
);

/// Without the user's name, which the caller adds.
impl From<&Service> for pb::Service {
    fn from(service: &Service) -> Self {
        let key = &service.key;
        let refused = service.refused_names.iter().cloned();
        Self {
            key: key.to_string(),
            service: key.service.to_string(),
            namespace: key.namespace.to_string(),
            context: key.context.to_string(),
            uid: key.uid.get(),
            user: String::new(),
            headless: service.headless,
            state: pb::ServiceState::from(service.status).into(),
            reason: service.status_reason.clone(),
            hint: service.hint.clone(),
            local_ip: service.address.map(|ip| ip.to_string()).unwrap_or_default(),
            hostnames: service.hostnames.iter().map(ToString::to_string).collect(),
            refused_names: refused
                .map(|RefusedName { name, reason, hint }| pb::RefusedName { name, reason, hint })
                .collect(),
            forwards: service.forwards.iter().map(Into::into).collect(),
            ready_pods: service.ready_pods,
            total_pods: service.total_pods,
            skipped_ports: service.skipped_ports.clone(),
            capture: service.capture,
            since: Some(timestamp(service.since)),
        }
    }
}

impl TryFrom<&pb::Service> for Service {
    type Error = Malformed;

    fn try_from(service: &pb::Service) -> Result<Self, Malformed> {
        let address = match service.local_ip.as_str() {
            "" => None,
            ip => Some(ip.parse().map_err(Malformed::new)?),
        };
        let forwards = service.forwards.iter().map(TryInto::try_into);
        let refused = service.refused_names.iter().cloned();
        Ok(Self {
            key: ServiceKey {
                uid: Uid::new(service.uid),
                context: ContextName::parse(&service.context)?,
                namespace: NamespaceName::parse(&service.namespace)?,
                service: ServiceName::parse(&service.service)?,
            },
            headless: service.headless,
            status: service.state().try_into()?,
            status_reason: service.reason.clone(),
            hint: service.hint.clone(),
            address,
            hostnames: hostnames(&service.hostnames)?,
            refused_names: refused
                .map(|pb::RefusedName { name, reason, hint }| RefusedName { name, reason, hint })
                .collect(),
            forwards: forwards.collect::<Result<_, _>>()?,
            ready_pods: service.ready_pods,
            total_pods: service.total_pods,
            skipped_ports: service.skipped_ports.clone(),
            capture: service.capture,
            since: to_time(&service.since).unwrap_or_default(),
        })
    }
}
