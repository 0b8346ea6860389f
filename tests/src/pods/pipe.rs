//! An in-memory TCP connection: two byte pipes that hand over chunks without copying.
//!
//! Each direction holds about a socket buffer's worth of bytes. Dropping the writer is a FIN, [`PipeWriter::reset`] an
//! RST; dropping the reader makes the writer fail with a broken pipe. One task reads and one writes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a direction holds before its writer waits, like a kernel's socket buffers.
const SOCKET_BUFFER: usize = 256 * 1024;

/// The largest chunk that [`AsyncWrite`] makes of one write.
const WRITE_CHUNK: usize = 64 * 1024;

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    queued: usize,
    finished: bool,
    reset: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending end of one direction.
#[derive(Debug)]
pub(crate) struct PipeWriter(Arc<Shared>);

/// The receiving end of one direction.
#[derive(Debug)]
pub(crate) struct PipeReader(Arc<Shared>);

/// One end of a connection. Implements [`AsyncRead`] and [`AsyncWrite`] for those who need them.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) reader: PipeReader,
    pub(crate) writer: PipeWriter,
}

/// Both ends of a new connection.
pub(crate) fn connection() -> (Conn, Conn) {
    let (a, b) = (Arc::new(Shared::default()), Arc::new(Shared::default()));
    let near = Conn {
        reader: PipeReader(Arc::clone(&a)),
        writer: PipeWriter(Arc::clone(&b)),
    };
    let far = Conn {
        reader: PipeReader(b),
        writer: PipeWriter(a),
    };
    (near, far)
}

impl PipeWriter {
    /// Queues a chunk when there is room; takes it out of `chunk` when it did.
    pub(crate) fn poll_send(
        &self,
        context: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        if chunk.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.0.lock();
        if state.reader_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.queued >= SOCKET_BUFFER {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.queued += chunk.len();
        state.queue.push_back(std::mem::take(chunk));
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a chunk, waiting for room.
    pub(crate) async fn send(&self, mut chunk: Bytes) -> io::Result<()> {
        poll_fn(|context| self.poll_send(context, &mut chunk)).await
    }

    /// Ends the direction with a reset: what is queued is lost, the reader fails.
    pub(crate) fn reset(&self) {
        self.resetter().reset();
    }

    /// A handle that can reset the direction while the writer is used elsewhere.
    pub(crate) fn resetter(&self) -> Resetter {
        Resetter(Arc::clone(&self.0))
    }
}

/// Resets a direction; see [`PipeWriter::resetter`].
#[derive(Debug)]
pub(crate) struct Resetter(Arc<Shared>);

impl Resetter {
    pub(crate) fn reset(&self) {
        let mut state = self.0.lock();
        state.reset = true;
        state.queue.clear();
        state.queued = 0;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.finished = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

impl PipeReader {
    fn poll_chunk(
        &self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<Option<Bytes>>> {
        let mut state = self.0.lock();
        if state.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(front) = state.queue.front_mut() else {
            if state.finished {
                return Poll::Ready(Ok(None));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let chunk = if front.len() <= limit {
            state.queue.pop_front()
        } else {
            Some(front.split_to(limit))
        };
        state.queued -= chunk.as_ref().map_or(0, Bytes::len);
        let writer = (state.queued < SOCKET_BUFFER)
            .then(|| state.writer.take())
            .flatten();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(chunk))
    }

    /// The next chunk of at most `limit` bytes; `None` after a FIN.
    pub(crate) async fn recv(&self, limit: usize) -> io::Result<Option<Bytes>> {
        poll_fn(|context| self.poll_chunk(context, limit)).await
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        state.queue.clear();
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.reader.poll_chunk(context, buffer.remaining()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(chunk)) => {
                buffer.put_slice(&chunk.unwrap_or_default());
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = data.len().min(WRITE_CHUNK);
        let mut chunk = Bytes::copy_from_slice(&data[..taken]);
        self.writer
            .poll_send(context, &mut chunk)
            .map_ok(|()| taken)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = Vec::with_capacity(
            slices
                .iter()
                .map(|s| s.len())
                .sum::<usize>()
                .min(WRITE_CHUNK),
        );
        for slice in slices {
            let room = WRITE_CHUNK - gathered.len();
            gathered.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let taken = gathered.len();
        let mut chunk = Bytes::from(gathered);
        self.writer
            .poll_send(context, &mut chunk)
            .map_ok(|()| taken)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing: the direction ends when the connection is dropped, as a server that closes does.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads exactly `buffer.len()` bytes through `rest`, which keeps what was received beyond them. False at a FIN.
pub(crate) async fn read_exact(
    reader: &PipeReader,
    rest: &mut Bytes,
    buffer: &mut [u8],
) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        if rest.is_empty() {
            match reader.recv(usize::MAX).await? {
                Some(chunk) => *rest = chunk,
                None => return Ok(false),
            }
        }
        let taken = rest.len().min(buffer.len() - filled);
        rest.copy_to_slice(&mut buffer[filled..filled + taken]);
        filled += taken;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_pipe_waits_for_its_reader() {
        let (near, far) = connection();
        near.writer
            .send(Bytes::from(vec![0; SOCKET_BUFFER]))
            .await
            .unwrap();
        let mut waiting = std::pin::pin!(near.writer.send(Bytes::from_static(b"more")));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(far.reader.recv(10).await.unwrap().unwrap().len(), 10);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn fin_reset_and_broken_pipe() {
        let (near, far) = connection();
        near.writer.send(Bytes::from_static(b"last")).await.unwrap();
        far.writer.send(Bytes::from_static(b"lost")).await.unwrap();
        far.writer.reset();
        assert_eq!(
            near.reader.recv(9).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
        drop(near);
        assert_eq!(far.reader.recv(9).await.unwrap().unwrap(), "last");
        assert_eq!(far.reader.recv(9).await.unwrap(), None);
        assert_eq!(
            far.writer
                .send(Bytes::from_static(b"x"))
                .await
                .unwrap_err()
                .kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
