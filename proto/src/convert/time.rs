//! Conversions between the system clock and protobuf timestamps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kubefwd_model::Time;
use prost_types::Timestamp;

/// A point in time as protobuf carries it.
pub fn timestamp(time: impl Into<SystemTime>) -> Timestamp {
    Timestamp::from(time.into())
}

/// The current time as protobuf carries it.
pub fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

/// Reads a timestamp from a peer; one that no clock can hold becomes the nearest that can.
pub fn system_time(timestamp: &Timestamp) -> SystemTime {
    let seconds = u64::try_from(timestamp.seconds)
        .unwrap_or(0)
        .min(253_402_300_799);
    let nanos = u32::try_from(timestamp.nanos).unwrap_or(0).min(999_999_999);
    UNIX_EPOCH + Duration::new(seconds, nanos)
}

/// The same as a time of the model, where there is one.
pub fn to_time(timestamp: &Option<Timestamp>) -> Option<Time> {
    timestamp.as_ref().map(|time| system_time(time).into())
}
