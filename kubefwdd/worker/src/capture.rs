//! Connects HTTP capture with its neighbours: it taps forwarded connections, and its reports go to the daemon.

use std::sync::Arc;
use std::time::Instant;

use kubefwd_capture::recorder::{self, Recorder};
use kubefwd_proto::worker::v1::from_worker::Frame;

use crate::outbox::{Closed, Outbox};

/// Shows the bytes of a connection to the recorder.
pub(crate) struct Tap(pub(crate) recorder::Tap);

impl kubefwd_portforward::Tap for Tap {
    fn client(&mut self, bytes: &[u8], now: Instant) -> bool {
        self.0.client(bytes, now)
    }

    fn server(&mut self, bytes: &[u8], now: Instant) -> bool {
        self.0.server(bytes, now)
    }
}

/// Reports captured requests to the daemon, in batches.
///
/// # Errors
/// When the channel to the daemon has ended.
pub(crate) async fn report(recorder: Arc<Recorder>, outbox: Outbox) -> Result<(), Closed> {
    loop {
        recorder.seen().await;
        report_now(&recorder, &outbox).await?;
    }
}

/// Reports what was captured so far.
///
/// # Errors
/// When the channel to the daemon has ended.
pub(crate) async fn report_now(recorder: &Recorder, outbox: &Outbox) -> Result<(), Closed> {
    for report in recorder.take() {
        outbox.send(Frame::Http(report)).await?;
    }
    Ok(())
}
