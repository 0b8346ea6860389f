//! The bytes of one connection to an API server: a socket, usually under TLS.
//!
//! rustls is driven through its unbuffered interface, because the buffered one reads the socket in steps of 4 KiB and copies
//! plaintext twice. Here one `read` takes up to 256 KiB of records, which are decrypted one behind the other into one
//! contiguous stretch of plaintext, and one stretch of plaintext is sealed and leaves in one `write`.
//!
//! The large buffers belong to the thread ([`with_scratch`]), not to the connection: between two polls an upstream keeps only an
//! incomplete record and what the socket did not take. A thousand idle tunnels hold no buffers.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::api_server::ApiServer;
use crate::dial::{DialError, Io, Traffic, dial};

/// The most plaintext that is sealed at once.
pub(crate) const WIRE: usize = 256 * 1024;
/// The most that is read from the socket at once.
const READ: usize = 256 * 1024;
/// An incomplete record, or a handshake message cut over several.
const REST: usize = 64 * 1024;
/// Headers and tags of the records of one full wire buffer, with room for small records.
const SEALED: usize = WIRE + 8 * 1024;

/// Buffers that a thread lends to the connection that it polls.
pub(crate) struct Scratch {
    cipher: Vec<u8>,
    /// What was read, after [`Upstream::poll_read`].
    pub(crate) plain: Vec<u8>,
    /// Room to put together what [`Upstream::seal`] shall send.
    pub(crate) wire: Vec<u8>,
    /// A buffer for sealed bytes, while no upstream holds it.
    pub(crate) sealed: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        cipher: vec![0; REST + READ],
        plain: vec![0; REST + READ],
        wire: vec![0; WIRE],
        sealed: Vec::new(),
    });
}

/// Lends the thread's buffers for one poll. Not to be nested.
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| work(&mut scratch.borrow_mut()))
}

/// One connection to an API server.
pub(crate) struct Upstream {
    io: Box<dyn Io>,
    tls: Option<Box<Tls>>,
    /// Sealed bytes that the socket has not taken: `out[sent..filled]`. Empty while there are none.
    out: Vec<u8>,
    sent: usize,
    filled: usize,
    eof: bool,
}

struct Tls {
    connection: UnbufferedClientConnection,
    /// An incomplete record.
    rest: Vec<u8>,
    /// `rest` came with the handshake and may hold whole records.
    unopened: bool,
}

impl Upstream {
    /// Connects to `server` and makes TLS with `tls`, unless the server speaks plain HTTP.
    pub(crate) async fn connect(
        server: &ApiServer,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, DialError> {
        dial(server, tls, Traffic::Tunnel, Self::plain, Self::tls).await
    }

    pub(crate) fn plain(io: Box<dyn Io>) -> Self {
        Self {
            io,
            tls: None,
            out: Vec::new(),
            sent: 0,
            filled: 0,
            eof: false,
        }
    }

    /// Makes a TLS connection over `io`. Only `http/1.1` is offered: an HTTP/2 connection cannot be upgraded.
    ///
    /// # Errors
    /// The handshake failed; the source is a [`rustls::Error`] where the peer or its certificate was at fault.
    pub(crate) async fn tls(
        mut io: Box<dyn Io>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let mut connection =
            UnbufferedClientConnection::new_with_alpn(config, name, vec![b"http/1.1".to_vec()])
                .map_err(io::Error::other)?;
        let mut incoming = vec![0; 16 * 1024];
        let mut used = 0;
        let mut outgoing = Vec::new();
        loop {
            let UnbufferedStatus { discard, state } =
                connection.process_tls_records(&mut incoming[..used]);
            let (mut blocked, mut done) = (false, false);
            match state.map_err(io::Error::other)? {
                ConnectionState::EncodeTlsData(mut data) => encode(&mut outgoing, &mut data)?,
                ConnectionState::TransmitTlsData(data) => {
                    io.write_all(&outgoing).await?;
                    outgoing.clear();
                    data.done();
                }
                ConnectionState::BlockedHandshake => blocked = true,
                ConnectionState::WriteTraffic(_) => done = true,
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            incoming.copy_within(discard..used, 0);
            used -= discard;
            if done {
                break;
            }
            if blocked {
                if used == incoming.len() {
                    incoming.resize(used + 16 * 1024, 0);
                }
                let read = io.read(&mut incoming[used..]).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                used += read;
            }
        }
        incoming.truncate(used);
        let mut upstream = Self::plain(io);
        upstream.tls = Some(Box::new(Tls {
            connection,
            unopened: !incoming.is_empty(),
            rest: incoming,
        }));
        Ok(upstream)
    }

    /// Reads what is there into `scratch.plain` and returns how many bytes of it; 0 at the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        let Some(tls) = &mut self.tls else {
            let mut room = ReadBuf::new(&mut scratch.plain[..READ]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
            self.eof = room.filled().is_empty();
            return Poll::Ready(Ok(room.filled().len()));
        };
        loop {
            let rest = tls.rest.len();
            if rest > REST {
                return Poll::Ready(Err(io::Error::other("a TLS message is larger than 64 KiB")));
            }
            let mut read = 0;
            if !std::mem::take(&mut tls.unopened) {
                let mut room = ReadBuf::new(&mut scratch.cipher[rest..rest + READ]);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
                read = room.filled().len();
                self.eof = read == 0;
            }
            scratch.cipher[..rest].copy_from_slice(&tls.rest);
            let opened = tls.open(&mut scratch.cipher[..rest + read], &mut scratch.plain)?;
            self.eof |= opened.closed;
            if !opened.reply.is_empty() {
                queue(&mut self.out, &mut self.filled, &opened.reply);
            }
            if opened.plain > 0 || self.eof {
                return Poll::Ready(Ok(opened.plain));
            }
        }
    }

    /// Reads what is there behind `into`.
    ///
    /// # Errors
    /// The socket failed or TLS was violated; the end of the stream is `UnexpectedEof`.
    pub(crate) async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        poll_fn(|cx| {
            with_scratch(|scratch| {
                let read = ready!(self.poll_read(cx, scratch))?;
                into.extend_from_slice(&scratch.plain[..read]);
                Poll::Ready(if read == 0 {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(())
                })
            })
        })
        .await
    }

    /// Sends `plain` and waits until the socket has taken all of it.
    pub(crate) async fn write_all(&mut self, plain: &[u8]) -> io::Result<()> {
        for piece in plain.chunks(WIRE) {
            with_scratch(|scratch| self.seal(piece, &mut scratch.sealed))?;
            poll_fn(|cx| with_scratch(|scratch| self.poll_flush(cx, &mut scratch.sealed))).await?;
        }
        Ok(())
    }

    /// Seals `plain` (at most [`WIRE`] bytes) behind what waits to be sent. `spare` is a buffer of the thread that the
    /// upstream keeps until it is flushed.
    pub(crate) fn seal(&mut self, plain: &[u8], spare: &mut Vec<u8>) -> io::Result<()> {
        if self.out.is_empty() {
            self.out = std::mem::take(spare);
        }
        let Some(tls) = &mut self.tls else {
            queue(&mut self.out, &mut self.filled, plain);
            return Ok(());
        };
        if self.out.len() < self.filled + SEALED {
            self.out.resize(self.filled + SEALED, 0);
        }
        loop {
            let UnbufferedStatus { discard, state } =
                tls.connection.process_tls_records(&mut tls.rest);
            let mut done = false;
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    self.filled += traffic
                        .encrypt(plain, &mut self.out[self.filled..])
                        .map_err(io::Error::other)?;
                    done = true;
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut bytes = Vec::new();
                    encode(&mut bytes, &mut data)?;
                    queue(&mut self.out, &mut self.filled, &bytes);
                    self.out.resize(self.filled + SEALED, 0);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.eof = true,
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            tls.rest.drain(..discard);
            if done {
                return Ok(());
            }
        }
    }

    /// Whether sealed bytes wait for the socket.
    pub(crate) fn is_flushed(&self) -> bool {
        self.sent == self.filled
    }

    /// Writes what waits; ready when all of it is with the kernel. Gives the buffer back to the thread.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        spare: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.filled {
            let waiting = &self.out[self.sent..self.filled];
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sent = 0;
        self.filled = 0;
        let buffer = std::mem::take(&mut self.out);
        if spare.is_empty() && buffer.len() <= 2 * SEALED {
            *spare = buffer;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Sends close_notify if the socket takes it without waiting, and closes.
    pub(crate) async fn close(mut self) {
        let mut alert = [0; 64];
        let length = self.tls.as_mut().and_then(|tls| {
            match tls.connection.process_tls_records(&mut tls.rest).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    traffic.queue_close_notify(&mut alert).ok()
                }
                _ => None,
            }
        });
        if let Some(length) = length
            && self.is_flushed()
        {
            queue(&mut self.out, &mut self.filled, &alert[..length]);
            let mut spare = Vec::new();
            let _ = poll_fn(|cx| Poll::Ready(self.poll_flush(cx, &mut spare))).await;
        }
    }
}

/// What one call of [`Tls::open`] found.
struct Opened {
    plain: usize,
    /// Sealed bytes that TLS itself wants to send, such as the answer to a key update.
    reply: Vec<u8>,
    closed: bool,
}

impl Tls {
    /// Decrypts the records in `incoming` into `plain`, and keeps an incomplete one for the next time.
    fn open(&mut self, incoming: &mut [u8], plain: &mut [u8]) -> io::Result<Opened> {
        let mut opened = Opened {
            plain: 0,
            reply: Vec::new(),
            closed: false,
        };
        let mut at = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut incoming[at..]);
            match state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        let end = opened.plain + record.payload.len();
                        plain[opened.plain..end].copy_from_slice(record.payload);
                        opened.plain = end;
                        at += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut opened.reply, &mut data)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => opened.closed = true,
                ConnectionState::Closed => {
                    opened.closed = true;
                    return Ok(opened);
                }
                _ => {
                    at += discard;
                    self.rest.clear();
                    self.rest.extend_from_slice(&incoming[at..]);
                    return Ok(opened);
                }
            }
            at += discard;
        }
    }
}

/// Appends a handshake record to `out`.
fn encode<T>(out: &mut Vec<u8>, data: &mut EncodeTlsData<'_, T>) -> io::Result<()> {
    let at = out.len();
    let required = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(error) => return Err(io::Error::other(error)),
        Ok(_) => 0,
    };
    out.resize(at + required, 0);
    if required > 0 {
        data.encode(&mut out[at..]).map_err(io::Error::other)?;
    }
    Ok(())
}

fn queue(out: &mut Vec<u8>, filled: &mut usize, bytes: &[u8]) {
    if out.len() < *filled + bytes.len() {
        out.resize(*filled + bytes.len(), 0);
    }
    out[*filled..*filled + bytes.len()].copy_from_slice(bytes);
    *filled += bytes.len();
}

#[cfg(test)]
mod tests;
