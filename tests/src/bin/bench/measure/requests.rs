//! Small HTTP requests of 32 clients at once.

use std::time::Duration;

use anyhow::Result;
use kubefwd_tests::harness::sandbox;

use super::compare;
use crate::load;
use crate::place::Place;
use crate::report::{Row, Target, Unit};
use crate::tools::App;

const CLIENTS: u8 = 32;
const TIME: Duration = Duration::from_secs(1);

pub(super) fn measure(place: &mut Place, rounds: u16) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (keep, what, least) in [
        (false, "new connection per request, 32 at once", 3.0),
        (true, "keep-alive, 32 connections", 1.5),
    ] {
        if keep && sandbox::is_real() {
            // busybox httpd, which runs there, closes after every answer.
            continue;
        }
        let [rate] = compare(place, 0, rounds, |tool| {
            let address = tool.address(App::Http)?;
            Ok([load::requests_per_second(address, CLIENTS, TIME, keep)?])
        })?;
        rows.push(Row {
            what: what.to_owned(),
            unit: Unit::PerSecond,
            values: rate,
            target: Target::AtLeast(least),
        });
    }
    Ok(rows)
}
