//! A SPDY connection as the container runtime serves it: one read loop, five workers with queues of 50 frames, pairs of
//! streams.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forward::{self, Pace, Pair};
use super::frames::{CANCEL, Decoder, Frame, PROTOCOL_ERROR, Reply};
use super::stream::{Role, Stream};
use super::transport::{Inbound, Outbound, Receiver};
use super::websocket::{self, Opcode};
use crate::pods::Sandbox;
use crate::state::State;

/// spdystream's number of frame workers; a stream belongs to worker `id mod 5`.
const WORKERS: usize = 5;

/// How many frames wait for a worker before the connection is no longer read.
const WORKER_QUEUE: usize = 50;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// The client closed its connection.
    Client,
    /// The runtime ended it: GOAWAY, a frame it does not understand, or its own end.
    Runtime,
    /// The kubelet restarted.
    Kubelet,
}

/// What the read loop, the workers and the forwards of a connection share.
pub(super) struct Session {
    pub(super) state: Arc<State>,
    pub(super) sandbox: Arc<Sandbox>,
    out: mpsc::Sender<Outbound>,
    streams: Mutex<HashMap<u32, Arc<Stream>>>,
    pairs: Mutex<HashMap<String, Half>>,
    pair_added: Notify,
    /// Ends workers and forwards.
    ended: CancellationToken,
    faults_seen: AtomicU64,
    /// Bit `n`: worker `n` is stalled by a fault. Bit 7: uploads to this pod are slowed down or stalled.
    fault_bits: AtomicU8,
}

/// The bit of [`Session::fault_bits`] for uploads.
const SLOW_UPLOADS: u8 = 1 << 7;

/// A pair of which one stream has come.
struct Half {
    since: Instant,
    stream: Arc<Stream>,
}

impl Session {
    fn streams(&self) -> MutexGuard<'_, HashMap<u32, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<String, Half>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame. When the connection is gone the session is about to end, so that is not an error here.
    pub(super) async fn send(&self, reply: Reply) {
        let _gone = self.out.send(Outbound::Spdy(reply)).await;
    }

    /// FIN from the server, unless its side of the stream has ended.
    pub(super) async fn finish(&self, stream: &Stream) {
        if let Some(fully) = stream.local_finish() {
            if fully {
                self.streams().remove(&stream.id);
            }
            self.send(Reply::Data {
                id: stream.id,
                fin: true,
                payload: Bytes::new(),
            })
            .await;
        }
    }

    /// RST from the server, unless its side of the stream has ended.
    pub(super) async fn reset(&self, stream: &Stream) {
        self.streams().remove(&stream.id);
        if stream.local_reset() {
            self.send(Reply::Rst {
                id: stream.id,
                status: CANCEL,
            })
            .await;
        }
    }

    /// The faults of this pod, looked up again only when faults have changed.
    fn fault_bits(&self) -> u8 {
        let version = self.state.network.version();
        if self.faults_seen.load(Ordering::Acquire) != version {
            let (namespace, pod) = (&self.sandbox.namespace, &self.sandbox.pod);
            let network = &self.state.network;
            let mut bits = network.of(namespace, pod, None).stalled_partitions & !SLOW_UPLOADS;
            if network.slows_uploads(namespace, pod) {
                bits |= SLOW_UPLOADS;
            }
            self.fault_bits.store(bits, Ordering::Release);
            self.faults_seen.store(version, Ordering::Release);
        }
        self.fault_bits.load(Ordering::Acquire)
    }

    fn stalled(&self, worker: usize) -> bool {
        self.fault_bits() & (1 << worker) != 0
    }

    /// Handles a frame if that needs no waiting; otherwise gives it back.
    fn try_handle(self: &Arc<Self>, frame: Frame) -> Result<(), Frame> {
        match frame {
            Frame::Data {
                id,
                fin,
                mut payload,
            } => {
                let Some(stream) = self.streams().get(&id).cloned() else {
                    return Ok(());
                };
                let mut context = Context::from_waker(Waker::noop());
                if self.fault_bits() & SLOW_UPLOADS != 0
                    || stream
                        .poll_deliver(&mut context, &mut payload, &self.state.counters)
                        .is_pending()
                {
                    return Err(Frame::Data { id, fin, payload });
                }
                self.after_data(&stream, fin);
                Ok(())
            }
            Frame::Rst { id } => {
                self.client_reset(id);
                Ok(())
            }
            Frame::Ping { id } if id % 2 == 1 => {
                match self.out.try_send(Outbound::Spdy(Reply::Ping { id })) {
                    Err(mpsc::error::TrySendError::Full(_)) => Err(frame),
                    _ => Ok(()),
                }
            }
            Frame::Syn { .. } => match self.out.try_reserve() {
                Err(mpsc::error::TrySendError::Full(())) => Err(frame),
                Err(mpsc::error::TrySendError::Closed(())) => Ok(()),
                Ok(permit) => {
                    permit.send(Outbound::Spdy(self.open(frame)));
                    Ok(())
                }
            },
            Frame::Ping { .. } | Frame::GoAway | Frame::Other => Ok(()),
        }
    }

    /// Handles a frame, waiting as long as the real worker would.
    async fn handle(self: &Arc<Self>, frame: Frame) {
        match frame {
            Frame::Data {
                id,
                fin,
                mut payload,
            } => {
                let Some(stream) = self.streams().get(&id).cloned() else {
                    return;
                };
                if self.fault_bits() & SLOW_UPLOADS != 0 {
                    Pace::new(&self.state, &self.sandbox, stream.port)
                        .wait_upload(payload.len())
                        .await;
                }
                poll_fn(|context| stream.poll_deliver(context, &mut payload, &self.state.counters))
                    .await;
                self.after_data(&stream, fin);
            }
            Frame::Rst { id } => self.client_reset(id),
            Frame::Ping { id } if id % 2 == 1 => self.send(Reply::Ping { id }).await,
            Frame::Syn { .. } => {
                let reply = self.open(frame);
                self.send(reply).await;
            }
            Frame::Ping { .. } | Frame::GoAway | Frame::Other => {}
        }
    }

    fn after_data(&self, stream: &Stream, fin: bool) {
        if fin && stream.remote_finish() {
            self.streams().remove(&stream.id);
        }
    }

    fn client_reset(&self, id: u32) {
        let removed = self.streams().remove(&id);
        if let Some(stream) = removed {
            stream.remote_reset();
        }
    }

    /// Accepts or refuses a new stream; a stream that completes a pair starts its forward.
    fn open(self: &Arc<Self>, frame: Frame) -> Reply {
        let Frame::Syn { id, fin, headers } = frame else {
            unreachable!("only SYN_STREAM opens a stream");
        };
        self.state.counters.streams.add(1);
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| &v[..]);
        let port = header("port").and_then(|port| port.parse::<u16>().ok());
        let role = match header("streamtype") {
            Some("error") => Some(Role::Error),
            Some("data") => Some(Role::Data),
            _ => None,
        };
        let (Some(port @ 1..), Some(role)) = (port, role) else {
            self.state.counters.streams_refused.add(1);
            return Reply::Rst { id, status: CANCEL };
        };
        let request = header("requestid").map_or_else(
            // Clients before request ids: the error stream's id names the pair.
            || match role {
                Role::Error => id.to_string(),
                Role::Data => id.wrapping_sub(2).to_string(),
            },
            str::to_owned,
        );
        let stream = Arc::new(Stream::new(id, role, port));
        if fin {
            stream.remote_finish();
        }
        self.streams().insert(id, Arc::clone(&stream));
        self.pair(request, stream);
        Reply::Accept { id }
    }

    fn pair(self: &Arc<Self>, request: String, stream: Arc<Stream>) {
        let mut pairs = self.pairs();
        let Some(half) = pairs.remove(&request) else {
            pairs.insert(
                request,
                Half {
                    since: Instant::now(),
                    stream,
                },
            );
            self.pair_added.notify_one();
            return;
        };
        drop(pairs);
        let (error, data) = match (half.stream.role, stream.role) {
            (Role::Error, Role::Data) => (half.stream, stream),
            (Role::Data, Role::Error) => (stream, half.stream),
            // The same kind twice: the first stays, the second is never served.
            _ => {
                self.pairs().insert(request, half);
                return;
            }
        };
        let forward = forward::run(Arc::clone(self), Pair { error, data });
        tokio::spawn(self.ended.clone().run_until_cancelled_owned(forward));
    }

    /// Reports pairs whose second stream has not come in time.
    async fn watch_pairs(&self) {
        let limit = self.state.timing.pair_timeout;
        loop {
            let oldest = self.pairs().values().map(|half| half.since).min();
            let Some(oldest) = oldest else {
                self.pair_added.notified().await;
                continue;
            };
            tokio::time::sleep_until(oldest + limit).await;
            let now = Instant::now();
            let late: Vec<_> = self
                .pairs()
                .extract_if(|_, half| half.since + limit <= now)
                .collect();
            for (request, half) in late {
                if half.stream.role == Role::Error {
                    let text = format!(
                        "(conn=&{{0x248b629db170}}, request={request}) timed out waiting for streams"
                    );
                    self.send(Reply::Data {
                        id: half.stream.id,
                        fin: false,
                        payload: Bytes::from(text),
                    })
                    .await;
                }
            }
        }
    }
}

struct Worker {
    queue: mpsc::Sender<Frame>,
    /// Frames given to the worker and not yet handled; at zero the read loop may handle the next one itself.
    pending: Arc<AtomicUsize>,
}

async fn work(
    session: Arc<Session>,
    number: usize,
    mut queue: mpsc::Receiver<Frame>,
    pending: Arc<AtomicUsize>,
) {
    let mut faults = session.state.network.subscribe();
    while let Some(frame) = queue.recv().await {
        while session.stalled(number) {
            if faults.changed().await.is_err() {
                return;
            }
        }
        session.handle(frame).await;
        pending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves SPDY on a connection until it ends. `out` leads to the connection's writer and stays usable afterwards.
pub(super) async fn serve<R: AsyncRead + Unpin>(
    state: Arc<State>,
    sandbox: Arc<Sandbox>,
    receiver: &mut Receiver<R>,
    out: mpsc::Sender<Outbound>,
) -> EndedBy {
    let mut signals = state.signals.subscribe();
    let session = Arc::new(Session {
        state,
        sandbox,
        out: out.clone(),
        streams: Mutex::default(),
        pairs: Mutex::default(),
        pair_added: Notify::new(),
        ended: CancellationToken::new(),
        faults_seen: AtomicU64::new(u64::MAX),
        fault_bits: AtomicU8::new(0),
    });
    let _ends_with_this = session.ended.clone().drop_guard();
    let workers: [Worker; WORKERS] = std::array::from_fn(|number| {
        let (queue, frames) = mpsc::channel(WORKER_QUEUE);
        let pending = Arc::new(AtomicUsize::new(0));
        let worker = work(Arc::clone(&session), number, frames, Arc::clone(&pending));
        tokio::spawn(session.ended.clone().run_until_cancelled_owned(worker));
        Worker { queue, pending }
    });
    let watcher = Arc::clone(&session);
    let watch_pairs = async move { watcher.watch_pairs().await };
    tokio::spawn(session.ended.clone().run_until_cancelled_owned(watch_pairs));

    let began = *signals.borrow_and_update();
    let mut read = std::pin::pin!(read_loop(&session, &workers, receiver, &out));
    loop {
        tokio::select! {
            ended = &mut read => return ended,
            Ok(()) = signals.changed() => {
                let now = *signals.borrow_and_update();
                if now.runtime != began.runtime {
                    return EndedBy::Runtime;
                }
                if now.kubelet != began.kubelet {
                    return EndedBy::Kubelet;
                }
            }
        }
    }
}

async fn read_loop<R: AsyncRead + Unpin>(
    session: &Arc<Session>,
    workers: &[Worker; WORKERS],
    receiver: &mut Receiver<R>,
    out: &mpsc::Sender<Outbound>,
) -> EndedBy {
    let mut decoder = Decoder::new();
    let mut round_robin = 0;
    let mut next_id = 1;
    loop {
        match receiver.next().await {
            Ok(Inbound::Spdy(piece)) => decoder.feed(piece),
            Ok(Inbound::Ping(payload)) => {
                let pong = websocket::frame(Opcode::Pong, &payload);
                if out
                    .send(Outbound::WebSocket(pong, Bytes::new()))
                    .await
                    .is_err()
                {
                    return EndedBy::Client;
                }
                continue;
            }
            Ok(Inbound::Close | Inbound::End) | Err(_) => return EndedBy::Client,
        }
        loop {
            let frame = match decoder.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a client broke the SPDY connection");
                    return EndedBy::Runtime;
                }
            };
            let partition = match &frame {
                Frame::Syn { id, .. } => {
                    if id % 2 == 0 || *id < next_id {
                        let id = *id;
                        let status = PROTOCOL_ERROR;
                        session.send(Reply::Rst { id, status }).await;
                        continue;
                    }
                    next_id = id + 2;
                    *id as usize % WORKERS
                }
                Frame::Data { id, .. } | Frame::Rst { id } => *id as usize % WORKERS,
                Frame::GoAway => return EndedBy::Runtime,
                Frame::Ping { .. } | Frame::Other => {
                    if matches!(frame, Frame::Ping { .. }) {
                        session.state.counters.pings.add(1);
                    }
                    round_robin = (round_robin + 1) % WORKERS;
                    (round_robin + WORKERS - 1) % WORKERS
                }
            };
            let worker = &workers[partition];
            let idle = worker.pending.load(Ordering::Acquire) == 0;
            let frame = if idle && !session.stalled(partition) {
                match session.try_handle(frame) {
                    Ok(()) => continue,
                    Err(frame) => frame,
                }
            } else {
                frame
            };
            worker.pending.fetch_add(1, Ordering::AcqRel);
            if worker.queue.send(frame).await.is_err() {
                return EndedBy::Runtime;
            }
        }
    }
}
