//! The table.

use std::io::Write as _;

use anyhow::Result;

use crate::kubectl;
use crate::process;
use crate::tools::Kind;

/// What a measure must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At most this part of the better kubectl transport.
    AtMost(f64),
    /// At least so many times the better kubectl transport.
    AtLeast(f64),
    /// At most so many of the unit.
    Absolute(f64),
}

/// The unit of a measure, and how its numbers are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Milliseconds,
    PerSecond,
    MebibytesPerSecond,
    SecondsPerGibibyte,
    Mebibytes,
    Percent,
    Count,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// By tool, where it was measured.
    pub(crate) values: Vec<(Kind, f64)>,
    pub(crate) target: Target,
}

impl Row {
    /// A measure of ours alone.
    pub(crate) fn ours(what: impl Into<String>, unit: Unit, value: f64, most: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            values: vec![(Kind::Ours, value)],
            target: Target::Absolute(most),
        }
    }

    fn value(&self, kind: Kind) -> Option<f64> {
        let found = self
            .values
            .iter()
            .find(|(k, value)| *k == kind && value.is_finite());
        found.map(|(_, value)| *value)
    }

    /// Ours in relation to the better transport of kubectl.
    fn ratio(&self) -> Option<f64> {
        let ours = self.value(Kind::Ours)?;
        let peers = [Kind::WebSocket, Kind::Spdy]
            .into_iter()
            .filter_map(|kind| self.value(kind));
        let better = match self.target {
            Target::AtLeast(_) => peers.reduce(f64::max),
            _ => peers.reduce(f64::min),
        };
        Some(ours / better?)
    }

    /// Whether the target is reached; what could not be measured is not.
    pub(crate) fn reached(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Target::AtLeast(least) => self.ratio().is_some_and(|ratio| ratio >= least),
            Target::Absolute(most) => self.value(Kind::Ours).is_some_and(|value| value <= most),
        }
    }

    fn cells(&self) -> [String; 8] {
        let value = |kind| {
            self.value(kind)
                .map_or_else(|| "–".to_owned(), |v| self.unit.show(v))
        };
        let ratio = match self.target {
            Target::Absolute(_) => None,
            _ => self.ratio(),
        };
        let target = match self.target {
            Target::AtMost(most) => format!("≤ {most}"),
            Target::AtLeast(least) => format!("≥ {least}"),
            Target::Absolute(most) => format!("≤ {}", self.unit.show(most)),
        };
        [
            format!("{}{}", self.what, self.unit.suffix()),
            value(Kind::Direct),
            value(Kind::WebSocket),
            value(Kind::Spdy),
            value(Kind::Ours),
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            target,
            if self.reached() { "yes" } else { "**no**" }.to_owned(),
        ]
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds | Self::SecondsPerGibibyte => format!("{value:.2}"),
            Self::Mebibytes | Self::Percent => format!("{value:.1}"),
            Self::PerSecond | Self::MebibytesPerSecond | Self::Count => format!("{value:.0}"),
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Milliseconds => ", ms",
            Self::PerSecond => ", per second",
            Self::MebibytesPerSecond => ", MiB/s",
            Self::SecondsPerGibibyte => ", CPU s/GiB",
            Self::Mebibytes => ", MiB",
            Self::Percent => ", %",
            Self::Count => "",
        }
    }
}

/// Says what is going on to whoever waits.
pub(crate) fn progress(what: &str) {
    // A closed terminal is no reason to stop.
    let _unseen = writeln!(std::io::stderr(), "bench: {what}");
}

/// What the numbers depend on.
pub(crate) fn circumstances(rounds: u16) -> Result<String> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    let (version, peer, machine) = (
        env!("CARGO_PKG_VERSION"),
        kubectl::version()?,
        process::machine(),
    );
    Ok(format!(
        "{now}; kubefwd {version}, {peer}; {machine}; medians of {rounds} rounds"
    ))
}

/// Prints the table as Markdown.
pub(crate) fn print(rows: &[Row]) -> Result<()> {
    const HEAD: [&str; 8] = [
        "measure",
        "direct TCP",
        "kubectl WebSocket",
        "kubectl SPDY",
        "ours",
        "ratio",
        "target",
        "reached",
    ];
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).max(HEAD[column].len())
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let line = |row: [&str; 8]| {
        let padded: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("| {} |", padded.join(" | "))
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line(HEAD))?;
    writeln!(
        out,
        "|{}|",
        widths.map(|width| "-".repeat(width + 2)).join("|")
    )?;
    for row in &cells {
        writeln!(out, "{}", line(row.each_ref().map(String::as_str)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: Target, ours: f64) -> Row {
        Row {
            what: "x".to_owned(),
            unit: Unit::Count,
            values: vec![
                (Kind::WebSocket, 10.0),
                (Kind::Spdy, 20.0),
                (Kind::Ours, ours),
            ],
            target,
        }
    }

    #[test]
    fn the_better_transport_is_what_counts() {
        assert!(row(Target::AtMost(0.4), 4.0).reached());
        assert!(!row(Target::AtMost(0.4), 4.1).reached());
        assert!(row(Target::AtLeast(3.0), 60.0).reached());
        assert!(!row(Target::AtLeast(3.0), 59.0).reached());
        assert!(row(Target::Absolute(0.0), 0.0).reached());
        assert!(
            !row(Target::Absolute(0.0), f64::NAN).reached(),
            "not measured is not reached"
        );
    }
}
