//! Pods that are replaced or killed while connections come.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kubefwd_tests::harness::net::resolve;

use crate::far::{Far, NAMESPACE};
use crate::load;
use crate::place::Place;
use crate::report::{self, Row, Unit};
use crate::stats::percentile;
use crate::tools::App;

/// New connections per second.
const RATE: u32 = 200;
/// How long they come.
const TIME: Duration = Duration::from_secs(10);

pub(super) fn measure(place: &mut Place, rounds: u16) -> Result<Vec<Row>> {
    let far = place.far().context("no simulated cluster")?;
    let address = resolve(&format!("web.{NAMESPACE}.r0"));
    let address = address
        .first()
        .context("the service `web` has no address")?;
    let web = SocketAddr::new(*address, App::Http.port());
    let (failed, restarts) = rolling_restart(far, web)?;
    let (lost, next) = kills(far, web, rounds)?;
    let restarting = format!("failed connections, {restarts} rolling restarts under {RATE}/s");
    Ok(vec![
        Row::ours(restarting, Unit::Count, failed as f64, 0.0),
        Row::ours(
            format!("failed connections, {rounds} kills of the serving pod"),
            Unit::Count,
            lost as f64,
            0.0,
        ),
        Row::ours(
            "next good answer after a kill, slowest",
            Unit::Milliseconds,
            percentile(&next, 1.0),
            100.0,
        ),
    ])
}

/// How many connections failed, and how many restarts they saw.
fn rolling_restart(far: &Far, web: SocketAddr) -> Result<(usize, usize)> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let load = scope.spawn(move || {
            std::thread::scope(|clients| {
                let mut running = Vec::new();
                for n in 0..RATE * TIME.as_secs() as u32 {
                    let due = began + Duration::from_secs(1) * n / RATE;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    running.push(clients.spawn(move || request(web)));
                }
                let joined = running.into_iter().map(|client| client.join());
                let failed = joined.filter(|result| !matches!(result, Ok(Ok(_))));
                failed
                    .inspect(|why| report::progress(&format!("a connection failed: {why:?}")))
                    .count()
            })
        });
        let mut restarts = 0;
        while began.elapsed() < TIME {
            far.control("POST", &format!("rollout?ns={NAMESPACE}&deploy=web"))?;
            restarts += 1;
        }
        Ok((load.join().unwrap_or(usize::MAX), restarts))
    })
}

/// How many connections failed right after their pod was killed, and how long the first good answer took each time, in
/// milliseconds.
fn kills(far: &Far, web: SocketAddr, rounds: u16) -> Result<(usize, Vec<f64>)> {
    let (mut failed, mut next) = (0, Vec::new());
    for _ in 0..rounds {
        let pod = request(web)?;
        let pod = pod.lines().find_map(|line| line.strip_prefix("pod: "));
        let pod = pod.context("the answer names no pod")?.to_owned();
        far.control("POST", &format!("kill?ns={NAMESPACE}&pod={pod}"))?;
        let killed = Instant::now();
        while let Err(error) = request(web) {
            report::progress(&format!("a connection after a kill failed: {error}"));
            failed += 1;
        }
        next.push(killed.elapsed().as_secs_f64() * 1000.0);
        far.control("POST", &format!("start?ns={NAMESPACE}&pod={pod}"))?;
        // The watches tell the worker.
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok((failed, next))
}

fn request(web: SocketAddr) -> std::io::Result<String> {
    let body = load::get(&mut load::connect(web)?, "/")?;
    String::from_utf8(body).map_err(std::io::Error::other)
}
