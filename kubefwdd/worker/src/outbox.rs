//! Frames for the daemon: one bounded queue, and one task that sends them.

use kubefwd_proto::channel::{ChannelError, Sender};
use kubefwd_proto::worker::v1::FromWorker;
use kubefwd_proto::worker::v1::from_worker::Frame;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) mod log_layer;

/// Frames that wait to be sent.
const CAPACITY: usize = 256;

/// The sending end of the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(pub(crate) mpsc::Sender<Frame>);

/// The frames that wait to be sent.
pub(crate) struct Outgoing(mpsc::Receiver<Frame>);

/// The channel to the daemon has closed: the worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel to the daemon is closed")]
pub(crate) struct Closed;

/// Makes the queue; it works before there is a runtime or a channel.
pub(crate) fn queue() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Outbox(sender), Outgoing(receiver))
}

// === impl Outbox ===

impl Outbox {
    /// Queues a frame; waits while the queue is full.
    ///
    /// # Errors
    /// When the channel has ended.
    pub(crate) async fn send(&self, frame: Frame) -> Result<(), Closed> {
        self.0.send(frame).await.map_err(|_| Closed)
    }

    /// Queues a frame if there is room.
    pub(crate) fn try_send(&self, frame: Frame) -> bool {
        self.0.try_send(frame).is_ok()
    }

    /// Waits for room for one frame.
    ///
    /// # Errors
    /// When the channel has ended.
    pub(crate) async fn reserve(&self) -> Result<mpsc::Permit<'_, Frame>, Closed> {
        self.0.reserve().await.map_err(|_| Closed)
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// The next frame, without waiting.
    #[cfg(test)]
    pub(crate) fn try_next(&mut self) -> Option<Frame> {
        self.0.try_recv().ok()
    }

    /// Sends frames until the daemon or every [`Outbox`] is gone; after `end` only those already queued.
    ///
    /// # Errors
    /// When the channel breaks.
    pub(crate) async fn drain_into(
        mut self,
        mut sender: Sender<FromWorker>,
        end: CancellationToken,
    ) -> Result<(), ChannelError> {
        loop {
            let frame = tokio::select! {
                () = end.cancelled(), if !self.0.is_closed() => {
                    self.0.close();
                    continue;
                }
                frame = self.0.recv() => frame,
            };
            if frame.is_none() {
                return Ok(());
            }
            match sender.send(&FromWorker { frame }, None).await {
                Ok(()) => {}
                Err(ChannelError::TooLarge(bytes)) => {
                    tracing::error!(bytes, "dropped a frame that is too large for the daemon");
                }
                Err(error) => return Err(error),
            }
        }
    }
}
