//! Connections whose every byte is checked, for as long as a run lasts.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::PatternCheck;
use crate::pods::pattern::{MAX_SLICE, pattern};

/// What became of connections to an application that echoes.
#[derive(Debug, Default)]
pub struct Tally {
    /// All bytes came back.
    pub complete: AtomicU64,
    /// It could not be made, or ended early.
    pub broken: AtomicU64,
    /// Bytes came that had not been sent.
    pub wrong: AtomicU64,
    /// Bytes that came back as they were.
    pub bytes: AtomicU64,
}

impl Tally {
    /// Makes one connection, sends so many bytes of the pattern (at most [`MAX_SLICE`]) and compares what comes back.
    pub fn connection(&self, to: SocketAddr, length: usize, patience: Duration) {
        match exchange(to, length.min(MAX_SLICE), patience) {
            Ok(()) => {
                self.complete.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.wrong.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                self.broken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The present value of one of the counters.
    #[must_use]
    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// Sends and receives on one connection.
///
/// # Errors
/// `InvalidData` for bytes that had not been sent; else what the system says.
pub fn exchange(to: SocketAddr, length: usize, patience: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let sent = pattern(0, length);
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&sent));
        let (mut check, mut left) = (PatternCheck::default(), length);
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            if left == 0 {
                break Ok(());
            }
            match stream.read(&mut buffer) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    if read > left || check.check(&buffer[..read]).is_err() {
                        break Err(io::ErrorKind::InvalidData.into());
                    }
                    left -= read;
                }
                Err(error) => break Err(error),
            }
        };
        if read.is_err() {
            // The writer is not to wait for a reader that has given up.
            let _closed = stream.shutdown(std::net::Shutdown::Both);
        }
        let written = writing
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        read.and(written)
    })
}
