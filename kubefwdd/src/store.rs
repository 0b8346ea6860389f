//! The store: the task that owns the state. It takes commands from a bounded queue, executes what follows from them
//! ([`effects`]), and publishes the snapshot.
//!
//! Nothing in it waits for a slow thing: binding is a few microseconds, the workers' queues are tried and not awaited,
//! the hosts file and the state file have tasks of their own. Readers take the latest snapshot and never wait for it.

mod effects;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kubefwd_core::state::{Command, Refused, Reply, Report, State, View};
use kubefwd_model::ListenerId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::storage::Storage;

pub use effects::Adapters;
use effects::EffectRunner;

const QUEUE: usize = 4096;
/// How many commands are taken together before the snapshot is published.
const BATCH: usize = 256;

enum Message {
    /// A change that can be found out again; the permit is held until it is applied.
    Report(Command, Option<OwnedSemaphorePermit>),
    /// A user's request: confirmed when it is safe on disk.
    Request {
        command: Command,
        reply: oneshot::Sender<Result<Reply, Refused>>,
        saved: oneshot::Sender<()>,
    },
}

/// How to reach the store. Cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    messages: mpsc::Sender<Message>,
    view: watch::Receiver<Arc<View>>,
}

/// The store before it runs.
pub struct Store {
    state: State,
    messages: mpsc::Receiver<Message>,
    view: watch::Sender<Arc<View>>,
}

/// The store is gone: the daemon is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopping;

/// What is left when the store has stopped.
pub struct Stopped {
    /// The last state.
    pub state: State,
    /// The listeners that are still open.
    pub listeners: HashMap<ListenerId, Arc<TcpListener>>,
    /// Where to save it.
    pub storage: Storage,
}

/// Makes the store and the handle to it.
pub fn store(state: State) -> (Store, StoreHandle) {
    let (sender, messages) = mpsc::channel(QUEUE);
    let (view, receiver) = watch::channel(Arc::new(View::default()));
    let handle = StoreHandle {
        messages: sender,
        view: receiver,
    };
    let store = Store {
        state,
        messages,
        view,
    };
    (store, handle)
}

// === impl StoreHandle ===

impl StoreHandle {
    /// The latest snapshot.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Snapshots from now on.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Applies a command whose reply nobody needs; returns when it is queued.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn apply(&self, command: Command) -> Result<(), Stopping> {
        self.send(Message::Report(command, None)).await
    }

    /// Applies what was observed; returns when it is queued. The permit is held until it is applied.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn report(
        &self,
        report: Report,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Stopping> {
        self.send(Message::Report(Command::Report(report), permit))
            .await
    }

    /// Applies a user's request; returns its reply when everything that follows is done and saved, and the snapshot shows it.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn request(&self, command: Command) -> Result<Result<Reply, Refused>, Stopping> {
        let (reply, replied) = oneshot::channel();
        let (saved, is_saved) = oneshot::channel();
        let request = Message::Request {
            command,
            reply,
            saved,
        };
        self.send(request).await?;
        is_saved.await.map_err(|_| Stopping)?;
        replied.await.map_err(|_| Stopping)
    }

    async fn send(&self, message: Message) -> Result<(), Stopping> {
        self.messages.send(message).await.map_err(|_| Stopping)
    }
}

// === impl Store ===

impl Store {
    /// Runs until `stop`; then gives back the state and the open listeners.
    ///
    /// `alive` is called after every round, so that a hang of this task is noticed (and not only one of a timer).
    pub async fn run(
        mut self,
        adapters: Adapters,
        stop: CancellationToken,
        alive: impl Fn(),
    ) -> Stopped {
        let mut runner = EffectRunner::new(adapters);
        let mut batch = Vec::with_capacity(BATCH);
        runner.settle(&mut self.state, &self.view);
        let _ = self.state.apply(Command::FinishStart, SystemTime::now());
        runner.drop_unclaimed();
        loop {
            let timer = runner.next_deadline();
            tokio::select! {
                () = stop.cancelled() => break,
                taken = self.messages.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                }
                () = sleep_until(timer.unwrap_or_else(far_future)), if timer.is_some() => {}
            }
            let waiting = self.apply(batch.drain(..));
            runner.retry_ports(&mut self.state);
            runner.settle(&mut self.state, &self.view);
            runner.save_if_due(&self.state, waiting);
            alive();
        }
        let (listeners, storage) = runner.into_parts();
        Stopped {
            state: self.state,
            listeners,
            storage,
        }
    }

    /// Applies messages in order; gives back who waits until they are saved.
    fn apply(&mut self, messages: impl Iterator<Item = Message>) -> Vec<oneshot::Sender<()>> {
        let now = SystemTime::now();
        let mut waiting = Vec::new();
        for message in messages {
            match message {
                Message::Report(command, _permit) => {
                    if let Err(refused) = self.state.apply(command, now) {
                        tracing::debug!(%refused, "a command was refused");
                    }
                }
                Message::Request {
                    command,
                    reply,
                    saved,
                } => {
                    tracing::debug!(?command, "request");
                    // The caller may have gone away; the request is carried out all the same.
                    let _ = reply.send(self.state.apply(command, now));
                    waiting.push(saved);
                }
            }
        }
        waiting
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
