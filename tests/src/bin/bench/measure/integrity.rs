//! Whether every byte of many connections arrives, whatever their clients do.

use anyhow::Result;
use kubefwd_tests::stress::integrity::{Addresses, Plan, run};

use crate::place::Place;
use crate::report::{self, Row, Unit};
use crate::tools::{App, Kind};

const CLIENTS: usize = 64;
/// Sizes go up to two to the power of this.
const LARGEST: u32 = 20;
/// Failures that are shown.
const SHOWN: usize = 10;

pub(super) fn measure(place: &mut Place, connections: u32) -> Result<Vec<Row>> {
    let mut address = |app| match place.tool(0, Kind::Ours) {
        Some(tool) => tool.address(app),
        None => anyhow::bail!("ours is not there"),
    };
    let addresses = Addresses {
        echo: address(App::Echo)?,
        sink: address(App::Sink)?,
        http: address(App::Http)?,
    };
    let plan = Plan {
        seed: rand::random(),
        connections: connections.into(),
        clients: CLIENTS,
        largest: LARGEST,
    };
    let wrong = run(addresses, plan)?;
    for wrong in wrong.iter().take(SHOWN) {
        report::progress(&format!("seed {}, {wrong}", plan.seed));
    }
    let what = format!("wrong or missing bytes, {connections} connections");
    Ok(vec![Row::ours(what, Unit::Count, wrong.len() as f64, 0.0)])
}
