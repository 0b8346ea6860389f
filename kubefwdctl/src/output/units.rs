//! Numbers and times as people read them.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

/// `0B`, `1.5KiB`, `12MiB`: no blank, so that a column stays one word.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count}B");
    }
    // Tenths of a unit, in integers: no rounding up to "1024.0 KiB".
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{}{}", tenths / 10, UNITS[unit])
    }
}

/// `12s`, `5m30s`, `2h15m30s`: the form of durations in REST.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `-` for a time that never was, microseconds as `850us` or `12ms`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0 => "-".to_owned(),
        1..10_000 => format!("{micros}us"),
        _ => format!("{}ms", micros / 1000),
    }
}

/// A protobuf time; `None` where it is absent or beyond the calendar.
pub(crate) fn timestamp(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// Local date and time, `-` for a time that never was.
pub(crate) fn local(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| {
            let zoned = time.to_zoned(TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_below_ten() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (1536, "1.5KiB"),
            (10 * 1024, "10KiB"),
            (1024 * 1024 - 1, "1023KiB"),
            (1024 * 1024, "1.0MiB"),
            (u64::MAX, "15EiB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn durations_have_the_form_of_rest() {
        assert_eq!(duration(Duration::from_secs(8130)), "2h15m30s");
        assert_eq!(duration(Duration::from_secs(59)), "59s");
        assert_eq!(duration(Duration::from_secs(60)), "1m0s");
    }

    #[test]
    fn a_time_that_never_was_is_a_dash() {
        assert_eq!(local(timestamp(None)), "-");
        let beyond = prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(local(timestamp(Some(&beyond))), "-");
        assert_eq!(micros(0), "-");
        assert_eq!(micros(850), "850us");
        assert_eq!(micros(12_345), "12ms");
    }
}
