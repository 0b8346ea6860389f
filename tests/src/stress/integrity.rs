//! Whether every byte of many connections arrives, whatever their clients do: answers read slowly or not to their end,
//! uploads with and without a half-close, echoes that fill every buffer on the way. The client checks what it gets, and a
//! sink in the pod what it got.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::clients::{acknowledged, connect, get, in_parallel, send_pattern};
use crate::pods::pattern::{PatternCheck, pattern};

/// Slow readers are for small answers: they would take the whole time otherwise.
const SLOW: u64 = 64 * 1024;

/// Where the applications are reached.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// [`Behaviour::Echo`](crate::Behaviour::Echo).
    pub echo: SocketAddr,
    /// [`Behaviour::Sink`](crate::Behaviour::Sink).
    pub sink: SocketAddr,
    /// [`Behaviour::Http`](crate::Behaviour::Http).
    pub http: SocketAddr,
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides of each connection what it does.
    pub seed: u64,
    /// How many connections.
    pub connections: u64,
    /// How many at once.
    pub clients: usize,
    /// Sizes are spread evenly over the powers of two up to this one.
    pub largest: u32,
}

/// A connection that did not end as it should, or got other bytes.
#[derive(Debug)]
pub struct Wrong {
    number: u64,
    what: &'static str,
    error: io::Error,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            what,
            error,
        } = self;
        write!(f, "connection {number} ({what}): {error}")
    }
}

/// Makes all connections of a plan and returns those that went wrong.
///
/// # Errors
/// When a client ends early.
pub fn run(addresses: Addresses, plan: Plan) -> io::Result<Vec<Wrong>> {
    let next = AtomicU64::new(0);
    let wrong = in_parallel(plan.clients, || {
        let mut wrong = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.connections {
                return Ok(wrong);
            }
            let mut rng = StdRng::seed_from_u64(plan.seed.wrapping_add(number));
            if let Err((what, error)) = one(addresses, plan.largest, &mut rng) {
                wrong.push(Wrong {
                    number,
                    what,
                    error,
                });
            }
        }
    })?;
    Ok(wrong.into_iter().flatten().collect())
}

/// One connection of a random kind.
fn one(
    Addresses { echo, sink, http }: Addresses,
    largest: u32,
    rng: &mut StdRng,
) -> Result<(), (&'static str, io::Error)> {
    let most = 1_u64 << rng.random_range(0..=largest);
    let length = rng.random_range(1..=most);
    let (what, result) = match rng.random_range(0..7) {
        0 => ("upload", upload(sink, length)),
        1 => ("upload and half-close", half_close(sink, length, rng)),
        2 => ("upload broken off", break_off(sink, length, rng)),
        3 => ("download", download(http, length)),
        4 => ("slow download", slow(http, length.min(SLOW), rng)),
        5 => ("download broken off", leave(http, length)),
        _ => ("echo", echoed(echo, length, rng)),
    };
    result.map_err(|error| (what, error))
}

fn upload(sink: SocketAddr, length: u64) -> io::Result<()> {
    send_pattern(&mut connect(sink)?, length)
}

fn half_close(sink: SocketAddr, length: u64, rng: &mut StdRng) -> io::Result<()> {
    let mut stream = connect(sink)?;
    stream.write_all(&length.to_be_bytes())?;
    send(&mut stream, length, rng)?;
    stream.shutdown(Shutdown::Write)?;
    acknowledged(&mut stream, length)
}

/// Sends a part of what it promises and goes.
fn break_off(sink: SocketAddr, length: u64, rng: &mut StdRng) -> io::Result<()> {
    let mut stream = connect(sink)?;
    stream.write_all(&(length + 1).to_be_bytes())?;
    send(&mut stream, length, rng)
}

/// In pieces of random size.
fn send(stream: &mut impl io::Write, length: u64, rng: &mut StdRng) -> io::Result<()> {
    let mut offset = 0;
    while offset < length {
        let most = rng.random_range(1..100_000_u64);
        let bytes = pattern(offset, most.min(length - offset) as usize);
        stream.write_all(&bytes)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

fn download(http: SocketAddr, length: u64) -> io::Result<()> {
    let body = get(&mut connect(http)?, &format!("/bytes/{length}"))?;
    check(&body, length)
}

/// Pauses now and then.
fn slow(http: SocketAddr, length: u64, rng: &mut StdRng) -> io::Result<()> {
    let mut stream = connect(http)?;
    ask(&mut stream, length)?;
    let mut answer = Vec::new();
    let mut some = [0; 8192];
    let body = loop {
        if rng.random_range(0..4) == 0 {
            std::thread::sleep(Duration::from_millis(rng.random_range(1..20)));
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

/// Reads a part and goes.
fn leave(http: SocketAddr, length: u64) -> io::Result<()> {
    let mut stream = connect(http)?;
    ask(&mut stream, length)?;
    stream.read_exact(&mut [0; 20])
}

fn ask(stream: &mut impl io::Write, length: u64) -> io::Result<()> {
    let request = format!("GET /bytes/{length} HTTP/1.1\r\nHost: pod\r\n\r\n");
    stream.write_all(request.as_bytes())
}

/// Sends and reads at once, as an echo of more than the buffers hold demands.
fn echoed(echo: SocketAddr, length: u64, rng: &mut StdRng) -> io::Result<()> {
    let mut stream = connect(echo)?;
    let mut sending = stream.try_clone()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || send(&mut sending, length, rng));
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        sender
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))?;
        check(&body, length)
    })
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
