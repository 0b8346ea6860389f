//! Clients: plain blocking sockets, so that what is measured is not ours.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use kubefwd_tests::MAX_SLICE;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

pub(crate) use kubefwd_tests::stress::clients::{
    connect, get, in_parallel, prepared, send_pattern,
};

/// What one stream of a download reads.
pub(crate) const DOWNLOAD: u64 = 512 * 1024 * 1024;
/// What one stream of an upload sends.
pub(crate) const UPLOAD: u64 = 512 * 1024 * 1024;
/// A small request.
const MESSAGE: usize = 128;

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

/// A connection from that address of the loopback interface.
///
/// Ports are reused by address: clients that make thousands of connections a second from one address soon spend most of
/// their time looking for one that is free (TIME_WAIT), and would measure that.
fn connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // The port is chosen when it is known where the connection goes.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
    socket.connect(&SockAddr::from(address))?;
    prepared(socket.into())
}

/// Requests per second of so many clients, each on connections of its own: a new one for each request, or one for all.
pub(crate) fn requests_per_second(
    http: SocketAddr,
    clients: u8,
    time: Duration,
    keep: bool,
) -> io::Result<f64> {
    let began = Instant::now();
    let next = AtomicU8::new(1);
    let done = in_parallel(clients.into(), || {
        let source = Ipv4Addr::new(127, 9, 9, next.fetch_add(1, Ordering::Relaxed));
        let mut done = 0_u64;
        let mut kept = None;
        while began.elapsed() < time {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => connect_from(source, http)?,
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
