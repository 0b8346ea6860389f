//! Clients that check what they get: plain blocking sockets, so that nothing of ours is between a test and the connection.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::harness::PATIENCE;
use crate::pods::pattern::{MAX_SLICE, pattern};

/// A connection that gives up when nothing comes.
///
/// # Errors
/// When nobody accepts.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    prepared(TcpStream::connect(address)?)
}

/// Makes an open connection one that gives up when nothing comes.
///
/// # Errors
/// When it is closed already.
pub fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// `GET` on an open connection; returns the body.
///
/// # Errors
/// When the connection fails, or the answer is no success with a length.
pub fn get(stream: &mut TcpStream, path: &str) -> io::Result<Vec<u8>> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: pod\r\n\r\n").as_bytes())?;
    let mut answer = Vec::with_capacity(1024);
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&chunk[..read]);
        let Some(body) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&answer[..body]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") && !head.starts_with("http/1.0 200") {
            return Err(io::Error::other(head));
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse::<usize>().ok());
        let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
        let have = answer.len() - body - 4;
        let mut rest = answer.split_off(body + 4);
        rest.resize(length.max(have), 0);
        stream.read_exact(&mut rest[have..])?;
        return Ok(rest);
    }
}

/// Sends so many bytes to a sink and hears that they are the right ones.
///
/// # Errors
/// When the connection fails, or the sink got other bytes.
pub fn send_pattern(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    stream.write_all(&length.to_be_bytes())?;
    let mut offset = 0;
    while offset < length {
        let most = (length - offset).min(MAX_SLICE as u64) as usize;
        let bytes = pattern(offset, most);
        stream.write_all(&bytes)?;
        offset += bytes.len() as u64;
    }
    acknowledged(stream, length)
}

/// The sink's verdict.
///
/// # Errors
/// When the connection fails, or the sink got other bytes.
pub fn acknowledged(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    let expected = format!("ok {length}\n");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    if answer == expected.as_bytes() {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&answer);
    Err(io::Error::other(format!("the sink says {answer:?}")))
}

/// Runs the same in so many threads.
///
/// # Errors
/// The first error of any of them.
pub fn in_parallel<T: Send>(
    threads: usize,
    work: impl Fn() -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        running
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
            })
            .collect()
    })
}
