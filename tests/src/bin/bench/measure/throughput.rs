//! Bytes per second, and what they cost the process that carries them.

use std::time::Duration;

use anyhow::Result;

use super::compare;
use crate::load;
use crate::place::Place;
use crate::process;
use crate::report::{Row, Target, Unit};
use crate::tools::App;

const MEBI: f64 = 1024.0 * 1024.0;
const GIBI: f64 = 1024.0 * MEBI;

pub(super) fn measure(place: &mut Place, rounds: u16) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut costs = Vec::new();
    for (direction, app, bytes) in [
        ("down", App::Source, load::DOWNLOAD),
        ("up", App::Sink, load::UPLOAD),
    ] {
        for streams in [1, 8] {
            let [speed, cost] = compare(place, 0, rounds, |tool| {
                let address = tool.address(app)?;
                let pid = tool.pid()?;
                let used = |pid: Option<u32>| pid.map_or(Ok(Duration::ZERO), process::cpu);
                let before = used(pid)?;
                let speed = match app {
                    App::Source => load::download(address, streams)?,
                    _ => load::upload(address, streams)?,
                };
                let spent = (used(pid)? - before).as_secs_f64();
                let cost = pid.map_or(f64::NAN, |_| spent / (bytes as f64 / GIBI));
                Ok([speed / MEBI, cost])
            })?;
            let streams = if streams == 1 {
                "1 stream"
            } else {
                "8 streams"
            };
            rows.push(Row {
                what: format!("throughput {direction}, {streams}"),
                unit: Unit::MebibytesPerSecond,
                values: speed,
                target: Target::AtLeast(1.2),
            });
            costs.push(Row {
                what: format!("processor time {direction}, {streams}"),
                unit: Unit::SecondsPerGibibyte,
                values: cost,
                target: Target::AtMost(0.5),
            });
        }
    }
    rows.extend(costs);
    Ok(rows)
}
