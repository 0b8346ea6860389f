//! What services and connections cost while nothing happens.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kubefwd_tests::harness::Options;
use kubefwd_tests::harness::net::resolve;

use crate::far::MANY;
use crate::load;
use crate::place::{Many, worker};
use crate::process::resident;
use crate::report::{Row, Unit};

const MEBI: f64 = 1024.0 * 1024.0;
/// Connections that are opened and then left alone.
const CONNECTIONS: usize = 5000;
/// Services that they are spread over.
const SPREAD: usize = 100;
/// After so long nothing of the start is under way any more.
const QUIET: Duration = Duration::from_secs(5);

pub(super) fn measure(directory: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (services, most) in [(1000, 40.0), (10_000, 150.0)] {
        let directory = directory.join(format!("many-{services}"));
        let many = Many::start(services, &directory, Options::default())?;
        std::thread::sleep(QUIET);
        let idle = memory(&many)?;
        let what = format!("memory of daemon and worker, {services} idle services");
        rows.push(Row::ours(what, Unit::Mebibytes, idle, most));
        if services == 1000 {
            rows.push(api_connections(&many)?);
            rows.push(connections(&many, idle)?);
        }
    }
    Ok(rows)
}

fn memory(many: &Many) -> Result<f64> {
    let daemon = resident(many.system.daemon_pid())?;
    let worker = resident(worker(&many.system)?)?;
    Ok((daemon + worker) as f64 / MEBI)
}

fn api_connections(many: &Many) -> Result<Row> {
    let counts = many.far.counts()?;
    let count = |name: &str| counts[name].as_f64().context("a count is missing");
    let others = count("connections_open")? - count("watches_open")?;
    let what = "API server connections beside watches, 1000 idle services";
    Ok(Row::ours(what, Unit::Count, others, 16.0))
}

fn connections(many: &Many, idle: f64) -> Result<Row> {
    let services: Vec<SocketAddr> = (0..SPREAD)
        .filter_map(|n| resolve(&format!("svc-{n:05}.{MANY}.r0")).first().copied())
        .map(|address| (address, 80).into())
        .collect();
    let mut open: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
    for n in 0..CONNECTIONS {
        let address = services.get(n % SPREAD).context("a service has no name")?;
        let mut stream = load::connect(*address)?;
        load::get(&mut stream, "/")?;
        open.push(stream);
    }
    std::thread::sleep(QUIET);
    let more = memory(many)? - idle;
    let what = format!("more memory, {CONNECTIONS} idle connections to {SPREAD} services");
    Ok(Row::ours(what, Unit::Mebibytes, more, 20.0))
}
