//! Connections as any program on the machine makes them: by name, through the system's resolver.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};

use super::PATIENCE;
use crate::pods::pattern::{MAX_SLICE, pattern};

/// The addresses that the system's resolver has for a name, without repetition.
#[must_use]
pub fn resolve(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs();
    let mut addresses: Vec<IpAddr> =
        found.map_or_else(|_| Vec::new(), |all| all.map(|a| a.ip()).collect());
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Connects to a name and port. Reads and writes give up after [`PATIENCE`].
///
/// # Errors
/// When the name does not resolve or nobody accepts.
pub fn try_connect(name: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((name, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects to a name and port.
///
/// # Panics
/// When that fails.
#[must_use]
pub fn connect(name: &str, port: u16) -> TcpStream {
    try_connect(name, port).unwrap_or_else(|error| panic!("connect to {name}:{port}: {error}"))
}

/// Sends bytes and expects them back.
///
/// # Panics
/// When something else comes, or nothing.
pub fn echo(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the connection takes bytes");
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("the bytes come back");
    assert!(back == bytes, "other bytes came back");
}

/// Sends that many bytes of the [`pattern`] on a connection of its own, and reads them back meanwhile.
///
/// # Panics
/// When other bytes come back, or fewer.
pub fn echo_pattern(name: &str, port: u16, length: usize) {
    let bytes = pattern_bytes(length);
    let mut reader = connect(name, port);
    let mut writer = reader.try_clone().expect("a socket can be shared");
    let mut back = vec![0; length];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer
                .write_all(&bytes)
                .expect("the connection takes bytes")
        });
        reader.read_exact(&mut back).expect("the bytes come back");
    });
    assert!(back == bytes, "{length} bytes came back changed");
}

/// The first bytes of the [`pattern`].
#[must_use]
pub fn pattern_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut offset = 0_u64;
    for part in bytes.chunks_mut(MAX_SLICE) {
        part.copy_from_slice(&pattern(offset, part.len()));
        offset += part.len() as u64;
    }
    bytes
}

/// The body of `GET path`. Read by its length: waiting for the end of the stream takes the kubelet's second of grace.
///
/// # Errors
/// When the connection or the request fails.
pub fn try_get(name: &str, port: u16, path: &str) -> io::Result<String> {
    let mut stream = BufReader::new(try_connect(name, port)?);
    write!(
        stream.get_mut(),
        "GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n"
    )?;
    let mut status = String::new();
    stream.read_line(&mut status)?;
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("not 200: {status:?}")));
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    String::from_utf8(body).map_err(io::Error::other)
}

/// The body of `GET /`.
///
/// # Panics
/// When the connection or the request fails.
#[must_use]
pub fn get(name: &str, port: u16) -> String {
    try_get(name, port, "/").unwrap_or_else(|error| panic!("GET http://{name}:{port}/: {error}"))
}

/// The pod that answers HTTP at a name and port, from the line `pod: NAME` of its answer.
///
/// # Panics
/// When none answers.
#[must_use]
pub fn pod(name: &str, port: u16) -> String {
    let body = get(name, port);
    let line = body.lines().find_map(|line| line.strip_prefix("pod: "));
    line.unwrap_or_else(|| panic!("no line `pod: NAME` in {body:?}"))
        .trim()
        .to_owned()
}
