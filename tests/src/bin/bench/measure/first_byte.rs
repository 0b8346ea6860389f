//! From a new connection to the first byte of its answer.

use anyhow::Result;

use super::compare;
use crate::load;
use crate::place::Place;
use crate::report::{Row, Target, Unit};
use crate::stats::percentile;
use crate::tools::App;

/// Connections of one tool in one round, without and with a round trip on the way.
const NEAR: usize = 300;
const FAR: usize = 12;

pub(super) fn measure(place: &mut Place, rounds: u16) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for delay in place.delays() {
        let count = if *delay == 0 { NEAR } else { FAR };
        let [p50, p99] = compare(place, *delay, rounds, |tool| {
            let address = tool.address(App::Echo)?;
            // The first one may open a tunnel.
            load::first_byte(address)?;
            let mut samples = Vec::with_capacity(count);
            for _ in 0..count {
                samples.push(load::first_byte(address)?.as_secs_f64() * 1000.0);
            }
            Ok([percentile(&samples, 0.5), percentile(&samples, 0.99)])
        })?;
        let row = |what: String, values, most| Row {
            what,
            unit: Unit::Milliseconds,
            values,
            target: Target::AtMost(most),
        };
        let what = match place.far() {
            Some(_) => format!("new connection to first byte, {delay} ms round trip"),
            // As far away as it is.
            None => "new connection to first byte".to_owned(),
        };
        if *delay == 0 {
            rows.push(row(format!("{what}, p50"), p50, 0.6));
            rows.push(row(format!("{what}, p99"), p99, 0.6));
        } else {
            rows.push(row(what, p50, 0.4));
        }
    }
    Ok(rows)
}
