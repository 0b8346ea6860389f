//! Whether every byte of many connections arrives, whatever their clients do.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use kubefwd_tests::{PatternCheck, pattern};
use rand::Rng as _;

use crate::load;
use crate::place::Place;
use crate::report::{self, Row, Unit};
use crate::tools::{App, Kind};

const CLIENTS: usize = 64;
/// Sizes are spread evenly over powers of two up to this one.
const LARGEST: u32 = 20;
/// Slow readers are for small answers: they would take the whole time otherwise.
const SLOW: u64 = 64 * 1024;
/// Failures that are shown.
const SHOWN: usize = 10;

pub(super) fn measure(place: &mut Place, connections: u32) -> Result<Vec<Row>> {
    let mut address = |app| match place.tool(0, Kind::Ours) {
        Some(tool) => tool.address(app),
        None => anyhow::bail!("ours is not there"),
    };
    let (echo, sink, http) = (
        address(App::Echo)?,
        address(App::Sink)?,
        address(App::Http)?,
    );
    let (next, bad) = (AtomicU32::new(0), AtomicUsize::new(0));
    let shown = Mutex::new(0);
    load::in_parallel(CLIENTS, || {
        while next.fetch_add(1, Ordering::Relaxed) < connections {
            let Err((what, error)) = one(echo, sink, http) else {
                continue;
            };
            bad.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut shown) = shown.lock()
                && *shown < SHOWN
            {
                *shown += 1;
                report::progress(&format!("{what}: {error}"));
            }
        }
        Ok(())
    })?;
    let what = format!("wrong or missing bytes, {connections} connections");
    let bad = bad.into_inner() as f64;
    Ok(vec![Row::ours(what, Unit::Count, bad, 0.0)])
}

/// One connection of a random kind.
fn one(
    echo: SocketAddr,
    sink: SocketAddr,
    http: SocketAddr,
) -> Result<(), (&'static str, io::Error)> {
    let mut random = rand::rng();
    let most = 1_u64 << random.random_range(0..=LARGEST);
    let length = random.random_range(1..=most);
    let (what, result) = match random.random_range(0..6) {
        0 => ("upload", upload(sink, length, false)),
        1 => ("upload and half-close", upload(sink, length, true)),
        2 => ("download", download(http, length, false)),
        3 => ("slow download", download(http, length.min(SLOW), true)),
        4 => ("download broken off", leave(http, length)),
        _ => ("echo", echoed(echo, length)),
    };
    result.map_err(|error| (what, error))
}

fn upload(sink: SocketAddr, length: u64, half_close: bool) -> io::Result<()> {
    let mut stream = load::connect(sink)?;
    if !half_close {
        return load::send_pattern(&mut stream, length);
    }
    stream.write_all(&length.to_be_bytes())?;
    send(&mut stream, length)?;
    stream.shutdown(Shutdown::Write)?;
    load::acknowledged(&mut stream, length)
}

/// In pieces of random size.
fn send(stream: &mut impl io::Write, length: u64) -> io::Result<()> {
    let mut offset = 0;
    while offset < length {
        let most = rand::rng().random_range(1..100_000_u64);
        let bytes = pattern(offset, most.min(length - offset) as usize);
        stream.write_all(&bytes)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

fn download(http: SocketAddr, length: u64, slow: bool) -> io::Result<()> {
    let mut stream = load::connect(http)?;
    if !slow {
        let body = load::get(&mut stream, &format!("/bytes/{length}"))?;
        return check(&body, length);
    }
    stream.write_all(format!("GET /bytes/{length} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut some = [0; 8192];
    let body = loop {
        if rand::rng().random_range(0..4) == 0 {
            std::thread::sleep(Duration::from_millis(rand::rng().random_range(1..20)));
        }
        let read = stream.read(&mut some)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&some[..read]);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head
            && answer.len() as u64 >= head as u64 + 4 + length
        {
            break answer.split_off(head + 4);
        }
    };
    check(&body, length)
}

fn check(body: &[u8], length: u64) -> io::Result<()> {
    if body.len() as u64 != length {
        return Err(io::Error::other(format!(
            "{} bytes instead of {length}",
            body.len()
        )));
    }
    PatternCheck::default()
        .check(body)
        .map_err(io::Error::other)
}

/// Reads a part and goes.
fn leave(http: SocketAddr, length: u64) -> io::Result<()> {
    let mut stream = load::connect(http)?;
    stream.write_all(format!("GET /bytes/{length} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
    let mut some = [0; 20];
    stream.read_exact(&mut some)
}

/// Sends and reads at once, as an echo of more than the buffers hold demands.
fn echoed(echo: SocketAddr, length: u64) -> io::Result<()> {
    let mut stream = load::connect(echo)?;
    let mut sending = stream.try_clone()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || send(&mut sending, length));
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        sender
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))?;
        check(&body, length)
    })
}
