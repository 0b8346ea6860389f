//! What a worker says, checked: names are parsed, numbers fit, texts are bounded, lists are short.
//!
//! A name that Kubernetes could not have is dropped with a reason for the log; nothing here can panic or grow.

use kubefwd_model::{
    ContextName, Failure, NameError, NamespaceKey, NamespaceName, PodName, ServiceName, Time,
    Traffic, Uid,
};
use kubefwd_proto::common::v1 as common;
use kubefwd_proto::worker::v1 as wire;

use super::limits;

use kubefwd_core::state::{
    ForwardPhase, ForwardReport, ObservedPort, ObservedService, Phase, Protocol,
};
use kubefwd_model::text::clean;

pub(super) fn namespace_key(
    uid: Uid,
    context: &str,
    namespace: &str,
) -> Result<NamespaceKey, NameError> {
    Ok(NamespaceKey {
        uid,
        context: ContextName::parse(context)?,
        namespace: NamespaceName::parse(namespace)?,
    })
}

pub(super) fn phase(report: &wire::NamespaceReport) -> Phase {
    match report.phase() {
        wire::NamespacePhase::Watching => Phase::Watching,
        wire::NamespacePhase::Failed => {
            let failure = report.failure.clone().unwrap_or_default();
            Phase::Failed(self::failure(failure))
        }
        wire::NamespacePhase::Unspecified | wire::NamespacePhase::Connecting => Phase::Connecting,
    }
}

pub(super) fn notes(report: &wire::NamespaceReport) -> Vec<String> {
    let mut notes: Vec<String> = report
        .notes
        .iter()
        .take(limits::NOTES)
        .map(|note| clean(note, limits::TEXT))
        .collect();
    // Something degraded that works all the same.
    if let (Some(failure), wire::NamespacePhase::Watching) = (&report.failure, report.phase()) {
        notes.push(clean(&failure.message, limits::TEXT));
    }
    notes
}

pub(super) fn service(
    service: wire::ObservedService,
) -> Result<(ServiceName, ObservedService), NameError> {
    let name = ServiceName::parse(&service.name)?;
    let too_many = service.ports.len() > limits::PORTS;
    let unsupported = match too_many {
        true => Some(format!("it has more than {} ports", limits::PORTS)),
        false => Some(clean(&service.unsupported, limits::TEXT)).filter(|why| !why.is_empty()),
    };
    let pods = service
        .pods
        .iter()
        .take(limits::PODS)
        .filter_map(|pod| PodName::parse(pod).ok());
    let ports = service.ports.into_iter().take(limits::PORTS);
    let mut ports: Vec<ObservedPort> = ports.filter_map(port).collect();
    // They are kept, and took over the room that decoding needed.
    ports.shrink_to_fit();
    let observed = ObservedService {
        headless: service.headless,
        ports,
        unsupported,
        pods: pods.collect(),
        ready_pods: service.ready_pods,
        total_pods: service.total_pods,
        selected: service.selected,
    };
    Ok((name, observed))
}

fn port(port: wire::ObservedPort) -> Option<ObservedPort> {
    let number = u16::try_from(port.port)
        .ok()
        .filter(|number| *number != 0)?;
    let protocol = match port.protocol.as_str() {
        "TCP" | "" => Protocol::Tcp,
        other => Protocol::Other(clean(other, limits::NAME)),
    };
    Some(ObservedPort {
        port: number,
        name: clean(&port.name, limits::NAME),
        protocol,
    })
}

pub(super) fn forward(report: &wire::ForwardReport) -> ForwardReport {
    let phase = match report.phase() {
        wire::ForwardPhase::Active => ForwardPhase::Active,
        wire::ForwardPhase::Error => {
            ForwardPhase::Error(failure(report.failure.clone().unwrap_or_default()))
        }
        wire::ForwardPhase::Unspecified | wire::ForwardPhase::Pending => ForwardPhase::Pending,
    };
    ForwardReport {
        phase,
        pod: PodName::parse(&report.pod)
            .map(String::from)
            .unwrap_or_default(),
        container: clean(&report.container, limits::NAME),
        pod_port: u16::try_from(report.pod_port).unwrap_or_default(),
        transport: clean(&report.transport, limits::NAME),
        sequence: report.sequence,
    }
}

pub(super) fn traffic(traffic: &wire::Traffic) -> Traffic {
    let now = Time::now();
    let traffic = Traffic::from(traffic);
    Traffic {
        last_active: traffic.last_active.map(|time| time.min(now)),
        ..traffic
    }
}

/// A failure with its texts bounded and free of control characters.
pub(super) fn failure(failure: common::Failure) -> Failure {
    let failure = Failure::from(failure);
    Failure {
        reason: failure.reason,
        message: clean(&failure.message, limits::TEXT),
        hint: clean(&failure.hint, limits::TEXT),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    #[test]
    fn names_that_could_break_a_hosts_line_are_refused() {
        for name in ["a b", "a\n127.0.0.1 bank", "", "A", &"x".repeat(64)] {
            let observed = wire::ObservedService {
                name: name.to_owned(),
                ..Default::default()
            };
            assert!(service(observed).is_err(), "{name:?}");
        }
        assert!(namespace_key(1.into(), "a\nb", "n").is_err());
        assert!(namespace_key(1.into(), "c", "n.m").is_err());
    }

    #[test]
    fn ports_out_of_range_are_dropped() {
        let ports = [0, 80, 65_535, 65_536, u32::MAX].map(|port| wire::ObservedPort {
            port,
            ..Default::default()
        });
        let observed = wire::ObservedService {
            name: "a".into(),
            ports: ports.into(),
            ..Default::default()
        };
        let (_, observed) = service(observed).unwrap();
        assert_eq!(
            observed.ports.iter().map(|p| p.port).collect::<Vec<_>>(),
            [80, 65_535]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_that_decode_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(observed) = wire::ObservedService::decode(&*bytes)
                && let Ok((_, observed)) = service(observed)
            {
                prop_assert!(observed.ports.len() <= limits::PORTS && observed.pods.len() <= limits::PODS);
            }
            if let Ok(report) = wire::ForwardReport::decode(&*bytes) {
                prop_assert!(forward(&report).container.len() <= limits::NAME);
            }
            if let Ok(report) = wire::NamespaceReport::decode(&*bytes) {
                prop_assert!(notes(&report).len() <= limits::NOTES + 1);
            }
        }
    }
}
