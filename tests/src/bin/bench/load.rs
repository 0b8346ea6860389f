//! Clients: plain blocking sockets, so that what is measured is not ours.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kubefwd_tests::{MAX_SLICE, pattern};

/// No answer for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one stream of a download reads.
pub(crate) const DOWNLOAD: u64 = 256 * 1024 * 1024;
/// What one stream of an upload sends.
pub(crate) const UPLOAD: u64 = 256 * 1024 * 1024;
/// A small request.
const MESSAGE: usize = 128;

/// A connection that gives up when nothing comes.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// From the beginning of a new connection to the first byte of the answer.
pub(crate) fn first_byte(echo: SocketAddr) -> io::Result<Duration> {
    let began = Instant::now();
    let mut stream = connect(echo)?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    Ok(began.elapsed())
}

/// A small request and its answer on an open connection to an echo.
pub(crate) fn exchange(stream: &mut TcpStream) -> io::Result<Duration> {
    let began = Instant::now();
    stream.write_all(&[b'x'; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])?;
    Ok(began.elapsed())
}

/// `GET` on an open connection; returns the body.
pub(crate) fn get(stream: &mut TcpStream, path: &str) -> io::Result<Vec<u8>> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
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

/// Requests per second of so many clients, each on connections of its own: a new one for each request, or one for all.
pub(crate) fn requests_per_second(
    http: SocketAddr,
    clients: usize,
    time: Duration,
    keep: bool,
) -> io::Result<f64> {
    let began = Instant::now();
    let done = in_parallel(clients, || {
        let mut done = 0_u64;
        let mut kept = None;
        while began.elapsed() < time {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => connect(http)?,
            };
            get(&mut stream, "/")?;
            done += 1;
            kept = keep.then_some(stream);
        }
        Ok(done)
    })?;
    Ok(done.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}

/// Bytes per second of large answers, one after the other on one connection.
pub(crate) fn get_large(http: SocketAddr, time: Duration) -> io::Result<f64> {
    const SIZE: usize = 16 * 1024 * 1024;
    let mut stream = connect(http)?;
    let began = Instant::now();
    let mut bytes = 0;
    while began.elapsed() < time {
        bytes += get(&mut stream, &format!("/bytes/{SIZE}"))?.len();
    }
    Ok(bytes as f64 / began.elapsed().as_secs_f64())
}

/// Bytes per second of so many downloads at once.
pub(crate) fn download(source: SocketAddr, streams: u64) -> io::Result<f64> {
    let each = DOWNLOAD / streams;
    let began = Instant::now();
    in_parallel(streams as usize, || {
        let mut stream = connect(source)?;
        let mut buffer = vec![0; MAX_SLICE];
        let mut left = each;
        while left > 0 {
            let read = stream.read(&mut buffer)? as u64;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = left.saturating_sub(read);
        }
        Ok(())
    })?;
    Ok((each * streams) as f64 / began.elapsed().as_secs_f64())
}

/// Bytes per second of one upload of [`UPLOAD`] bytes, or of several that share them; each is acknowledged by the pod.
pub(crate) fn upload(sink: SocketAddr, streams: u64) -> io::Result<f64> {
    let began = Instant::now();
    let each = UPLOAD / streams;
    in_parallel(streams as usize, || {
        let mut stream = connect(sink)?;
        send_pattern(&mut stream, each)
    })?;
    Ok((each * streams) as f64 / began.elapsed().as_secs_f64())
}

/// Sends so many bytes to a sink and hears that they are the right ones.
pub(crate) fn send_pattern(stream: &mut TcpStream, length: u64) -> io::Result<()> {
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
pub(crate) fn acknowledged(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    let expected = format!("ok {length}\n");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    if answer == expected.as_bytes() {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&answer);
    Err(io::Error::other(format!("the sink says {answer:?}")))
}

/// Keeps a download or an upload going until `stop`.
pub(crate) fn keep_busy(address: SocketAddr, up: bool, stop: &AtomicBool) -> io::Result<()> {
    let mut stream = connect(address)?;
    let mut buffer = vec![0; MAX_SLICE];
    if up {
        stream.write_all(&u64::MAX.to_be_bytes())?;
    }
    while !stop.load(Ordering::Relaxed) {
        if up {
            stream.write_all(&buffer)?;
        } else if stream.read(&mut buffer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Runs the same in so many threads; the first error is that of all.
pub(crate) fn in_parallel<T: Send>(
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
