//! Serves accepted connections, and reports their traffic to the daemon once a second.
//!
//! Only forwards with connections are looked at; while there are none, nothing runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kubefwd_proto::convert as time;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::{Traffic, TrafficReport};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use super::Forward;
use crate::accept::Accepted;
use crate::admission::Admission;
use crate::outbox::{Closed, Outbox};

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Entries in one frame: some 60 bytes each.
const MAX_PER_FRAME: usize = 4096;

/// The forwards that have, or just had, connections.
#[derive(Default)]
pub(crate) struct ActiveForwards {
    forwards: Mutex<HashMap<u64, Entry>>,
    nonempty: Notify,
}

struct Entry {
    forward: Arc<Forward>,
    reported: Option<Traffic>,
}

/// Serves accepted connections, each in a task, until the acceptor is gone.
pub(crate) async fn serve(
    mut accepted: Accepted<Arc<Forward>>,
    tasks: TaskTracker,
    admission: Arc<Admission>,
    active: Arc<ActiveForwards>,
    outbox: Outbox,
) {
    while let Some((forward, local)) = accepted.recv().await {
        let (admission, active, outbox) = (admission.clone(), active.clone(), outbox.clone());
        tasks.spawn(async move {
            if !admission.admits(forward.listener, &local).await {
                return super::reset(&local);
            }
            let open = active.enter(&forward);
            let report = forward.serve(local).await;
            drop(open);
            if let Some(report) = report {
                // Without a daemon the worker is about to end.
                let _ = outbox.send(Frame::Forward(report)).await;
            }
        });
    }
}

/// Reports traffic to the daemon, at most once a second.
///
/// # Errors
/// When the channel to the daemon has ended.
pub(crate) async fn report(active: Arc<ActiveForwards>, outbox: Outbox) -> Result<(), Closed> {
    loop {
        active.nonempty.notified().await;
        let mut ticks = interval(REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !active.forwards.lock().is_empty() {
            ticks.tick().await;
            active.report_now(&outbox).await?;
        }
    }
}

impl ActiveForwards {
    fn enter(&self, forward: &Arc<Forward>) -> Open<'_> {
        forward.open.fetch_add(1, Ordering::AcqRel);
        self.insert(forward);
        Open {
            active: self,
            forward: forward.clone(),
        }
    }

    fn insert(&self, forward: &Arc<Forward>) {
        let mut forwards = self.forwards.lock();
        if forwards.is_empty() {
            self.nonempty.notify_one();
        }
        forwards.entry(forward.listener).or_insert_with(|| Entry {
            forward: forward.clone(),
            reported: None,
        });
    }

    /// Reports traffic that was not reported yet.
    ///
    /// # Errors
    /// When the channel to the daemon has ended.
    pub(crate) async fn report_now(&self, outbox: &Outbox) -> Result<(), Closed> {
        let (traffic, reports) = self.take();
        for traffic in traffic.chunks(MAX_PER_FRAME) {
            let traffic = traffic.to_vec();
            let report = Frame::Traffic(TrafficReport { traffic });
            outbox.send(report).await?;
        }
        for report in reports {
            outbox.send(Frame::Forward(report)).await?;
        }
        Ok(())
    }

    /// Traffic and states that were not reported yet; drops forwards that are quiet.
    fn take(&self) -> (Vec<Traffic>, Vec<kubefwd_proto::worker::v1::ForwardReport>) {
        let (mut traffic_reports, mut reports) = (Vec::new(), Vec::new());
        self.forwards.lock().retain(|_, entry| {
            // Read before the counters, so that a connection that ends in between is looked at again.
            let open = entry.forward.open.load(Ordering::Acquire);
            let traffic = entry.forward.traffic();
            let reported = entry.reported.as_ref();
            if reported.is_some_and(|reported| traffic.first_byte_count > reported.first_byte_count)
            {
                entry.forward.answered();
            }
            reports.extend(entry.forward.report());
            if reported == Some(&traffic) {
                return open > 0;
            }
            entry.reported = Some(traffic);
            traffic_reports.push(Traffic {
                last_active: Some(time::now()),
                ..traffic
            });
            true
        });
        (traffic_reports, reports)
    }
}

/// A connection that is being served.
struct Open<'a> {
    active: &'a ActiveForwards,
    forward: Arc<Forward>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.forward.open.fetch_sub(1, Ordering::AcqRel);
        // The entry may be gone, or may have been reported before the last bytes were counted.
        self.active.insert(&self.forward);
    }
}
