//! Durations as the public interfaces write them.

use std::time::{Duration, SystemTime};

/// `2h15m30s`: an uptime, or how long something took.
pub fn long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `1.2s`, `35.1ms`, `840µs`: how long something short took.
pub fn short(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}ms", round(duration.as_secs_f64() * 1_000.0)),
        1_000_000..60_000_000 => format!("{}s", round(duration.as_secs_f64())),
        _ => long(duration),
    }
}

/// How long ago `time` was, as [`long`] writes it.
pub fn since(time: SystemTime) -> String {
    long(SystemTime::now().duration_since(time).unwrap_or_default())
}

/// Parses `90s`, `5m`, `1h30m`, `250ms`, or a bare number of seconds.
pub fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "d" => Duration::from_secs(86_400),
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(unit.checked_mul(number)?)?;
    }
    Some(total)
}

/// One digit after the point, unless it is zero.
fn round(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_on_the_page() {
        assert_eq!(
            long(Duration::from_secs(2 * 3600 + 15 * 60 + 30)),
            "2h15m30s"
        );
        assert_eq!(long(Duration::from_secs(3_600)), "1h0m0s");
        assert_eq!(long(Duration::from_secs(61)), "1m1s");
        assert_eq!(short(Duration::from_millis(1_200)), "1.2s");
        assert_eq!(short(Duration::from_micros(35_100)), "35.1ms");
        assert_eq!(short(Duration::from_micros(840)), "840µs");
    }

    #[test]
    fn durations_are_read_back_and_nonsense_is_not() {
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        for nonsense in [
            "",
            "h",
            "1",
            "1x",
            "-1s",
            "1h-",
            "99999999999h",
            "1 h",
            "1.5h",
        ] {
            assert_eq!(
                parse(nonsense),
                if nonsense == "1" {
                    Some(Duration::from_secs(1))
                } else {
                    None
                }
            );
        }
    }
}
