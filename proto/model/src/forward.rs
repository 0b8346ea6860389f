//! A forward: one listening port of a service.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::words::words;
use crate::{Failure, HostName, Time};

words! {
    /// The status of a forward.
    pub enum ForwardStatus {
        /// Listens, and a pod is ready.
        Active = "active",
        /// Being set up.
        Connecting = "connecting",
        /// Listens; no pod is ready.
        Pending = "pending",
        /// Does not work.
        Error = "error",
        /// Being removed.
        Stopping = "stopping",
    }
}

/// A listening socket of the daemon: a number that is never reused while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u64);

/// One listening port.
// Serialized without its service and route: `entry::ForwardEntry` adds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Forward {
    /// `service.namespace.context.pod.localPort`; with `pod.` before it where a pod of a headless service has an address of
    /// its own.
    pub key: String,
    /// The listening socket.
    #[serde(skip)]
    pub listener: ListenerId,
    /// The pod that serves, or served last; empty while none is known.
    #[serde(skip)]
    pub pod: String,
    /// Its container.
    #[serde(rename = "containerName", skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// The address it listens on.
    #[serde(skip)]
    pub address: Ipv4Addr,
    /// The port it listens on.
    #[serde(skip)]
    pub local_port: u16,
    /// The service's port.
    #[serde(serialize_with = "crate::entry::as_text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub service_port: u16,
    /// The name of that port; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// The pod's port; 0 while unknown.
    #[serde(skip)]
    pub pod_port: u16,
    /// Belongs to one pod of a headless service.
    pub pod_address: bool,
    /// Names that resolve to its address.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<HostName>))]
    pub hostnames: Arc<[HostName]>,
    /// Whether it works.
    pub status: ForwardStatus,
    /// Why it does not; set exactly when the status is `error`.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::failure::MaybeFailure))]
    pub failure: Option<Box<Failure>>,
    /// When it started listening.
    pub started_at: Time,
    /// Its counters.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// How its tunnel runs; empty while none was needed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transport: String,
}

/// Counters of one forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Bytes from the pod.
    pub bytes_in: u64,
    /// Bytes to the pod.
    pub bytes_out: u64,
    /// Open connections.
    #[serde(rename = "connections")]
    pub active: u64,
    /// Connections so far.
    #[serde(rename = "totalConnections")]
    pub opened: u64,
    /// Connections that failed.
    #[serde(rename = "failedConnections")]
    pub failed: u64,
    /// Mean time from accepting a connection to the first byte from the pod, in microseconds; 0 if never measured.
    #[serde(rename = "firstByteMicros")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub first_byte: FirstByte,
    /// When a byte last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active: Option<Time>,
}

/// Times from accepting a connection to the first byte from the pod. Serialized as their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstByte {
    /// Their sum, in microseconds.
    pub sum_us: u64,
    /// How many there are.
    pub count: u64,
}

// === impl Traffic ===

impl Traffic {
    /// The sum of what an earlier worker counted and what this one counts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
            active: other.active,
            opened: self.opened.saturating_add(other.opened),
            failed: self.failed.saturating_add(other.failed),
            first_byte: FirstByte {
                sum_us: self
                    .first_byte
                    .sum_us
                    .saturating_add(other.first_byte.sum_us),
                count: self.first_byte.count.saturating_add(other.first_byte.count),
            },
            last_active: other.last_active.or(self.last_active),
        }
    }
}

// === impl FirstByte ===

impl FirstByte {
    /// The mean in microseconds; 0 if never measured.
    pub fn mean_us(self) -> u64 {
        self.sum_us.checked_div(self.count).unwrap_or_default()
    }
}

impl Serialize for FirstByte {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.mean_us())
    }
}
