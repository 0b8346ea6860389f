//! How to reach the store: commands in, snapshots out. Everybody may hold one; only the store itself has the state.

use std::sync::Arc;

use kubefwd_core::state::{Command, Refused, Reply, Report, View};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

/// What the store takes from its queue.
pub(crate) enum Message {
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
pub(crate) struct StoreHandle {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) view: watch::Receiver<Arc<View>>,
}

/// The store is gone: the daemon is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is stopping")]
pub(crate) struct Stopping;

// === impl StoreHandle ===

impl StoreHandle {
    /// The latest snapshot.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Snapshots from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Applies a command whose reply nobody needs; returns when it is queued.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub(crate) async fn apply(&self, command: Command) -> Result<(), Stopping> {
        self.send(Message::Report(command, None)).await
    }

    /// Applies what was observed; returns when it is queued. The permit is held until it is applied.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub(crate) async fn report(
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
    pub(crate) async fn request(
        &self,
        command: Command,
    ) -> Result<Result<Reply, Refused>, Stopping> {
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
