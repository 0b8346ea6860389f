//! Numbers and times as people read them.

use std::time::SystemTime;

use jiff::{Timestamp, tz::TimeZone};
use kubefwd_model::Time;

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

/// `-` for a time that never was, microseconds as `850us` or `12ms`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0 => "-".to_owned(),
        1..10_000 => format!("{micros}us"),
        _ => format!("{}ms", micros / 1000),
    }
}

/// Local date and time, `-` for a time that never was.
pub(crate) fn local(time: Option<Time>) -> String {
    let time = time.and_then(|time| Timestamp::try_from(SystemTime::from(time)).ok());
    match time {
        Some(time) => {
            let zoned = time.to_zoned(TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        None => "-".to_owned(),
    }
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
    fn a_time_that_never_was_is_a_dash() {
        assert_eq!(local(None), "-");
        assert_eq!(micros(0), "-");
        assert_eq!(micros(850), "850us");
        assert_eq!(micros(12_345), "12ms");
    }
}
