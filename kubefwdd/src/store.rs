//! The store: the task that owns the state. It takes commands from a bounded queue, executes what follows from them
//! (`effects`), and publishes the snapshot.
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

use kubefwd_core::state::{Command, State, View};
use kubefwd_model::ListenerId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::storage::Storage;
use crate::store_handle::{Message, StoreHandle};
use effects::EffectRunner;

pub(crate) use effects::Adapters;

const QUEUE: usize = 4096;
/// How many commands are taken together before the snapshot is published.
const BATCH: usize = 256;

/// The store before it runs.
pub(crate) struct Store {
    state: State,
    messages: mpsc::Receiver<Message>,
    view: watch::Sender<Arc<View>>,
}

/// What is left when the store has stopped.
pub(crate) struct Stopped {
    /// The last state.
    pub state: State,
    /// The listeners that are still open.
    pub listeners: HashMap<ListenerId, Arc<TcpListener>>,
    /// Where to save it.
    pub storage: Storage,
}

/// Makes the store and the handle to it.
pub(crate) fn store(state: State) -> (Store, StoreHandle) {
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

// === impl Store ===

impl Store {
    /// Runs until `stop`; then gives back the state and the open listeners.
    ///
    /// `alive` is called after every round, so that a hang of this task is noticed (and not only one of a timer).
    pub(crate) async fn run(
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
