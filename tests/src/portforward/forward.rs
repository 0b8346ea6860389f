//! One forwarded connection: dial, two copies, and the way containerd and the kubelet's streaming library end it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::frames::Reply;
use super::session::Session;
use super::stream::{Stream, UploadEnd};
use crate::faults::NetworkFault;
use crate::pods::pipe::PipeReader;
use crate::pods::{DialError, Sandbox};
use crate::state::State;

/// The buffer of Go's `io.Copy`: the largest chunk that travels to the client.
pub(super) const COPY_BUFFER: usize = 32 * 1024;

/// A complete pair of streams.
pub(super) struct Pair {
    pub(super) error: Arc<Stream>,
    pub(super) data: Arc<Stream>,
}

/// Dials, and refuses where a fault says so.
pub(super) fn dial(
    state: &State,
    sandbox: &Sandbox,
    port: u16,
) -> Result<crate::pods::pipe::Conn, DialError> {
    state.counters.dials.add(1);
    let fault = state
        .network
        .of(&sandbox.namespace, &sandbox.pod, Some(port));
    let result = if fault.refused {
        Err(sandbox.refused(port))
    } else {
        sandbox.dial(port)
    };
    if result.is_err() {
        state.counters.dial_failures.add(1);
    }
    result
}

/// The text on an error stream.
pub(super) fn error_text(sandbox: &Sandbox, port: u16, error: &DialError) -> String {
    format!(
        "error forwarding port {port} to pod {}, uid : {error}",
        sandbox.id()
    )
}

/// Serves a pair from dial to end.
pub(super) async fn run(session: Arc<Session>, pair: Pair) {
    let port = pair.data.port;
    let conn = match dial(&session.state, &session.sandbox, port) {
        Ok(conn) => conn,
        Err(error) => {
            // containerd closes the data stream when it could not dial, but not when the sandbox is gone.
            let closes_first = error.to_string().contains("failed to connect");
            fail(&session, &pair, &error, closes_first).await;
            return;
        }
    };
    let open = session.state.counters.dials_open.enter();
    pair.data.connect(conn.writer);
    let outcome = copy(&session, &pair, &conn.reader, port).await;
    drop(open);
    pair.data.disconnect();
    drop(conn.reader);
    match outcome {
        Ok(()) => {
            session.finish(&pair.data).await;
            session.finish(&pair.error).await;
        }
        Err(error) => {
            let error = session.sandbox.broken(port, &error);
            fail(&session, &pair, &error, true).await;
        }
    }
}

/// Copies both directions until one ends, gives the other a second, and reports the first error.
async fn copy(session: &Session, pair: &Pair, app: &PipeReader, port: u16) -> io::Result<()> {
    let grace = session.state.timing.close_grace;
    let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut download = std::pin::pin!(download(session, &pair.data, app, port));
    let mut upload = std::pin::pin!(pair.data.upload_end());
    tokio::select! {
        result = &mut download => {
            let second = timeout(grace, upload).await;
            result?;
            match second {
                Ok(UploadEnd::BrokenPipe) => Err(broken()),
                Ok(UploadEnd::Client) | Err(_) => Ok(()),
            }
        }
        end = &mut upload => {
            let second = timeout(grace, download).await;
            if end == UploadEnd::BrokenPipe {
                return Err(broken());
            }
            second.unwrap_or(Ok(()))
        }
    }
}

async fn download(
    session: &Session,
    stream: &Stream,
    app: &PipeReader,
    port: u16,
) -> io::Result<()> {
    let mut pace = Pace::new(&session.state, &session.sandbox, port);
    while let Some(payload) = app.recv(COPY_BUFFER).await? {
        pace.wait(payload.len()).await;
        session.state.counters.bytes_down.add(payload.len() as u64);
        session
            .send(Reply::Data {
                id: stream.id,
                fin: false,
                payload,
            })
            .await;
    }
    Ok(())
}

/// The error text, then what streaming libraries since 1.32 do (RST on both) or what older ones did (FIN only, with the
/// data stream left unread).
async fn fail(session: &Session, pair: &Pair, error: &DialError, closes_first: bool) {
    if closes_first {
        session.finish(&pair.data).await;
    }
    let text = error_text(&session.sandbox, pair.data.port, error);
    session
        .send(Reply::Data {
            id: pair.error.id,
            fin: false,
            payload: Bytes::from(text),
        })
        .await;
    if session.state.flavour.read().resets_after_errors {
        session.reset(&pair.data).await;
        session.reset(&pair.error).await;
    } else {
        pair.data.disconnect();
        session.finish(&pair.error).await;
        session.finish(&pair.data).await;
    }
}

/// Applies delay, rate and stall faults to a direction of a connection.
pub(super) struct Pace<'a> {
    state: &'a State,
    sandbox: &'a Sandbox,
    port: u16,
    seen: Option<u64>,
    fault: NetworkFault,
}

impl<'a> Pace<'a> {
    pub(super) fn new(state: &'a State, sandbox: &'a Sandbox, port: u16) -> Self {
        Self {
            state,
            sandbox,
            port,
            seen: None,
            fault: NetworkFault::default(),
        }
    }

    /// Waits as long as a chunk to the client takes. Without faults that is one atomic load.
    pub(super) async fn wait(&mut self, length: usize) {
        self.unstalled().await;
        pause(self.fault.delay, self.fault.rate, length).await;
    }

    /// Waits as long as a chunk to the application takes; a delay concerns answers only.
    pub(super) async fn wait_upload(&mut self, length: usize) {
        self.unstalled().await;
        pause(Duration::ZERO, self.fault.rate, length).await;
    }

    async fn unstalled(&mut self) {
        let network = &self.state.network;
        let mut changed = None;
        loop {
            let version = network.version();
            if self.seen != Some(version) {
                self.seen = Some(version);
                self.fault =
                    network.of(&self.sandbox.namespace, &self.sandbox.pod, Some(self.port));
            }
            if !self.fault.stalled {
                return;
            }
            // Subscribed before the version is looked at again, so that no change is missed.
            match &mut changed {
                None => changed = Some(network.subscribe()),
                Some(changed) => {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

async fn pause(delay: Duration, rate: Option<u64>, length: usize) {
    let mut pause = delay;
    if let Some(rate) = rate {
        pause += Duration::from_secs_f64(length as f64 / rate.max(1) as f64);
    }
    if !pause.is_zero() {
        sleep(pause).await;
    }
}
