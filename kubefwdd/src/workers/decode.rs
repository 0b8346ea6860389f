//! What a worker says, checked: names are parsed, numbers fit, texts are bounded, lists are short.
//!
//! A name that Kubernetes could not have is dropped with a reason for the log; nothing here can panic or grow.

use std::time::{Duration, SystemTime};

use kubefwd_core::state::{
    ForwardPhase, ForwardReport, ObservedPort, ObservedService, Phase, Protocol,
};
use kubefwd_model::text::clean;
use kubefwd_model::{
    ContextName, Failure, ListenerId, NameError, NamespaceKey, NamespaceName, PodName, ServiceName,
    Time, Traffic, Trigger, Uid,
};
use kubefwd_proto::common::v1 as common;
use kubefwd_proto::convert::system_time;
use kubefwd_proto::worker::v1 as wire;
use kubefwd_telemetry::http::{Exchange, HttpReport};
use kubefwd_telemetry::reconnections::Reconnection;

use super::limits;

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

/// Requests in the bytes of forwards.
pub(super) fn http(report: wire::HttpReport) -> HttpReport {
    let exchange = |exchange: wire::HttpExchange| {
        let time = exchange.time.as_ref();
        let content = Exchange {
            time: time.map_or_else(SystemTime::now, system_time),
            method: exchange.method,
            path: exchange.path,
            status: u16::try_from(exchange.status).unwrap_or(0),
            duration: Duration::from_micros(exchange.duration_us),
            size: exchange.response_bytes,
            protocol: exchange.protocol,
            grpc_status: exchange.grpc_status,
        };
        (ListenerId(exchange.listener), content)
    };
    let dropped = report.dropped.into_iter();
    HttpReport {
        exchanges: report.exchanges.into_iter().map(exchange).collect(),
        dropped: dropped
            .map(|(listener, count)| (ListenerId(listener), count))
            .collect(),
    }
}

/// A reopened tunnel; `None` if it names no service.
pub(super) fn reconnection(uid: Uid, report: wire::ReconnectedReport) -> Option<Reconnection> {
    let service = report.service?;
    let namespace = namespace_key(uid, &service.context, &service.namespace).ok()?;
    Some(Reconnection {
        id: 0,
        time: report
            .time
            .as_ref()
            .map_or_else(SystemTime::now, system_time),
        service: namespace.service(ServiceName::parse(&service.service).ok()?),
        trigger: match (report.automatic, report.resync) {
            (true, _) => Trigger::Auto,
            (false, true) => Trigger::Sync,
            (false, false) => Trigger::Manual,
        },
        attempts: report.attempts,
        duration: Duration::from_millis(report.duration_ms),
        error: Some(report.error).filter(|error| !error.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    #[test]
    fn a_reconnection_names_a_service_and_a_status_is_a_number_of_http() {
        let report = |service: &str| wire::ReconnectedReport {
            service: Some(wire::ServiceRef {
                context: "kind".to_owned(),
                namespace: "shop".to_owned(),
                service: service.to_owned(),
            }),
            resync: true,
            ..Default::default()
        };
        assert!(reconnection(1.into(), report("not a name")).is_none());
        let found = reconnection(1.into(), report("api")).unwrap();
        assert_eq!((found.trigger, found.error), (Trigger::Sync, None));
        let exchange = wire::HttpExchange {
            listener: 4,
            status: u32::MAX,
            ..Default::default()
        };
        let report = http(wire::HttpReport {
            exchanges: vec![exchange],
            dropped: [(4, 2)].into(),
        });
        let (listener, exchange) = &report.exchanges[0];
        assert_eq!((*listener, exchange.status), (ListenerId(4), 0));
        assert_eq!(report.dropped, [(ListenerId(4), 2)]);
    }

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
