//! How long small requests take while somebody moves as many bytes as go through, to or from the same pod.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::compare;
use crate::load;
use crate::place::Place;
use crate::report::{Row, Target, Unit};
use crate::stats::percentile;
use crate::tools::App;

const TIME: Duration = Duration::from_secs(1);
/// Who comes while a transfer is under way is meant, not who comes in the moment in which it begins.
const UNDER_WAY: Duration = Duration::from_millis(500);

pub(super) fn measure(place: &mut Place, rounds: u16) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (up, direction, app) in [
        (false, "download", App::Source),
        (true, "upload", App::Sink),
    ] {
        let [p99] = compare(place, 0, rounds, |tool| {
            let (bulk, echo) = (tool.address(app)?, tool.address(App::Echo)?);
            let stop = AtomicBool::new(false);
            let samples = std::thread::scope(|scope| {
                let busy = scope.spawn(|| load::keep_busy(bulk, up, &stop));
                std::thread::sleep(UNDER_WAY);
                let samples = exchanges(echo);
                stop.store(true, Ordering::Relaxed);
                busy.join()
                    .map_err(|_| anyhow!("the bulk transfer panicked"))??;
                anyhow::Ok(samples?)
            })?;
            Ok([percentile(&samples, 0.99)])
        })?;
        rows.push(Row {
            what: format!("small request beside a bulk {direction}, p99"),
            unit: Unit::Milliseconds,
            values: p99,
            target: Target::AtMost(0.5),
        });
    }
    Ok(rows)
}

fn exchanges(echo: std::net::SocketAddr) -> std::io::Result<Vec<f64>> {
    let began = Instant::now();
    let mut samples = Vec::new();
    let mut stream = load::connect(echo)?;
    load::exchange(&mut stream)?;
    while began.elapsed() < TIME {
        samples.push(load::exchange(&mut stream)?.as_secs_f64() * 1000.0);
    }
    Ok(samples)
}
