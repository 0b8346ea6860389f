//! How fast REST answers where very many services are forwarded: to who lists, to who follows events, and to who changes
//! something while others read. Each request has a connection of its own, as curl makes one; the name is looked up once, since
//! that takes the C library longer than most answers where the hosts file is so long.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_util::future::try_join_all;
use kubefwd_tests::harness::Options;
use kubefwd_tests::harness::http::{Place, Request};
use kubefwd_tests::harness::net::resolve;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::far::MANY;
use crate::place::{Many, settle};
use crate::report::{self, Row, Unit};
use crate::stats::{median, percentile};

const SERVICES: usize = 10_000;
const SUBSCRIBERS: usize = 1_000;
/// Clients that read the whole list again and again.
const READERS: usize = 2;
/// Requests of each kind in one round.
const REQUESTS: usize = 20;
/// No event for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
const HOST: &str = "kubefwd.internal";

pub(super) fn measure(directory: &Path, rounds: u16) -> Result<Vec<Row>> {
    let options = Options {
        rest: true,
        ..Options::default()
    };
    let _many = Many::start(SERVICES, &directory.join("rest"), options)?;
    let address = resolve(HOST).first().copied();
    let address = SocketAddr::new(address.context("REST has no name")?, 80);
    let rest = Place::Tcp(address.ip().to_string(), address.port());
    let mut rows = Vec::new();
    for (what, path, most) in [
        ("list of 100", "/api/v1/services?limit=100", 5.0),
        ("summary", "/api/v1/metrics", 2.0),
        ("full list", "/api/v1/services", 100.0),
    ] {
        let [p50, _] = percentiles(rounds, || ask(&rest, "GET", path, 200))?;
        rows.push(row(what, p50, most));
    }
    rows.push(events(&rest, address, rounds)?);
    rows.extend(beside_readers(&rest, rounds)?);
    Ok(rows)
}

fn row(what: &str, milliseconds: f64, most: f64) -> Row {
    let what = format!("REST, {SERVICES} services: {what}");
    Row::ours(what, Unit::Milliseconds, milliseconds, most)
}

/// The median and the 99th percentile of many requests: of each round, and then the median of the rounds.
fn percentiles(rounds: u16, once: impl Fn() -> Result<f64>) -> Result<[f64; 2]> {
    let mut of_rounds = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        settle();
        let samples: Result<Vec<f64>> = (0..REQUESTS).map(|_| once()).collect();
        let samples = samples?;
        for (values, part) in of_rounds.iter_mut().zip([0.5, 0.99]) {
            values.push(percentile(&samples, part));
        }
    }
    Ok(of_rounds.map(|values| median(&values)))
}

/// How long a whole answer takes, with its connection, in milliseconds.
fn ask(rest: &Place, method: &str, path: &str, status: u16) -> Result<f64> {
    let began = Instant::now();
    let reply = Request::new(method, path).try_send(rest)?;
    let took = milliseconds(began);
    ensure!(reply.status == status, "{reply}");
    Ok(took)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// From a request that removes a service to the last subscriber who has heard of it.
fn events(rest: &Place, address: SocketAddr, rounds: u16) -> Result<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let subscribe = try_join_all((0..SUBSCRIBERS).map(|_| subscribe(address)));
    let mut subscribers = runtime.block_on(subscribe)?;
    let mut samples = Vec::new();
    for number in 0..rounds {
        settle();
        let key = format!("svc-{number:05}.{MANY}.r0");
        let path = format!("/api/v1/services/{key}");
        let began = Instant::now();
        std::thread::scope(|scope| {
            let remove = scope.spawn(|| ask(rest, "DELETE", &path, 200));
            let hear = try_join_all(subscribers.iter_mut().map(|one| hear(one, &key)));
            let heard = async { tokio::time::timeout(PATIENCE, hear).await };
            runtime.block_on(heard)??;
            samples.push(milliseconds(began));
            remove.join().map_err(|_| anyhow!("a client panicked"))??;
            anyhow::Ok(())
        })?;
    }
    let what = format!("event reaches the last of {SUBSCRIBERS} subscribers");
    Ok(row(&what, median(&samples), 100.0))
}

async fn subscribe(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /api/v1/events?type=service.removed HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut stream = BufReader::new(stream);
    hear(&mut stream, ": connected").await?;
    Ok(stream)
}

/// Reads up to the line that says this.
async fn hear(stream: &mut BufReader<TcpStream>, what: &str) -> Result<()> {
    let mut line = String::new();
    while !line.contains(what) {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "a stream has ended");
    }
    Ok(())
}

/// What only the owner of the state can answer, while others read as much as they can.
fn beside_readers(rest: &Place, rounds: u16) -> Result<Vec<Row>> {
    let probe = || ask(rest, "DELETE", "/api/v1/services/nobody.none.r0", 404);
    let [alone, _] = percentiles(rounds, probe)?;
    let (stop, lists) = (AtomicBool::new(false), AtomicUsize::new(0));
    let read = || {
        while !stop.load(Ordering::Relaxed) {
            ask(rest, "GET", "/api/v1/services", 200)?;
            lists.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let [p50, p99] = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        let beside = percentiles(rounds, probe);
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().map_err(|_| anyhow!("a reader panicked"))??;
        }
        beside
    })?;
    report::progress(&format!(
        "a change takes {alone:.2} ms without readers; {} full lists were read meanwhile",
        lists.into_inner()
    ));
    let what = format!("a change beside {READERS} readers of full lists");
    Ok(vec![
        row(&format!("{what}, p50"), p50, 10.0),
        row(&format!("{what}, p99"), p99, 20.0),
    ])
}
