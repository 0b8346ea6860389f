//! Serves accepted connections, and tells the daemon once a second what moved.
//!
//! Only forwards with connections are looked at; when none has any, nothing runs.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kubefwd_proto::time;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{Traffic, TrafficReport};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use super::Forward;
use crate::accept::Accepted;
use crate::admission::Admission;
use crate::outbox::{Closed, Outbox};

const PERIOD: Duration = Duration::from_secs(1);
/// Entries in one frame: some 60 bytes each.
const IN_ONE_FRAME: usize = 4096;

/// The forwards that have, or a moment ago had, connections.
#[derive(Default)]
pub(crate) struct Moving {
    forwards: Mutex<HashMap<u64, Moved>>,
    some: Notify,
}

struct Moved {
    forward: Arc<Forward>,
    /// What the daemon knows.
    told: Option<Traffic>,
}

/// Serves connections as they are accepted, each in a task, until no more come.
pub(crate) async fn serve(
    mut accepted: Accepted<Arc<Forward>>,
    tasks: TaskTracker,
    admission: Arc<Admission>,
    moving: Arc<Moving>,
    outbox: Outbox,
) {
    while let Some((forward, local)) = accepted.next().await {
        let (admission, moving, outbox) = (admission.clone(), moving.clone(), outbox.clone());
        tasks.spawn(async move {
            if admission.admits(forward.listener(), &local).await {
                one(forward, local, moving, outbox).await;
            } else {
                super::reset(&local);
            }
        });
    }
}

async fn one(forward: Arc<Forward>, local: TcpStream, moving: Arc<Moving>, outbox: Outbox) {
    let open = moving.enter(&forward);
    let report = forward.serve(local).await;
    drop(open);
    if let Some(report) = report {
        // A daemon that is gone needs no report; the worker ends by itself.
        let _ = outbox.send(Frame::Forward(report)).await;
    }
}

/// Tells the daemon what moved, at most once a second.
///
/// # Errors
/// When the channel to the daemon has ended.
pub(crate) async fn tell(moving: Arc<Moving>, outbox: Outbox) -> Result<(), Closed> {
    loop {
        moving.some().await;
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !moving.lock().is_empty() {
            ticks.tick().await;
            moving.tell_now(&outbox).await?;
        }
    }
}

impl Moving {
    fn enter(&self, forward: &Arc<Forward>) -> Open<'_> {
        forward.open.fetch_add(1, Ordering::AcqRel);
        self.insert(forward);
        Open {
            moving: self,
            forward: forward.clone(),
        }
    }

    fn insert(&self, forward: &Arc<Forward>) {
        let mut forwards = self.lock();
        if forwards.is_empty() {
            self.some.notify_one();
        }
        forwards.entry(forward.listener()).or_insert_with(|| Moved {
            forward: forward.clone(),
            told: None,
        });
    }

    /// Tells the daemon what it does not know.
    ///
    /// # Errors
    /// When the channel to the daemon has ended.
    pub(crate) async fn tell_now(&self, outbox: &Outbox) -> Result<(), Closed> {
        let (traffic, reports) = self.take();
        for traffic in traffic.chunks(IN_ONE_FRAME) {
            let traffic = traffic.to_vec();
            outbox
                .send(Frame::Traffic(TrafficReport { traffic }))
                .await?;
        }
        for report in reports {
            outbox.send(Frame::Forward(report)).await?;
        }
        Ok(())
    }

    async fn some(&self) {
        while self.lock().is_empty() {
            self.some.notified().await;
        }
    }

    /// What the daemon does not know; forgets forwards that are quiet.
    fn take(&self) -> (Vec<Traffic>, Vec<kubefwd_proto::worker::v1::ForwardReport>) {
        let (mut moved, mut reports) = (Vec::new(), Vec::new());
        self.lock().retain(|_, entry| {
            // Before the counters: a connection that ends in between is seen once more.
            let open = entry.forward.open.load(Ordering::Acquire);
            let traffic = entry.forward.traffic();
            let told = entry.told.as_ref();
            if told.is_some_and(|told| traffic.first_byte_count > told.first_byte_count) {
                entry.forward.answered();
            }
            reports.extend(entry.forward.report());
            if told == Some(&traffic) {
                return open > 0;
            }
            entry.told = Some(traffic);
            moved.push(Traffic {
                last_active: Some(time::now()),
                ..traffic
            });
            true
        });
        (moved, reports)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Moved>> {
        self.forwards.lock()
    }
}

/// A connection that is being served.
struct Open<'a> {
    moving: &'a Moving,
    forward: Arc<Forward>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.forward.open.fetch_sub(1, Ordering::AcqRel);
        // The entry may be gone, or may have been told before the last bytes were counted.
        self.moving.insert(&self.forward);
    }
}
