//! The worker's side of the protocol with the daemon: one bounded queue of frames to send, and one task that sends them.

use kubefwd_proto::channel::{self, Accepts, ChannelError, MAX_FRAME, Receiver, Sender};
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{FromWorker, ServicesReport, ToWorker};
use prost::Message;
use std::io;
use std::os::unix::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::index::Changes;

pub mod log;

/// Frames that wait to be sent.
const QUEUE: usize = 256;
/// Services in one frame, bytes: well below what a frame may hold, so that one large frame does not hold up others.
const REPORT: usize = MAX_FRAME / 4;

/// Where frames for the daemon go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox(mpsc::Sender<FromWorker>);

/// The frames that wait to be sent.
pub struct Outgoing(mpsc::Receiver<FromWorker>);

/// The channel to the daemon has ended: the worker has nothing to live for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel to the daemon is closed")]
pub struct Closed;

/// Makes the queue; it works before there is a runtime or a channel.
pub fn queue() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Outbox(sender), Outgoing(receiver))
}

/// Makes the two halves of the channel to the daemon; the worker takes listening sockets with frames.
///
/// # Errors
/// When the socket cannot be registered with the runtime.
pub fn open(socket: UnixStream) -> io::Result<(Sender<FromWorker>, Receiver<ToWorker>)> {
    channel::channel(socket, Accepts::Descriptors)
}

// === impl Outbox ===

impl Outbox {
    /// Queues a frame; waits while the queue is full.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn send(&self, frame: Frame) -> Result<(), Closed> {
        self.0.send(wrap(frame)).await.map_err(|_| Closed)
    }

    /// Queues a frame if there is room.
    pub fn try_send(&self, frame: Frame) -> bool {
        self.0.try_send(wrap(frame)).is_ok()
    }

    /// Waits for room for one frame.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn reserve(&self) -> Result<Room<'_>, Closed> {
        self.0.reserve().await.map(Room).map_err(|_| Closed)
    }
}

/// Room for one frame in the queue.
pub struct Room<'a>(mpsc::Permit<'a, FromWorker>);

impl Room<'_> {
    /// Takes it.
    pub fn send(self, frame: Frame) {
        self.0.send(wrap(frame));
    }
}

fn wrap(frame: Frame) -> FromWorker {
    FromWorker { frame: Some(frame) }
}

// === impl Outgoing ===

impl Outgoing {
    /// The next frame to send, at once; for tests and for a look at what was queued.
    pub fn try_next(&mut self) -> Option<Frame> {
        self.0.try_recv().ok()?.frame
    }

    /// The next frame to send, when it comes; `None` once every [`Outbox`] is gone.
    pub async fn next(&mut self) -> Option<Frame> {
        self.0.recv().await?.frame
    }

    /// Sends frames until the daemon is gone or every [`Outbox`] is; after `end` only those that wait then.
    ///
    /// # Errors
    /// When the channel breaks.
    pub async fn drain_into(
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
            let Some(frame) = frame else { return Ok(()) };
            match sender.send(&frame, None).await {
                Ok(()) => {}
                Err(ChannelError::TooLarge(bytes)) => {
                    tracing::error!(bytes, "a frame is too large for the daemon and was dropped");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Puts what changed into as many frames as it needs.
pub fn services_reports(context: &str, namespace: &str, changes: Changes) -> Vec<ServicesReport> {
    let Changes {
        complete,
        services,
        removed,
        touched: _,
        gone: _,
    } = changes;
    let frame = || ServicesReport {
        context: context.to_owned(),
        namespace: namespace.to_owned(),
        ..ServicesReport::default()
    };
    let mut frames = vec![frame()];
    let mut bytes = 0;
    let mut room_for = |size: usize, frames: &mut Vec<ServicesReport>| {
        if bytes > 0 && bytes + size > REPORT {
            frames.push(frame());
            bytes = 0;
        }
        bytes += size;
    };
    for service in services {
        room_for(service.encoded_len(), &mut frames);
        if let Some(last) = frames.last_mut() {
            last.services.push(service);
        }
    }
    for name in removed {
        room_for(name.len(), &mut frames);
        if let Some(last) = frames.last_mut() {
            last.removed.push(name);
        }
    }
    if complete {
        if let Some(first) = frames.first_mut() {
            first.first = true;
        }
        if let Some(last) = frames.last_mut() {
            last.complete = true;
        }
    } else if frames.len() == 1 && frames[0].services.is_empty() && frames[0].removed.is_empty() {
        frames.clear();
    }
    frames
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::worker::v1::ObservedService;
    use proptest::prelude::*;

    use super::*;

    fn changes(complete: bool, sizes: &[usize], removed: usize) -> Changes {
        Changes {
            complete,
            services: sizes
                .iter()
                .enumerate()
                .map(|(number, size)| ObservedService {
                    name: format!("s{number}"),
                    unsupported: "x".repeat(*size),
                    ..ObservedService::default()
                })
                .collect(),
            removed: (0..removed).map(|number| format!("r{number}")).collect(),
            ..Changes::default()
        }
    }

    #[test]
    fn an_empty_listing_is_one_frame_and_no_change_is_none() {
        let frames = services_reports("c", "n", changes(true, &[], 0));
        assert!(frames.len() == 1 && frames[0].first && frames[0].complete);
        assert!(services_reports("c", "n", changes(false, &[], 0)).is_empty());
    }

    proptest! {
        #[test]
        fn frames_are_small_and_lose_nothing(
            complete: bool,
            sizes in proptest::collection::vec(0..REPORT, 0..12),
            removed in 0..40usize,
        ) {
            let changes = changes(complete, &sizes, removed);
            let frames = services_reports("c", "n", changes.clone());
            for frame in &frames {
                prop_assert!(frame.encoded_len() < MAX_FRAME / 2);
            }
            let firsts: Vec<_> = frames.iter().map(|frame| frame.first).collect();
            let lasts: Vec<_> = frames.iter().map(|frame| frame.complete).collect();
            prop_assert_eq!(firsts.iter().filter(|first| **first).count(), usize::from(complete));
            prop_assert_eq!(lasts.iter().filter(|last| **last).count(), usize::from(complete));
            if complete {
                prop_assert!(firsts[0] && lasts[lasts.len() - 1]);
            }
            let services: Vec<_> = frames.iter().flat_map(|f| f.services.clone()).collect();
            let gone: Vec<_> = frames.iter().flat_map(|f| f.removed.clone()).collect();
            prop_assert_eq!(services, changes.services);
            prop_assert_eq!(gone, changes.removed);
        }
    }
}
