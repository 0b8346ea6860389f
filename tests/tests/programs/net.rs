//! Connections by name, as any program makes them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use kubefwd_tests::pattern;

/// Nothing here takes so long; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn connect(name: &str, port: u16) -> TcpStream {
    let stream = TcpStream::connect((name, port)).unwrap_or_else(|e| panic!("{name}:{port}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The whole answer to one GET on a connection of its own.
pub(crate) fn get(name: &str, port: u16, path: &str) -> String {
    try_get(name, port, path).unwrap_or_else(|e| panic!("http://{name}:{port}{path}: {e}"))
}

pub(crate) fn try_get(name: &str, port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((name, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {name}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.contains(" 200 ") {
        return Err(std::io::Error::other(format!("answered {answer:?}")));
    }
    Ok(answer)
}

/// Sends `length` bytes of the pattern and reads them back while it sends.
pub(crate) fn echo(name: &str, port: u16, length: usize) {
    let mut bytes = vec![0; length];
    fill(&mut bytes);
    let mut reader = connect(name, port);
    let mut writer = reader.try_clone().unwrap();
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut back = vec![0; length];
    reader.read_exact(&mut back).unwrap();
    sending.join().unwrap();
    assert!(back == bytes, "{length} bytes came back changed");
    reader.shutdown(Shutdown::Both).unwrap();
}

pub(crate) fn fill(bytes: &mut [u8]) {
    let mut offset = 0_u64;
    for part in bytes.chunks_mut(kubefwd_tests::MAX_SLICE) {
        part.copy_from_slice(&pattern(offset, part.len()));
        offset += part.len() as u64;
    }
}
