//! What looking for HTTP requests in forwarded bytes costs: two daemons in front of one cluster, one that looks and one
//! that does not.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::load;
use crate::place::{Capturing, settle};
use crate::process;
use crate::report::{self, Row, Unit};
use crate::stats::median;
use crate::tools::App;

const CLIENTS: u8 = 32;
const TIME: Duration = Duration::from_secs(2);
const MEBI: f64 = 1024.0 * 1024.0;
/// The most that it may cost, percent.
const MOST: f64 = 3.0;

/// A kind of work: how much of it was done in a second.
type Work = fn(SocketAddr) -> std::io::Result<f64>;

pub(super) fn measure(directory: &Path, rounds: u16) -> Result<Vec<Row>> {
    let without = Capturing::start(directory, false)?;
    let with = Capturing::beside(&without, directory)?;
    let mut rows = Vec::new();
    let works: [(&str, App, Work); 3] = [
        ("keep-alive requests, 32 connections", App::Http, |http| {
            load::requests_per_second(http, CLIENTS, TIME, true)
        }),
        ("a connection per request, 32 at once", App::Http, |http| {
            load::requests_per_second(http, CLIENTS, TIME, false)
        }),
        ("download by HTTP, MiB", App::Http, |http| {
            load::get_large(http, TIME).map(|bytes| bytes / MEBI)
        }),
    ];
    for (what, app, work) in works {
        // Rates, and what the worker spent for each unit of work.
        let mut rates = [Vec::new(), Vec::new()];
        let mut costs = [Vec::new(), Vec::new()];
        for round in 0..usize::from(rounds) {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let place = [&without, &with][which];
                let (address, worker) = (place.address(app), place.worker()?);
                settle();
                let before = process::cpu(worker)?;
                let began = std::time::Instant::now();
                let rate = work(address).with_context(|| what.to_owned())?;
                let done = rate * began.elapsed().as_secs_f64();
                costs[which].push((process::cpu(worker)? - before).as_secs_f64() / done);
                rates[which].push(rate);
            }
        }
        let [slow, fast] = [median(&rates[1]), median(&rates[0])];
        let [more, less] = [median(&costs[1]), median(&costs[0])].map(|cost| cost * 1e6);
        report::progress(&format!(
            "{what}: {fast:.0} per second without capture, {slow:.0} with; {less:.1} and {more:.1} µs of the worker each"
        ));
        rows.push(row(
            format!("capture slows {what}"),
            (1.0 - slow / fast) * 100.0,
        ));
        rows.push(row(
            format!("worker's time for {what}"),
            (more / less - 1.0) * 100.0,
        ));
    }
    Ok(rows)
}

fn row(what: String, percent: f64) -> Row {
    Row::ours(what, Unit::Percent, percent, MOST)
}
