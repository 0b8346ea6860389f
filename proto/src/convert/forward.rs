//! Forwards and their counters.

use kubefwd_model::{Failure, FirstByte, Forward, ForwardStatus, ListenerId, Traffic};

use super::{Malformed, hostnames, port, timestamp, to_time, words};
use crate::control::v1 as pb;
use crate::worker::v1 as worker;

words!(
    pb::ForwardState,
    ForwardStatus,
    Pending,
    Connecting,
    Active,
    Error,
    Stopping
);

impl From<&Forward> for pb::Forward {
    fn from(forward: &Forward) -> Self {
        let traffic = forward.traffic;
        let failure = forward.failure.as_deref();
        Self {
            key: forward.key.clone(),
            local_ip: forward.address.to_string(),
            local_port: forward.local_port.into(),
            service_port: forward.service_port.into(),
            port_name: forward.port_name.clone(),
            pod: forward.pod.clone(),
            container: forward.container.clone(),
            pod_port: forward.pod_port.into(),
            pod_address: forward.pod_address,
            state: pb::ForwardState::from(forward.status).into(),
            error: failure.map(|f| f.message.clone()).unwrap_or_default(),
            failure: failure.cloned().map(Into::into),
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            connections: traffic.active,
            total_connections: traffic.opened,
            failed_connections: traffic.failed,
            started_at: Some(timestamp(forward.started_at)),
            last_active: traffic.last_active.map(timestamp),
            hostnames: forward.hostnames.iter().map(ToString::to_string).collect(),
            first_byte_us: traffic.first_byte.mean_us(),
            transport: forward.transport.clone(),
        }
    }
}

impl TryFrom<&pb::Forward> for Forward {
    type Error = Malformed;

    fn try_from(forward: &pb::Forward) -> Result<Self, Malformed> {
        let failure = forward.failure.clone().map(Failure::from);
        Ok(Self {
            key: forward.key.clone(),
            // The daemon's own number; nobody outside of it needs it.
            listener: ListenerId(0),
            pod: forward.pod.clone(),
            container: forward.container.clone(),
            address: forward.local_ip.parse().map_err(Malformed::new)?,
            local_port: port(forward.local_port)?,
            service_port: port(forward.service_port)?,
            port_name: forward.port_name.clone(),
            pod_port: port(forward.pod_port)?,
            pod_address: forward.pod_address,
            hostnames: hostnames(&forward.hostnames)?,
            status: forward.state().try_into()?,
            failure: failure.map(Box::new),
            started_at: to_time(&forward.started_at).unwrap_or_default(),
            traffic: Traffic {
                bytes_in: forward.bytes_in,
                bytes_out: forward.bytes_out,
                active: forward.connections,
                opened: forward.total_connections,
                failed: forward.failed_connections,
                first_byte: FirstByte {
                    sum_us: forward.first_byte_us,
                    count: u64::from(forward.first_byte_us > 0),
                },
                last_active: to_time(&forward.last_active),
            },
            transport: forward.transport.clone(),
        })
    }
}

impl From<&worker::Traffic> for Traffic {
    fn from(traffic: &worker::Traffic) -> Self {
        Self {
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            active: traffic.active,
            opened: traffic.opened,
            failed: traffic.failed,
            first_byte: FirstByte {
                sum_us: traffic.first_byte_us_sum,
                count: traffic.first_byte_count,
            },
            last_active: to_time(&traffic.last_active),
        }
    }
}
