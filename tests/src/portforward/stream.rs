//! One SPDY stream as spdystream and the container runtime keep it, with the hand-over of its data that can stall a
//! worker.
//!
//! In the real server a worker hands each DATA frame to the stream's reader and waits until it is taken. While the pair
//! is incomplete or the dial is under way nobody takes it; when the application reads slowly it is taken slowly; when the
//! runtime has closed the stream the copying goroutine takes one more frame, fails to write it, and nobody ever takes the
//! next. Only a FIN or RST seen before, or a reset by the server, makes late data disappear.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::counters::Counters;
use crate::pods::pipe::PipeWriter;

/// Which of a pair a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Error,
    Data,
}

/// Where the data of a stream goes.
#[derive(Debug)]
enum Sink {
    /// Nobody reads yet.
    Waiting,
    /// To the application.
    App(PipeWriter),
    /// The runtime has closed the connection to the application; its copy still waits for one frame.
    Closing,
    /// Nobody will ever read.
    Abandoned { counted: bool },
}

#[derive(Debug)]
struct State {
    sink: Sink,
    /// The worker that waits to hand over data; a stream belongs to one worker.
    worker: Option<Waker>,
    local_finished: bool,
    /// The client ended its side, or the server reset the stream: data is dropped and stalls nobody.
    remote_closed: bool,
}

/// A stream of a connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) role: Role,
    pub(super) port: u16,
    state: Mutex<State>,
    upload_ended: Notify,
}

/// Why the copy from client to application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadEnd {
    /// FIN or RST from the client.
    Client,
    /// The application no longer takes data.
    BrokenPipe,
}

impl Stream {
    pub(super) fn new(id: u32, role: Role, port: u16) -> Self {
        Self {
            id,
            role,
            port,
            state: Mutex::new(State {
                sink: match role {
                    Role::Data => Sink::Waiting,
                    // The server never reads from the error stream.
                    Role::Error => Sink::Abandoned { counted: false },
                },
                worker: None,
                local_finished: false,
                remote_closed: false,
            }),
            upload_ended: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands data over, or leaves it in `payload` and waits.
    pub(super) fn poll_deliver(
        &self,
        context: &mut Context<'_>,
        payload: &mut Bytes,
        counters: &Counters,
    ) -> Poll<()> {
        if payload.is_empty() {
            return Poll::Ready(());
        }
        let mut state = self.lock();
        if state.remote_closed {
            return Poll::Ready(());
        }
        match &mut state.sink {
            Sink::App(app) => {
                let length = payload.len() as u64;
                match app.poll_send(context, payload) {
                    Poll::Ready(Ok(())) => {
                        counters.bytes_up.add(length);
                        return Poll::Ready(());
                    }
                    Poll::Ready(Err(_)) => {
                        // The frame is lost with the copy that failed to write it.
                        state.sink = Sink::Abandoned { counted: false };
                        self.upload_ended.notify_one();
                        return Poll::Ready(());
                    }
                    Poll::Pending => {}
                }
            }
            Sink::Closing => {
                state.sink = Sink::Abandoned { counted: false };
                return Poll::Ready(());
            }
            Sink::Abandoned { counted } => {
                if !*counted {
                    *counted = true;
                    counters.wedged_workers.add(1);
                }
            }
            Sink::Waiting => {}
        }
        state.worker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Connects the stream to the application. A client that has already ended its side does not end the application's
    /// input by it.
    pub(super) fn connect(&self, app: PipeWriter) {
        let mut state = self.lock();
        state.sink = Sink::App(app);
        wake(&mut state);
    }

    /// Waits until the client has ended its side or the application takes no more.
    pub(super) async fn upload_end(&self) -> UploadEnd {
        loop {
            {
                let state = self.lock();
                if state.remote_closed {
                    return UploadEnd::Client;
                }
                if matches!(state.sink, Sink::Abandoned { .. }) {
                    return UploadEnd::BrokenPipe;
                }
            }
            self.upload_ended.notified().await;
        }
    }

    /// The runtime drops its connection to the application.
    pub(super) fn disconnect(&self) {
        let mut state = self.lock();
        state.sink = match state.sink {
            Sink::App(_) => Sink::Closing,
            Sink::Waiting => Sink::Abandoned { counted: false },
            Sink::Closing | Sink::Abandoned { .. } => return,
        };
        wake(&mut state);
    }

    /// FIN from the client. True when the stream is now ended on both sides.
    pub(super) fn remote_finish(&self) -> bool {
        let mut state = self.lock();
        state.remote_closed = true;
        wake(&mut state);
        self.upload_ended.notify_one();
        state.local_finished
    }

    /// RST from the client: nothing more is answered on the stream.
    pub(super) fn remote_reset(&self) {
        let mut state = self.lock();
        state.remote_closed = true;
        state.local_finished = true;
        wake(&mut state);
        self.upload_ended.notify_one();
    }

    /// The server's FIN. `None` when its side had ended before; else whether the client's side has ended too.
    pub(super) fn local_finish(&self) -> Option<bool> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.local_finished, true) {
            return None;
        }
        Some(state.remote_closed)
    }

    /// The server's RST: late data disappears from now on. False when the server's side had ended before.
    pub(super) fn local_reset(&self) -> bool {
        let mut state = self.lock();
        state.remote_closed = true;
        wake(&mut state);
        !std::mem::replace(&mut state.local_finished, true)
    }
}

fn wake(state: &mut State) {
    if let Some(worker) = state.worker.take() {
        worker.wake();
    }
}
