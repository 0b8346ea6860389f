//! Spare connections: encrypted, with no request sent. The next pod, whichever it is, takes one and saves the round trips
//! of TCP and TLS.
//!
//! An API server closes a connection that sends nothing for 32 s, so they are replaced earlier; and they are kept only while
//! tunnels are being opened, so that an idle cluster has none.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::api_server::ApiServer;
use crate::upstream::Upstream;

/// Spares that are kept while tunnels are being opened.
const WANTED: usize = 2;
/// The age at which a spare is replaced.
const MAX_AGE: Duration = Duration::from_secs(25);
/// How long after the last use spares are still kept.
const KEEP_AFTER_USE: Duration = Duration::from_secs(60);

/// The spare connections of one cluster.
pub(super) struct SpareConnections {
    server: Arc<ApiServer>,
    state: Mutex<State>,
    taken: Notify,
}

#[derive(Default)]
struct State {
    spares: Vec<Spare>,
    last_use: Option<Instant>,
    refilling: bool,
}

struct Spare {
    upstream: Upstream,
    generation: u64,
    created: Instant,
}

impl SpareConnections {
    pub(super) fn new(server: Arc<ApiServer>) -> Arc<Self> {
        Arc::new(Self {
            server,
            state: Mutex::default(),
            taken: Notify::new(),
        })
    }

    /// A spare that was made with these credentials, if there is one; starts making more.
    pub(super) fn take(self: &Arc<Self>, generation: u64) -> Option<Upstream> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.last_use = Some(now);
        state
            .spares
            .retain(|spare| spare.generation == generation && now < spare.created + MAX_AGE);
        let taken = state.spares.pop();
        let start = !std::mem::replace(&mut state.refilling, true);
        drop(state);
        if start {
            tokio::spawn(Arc::clone(self).refill());
        } else {
            self.taken.notify_one();
        }
        taken.map(|spare| spare.upstream)
    }

    /// Drops them all: the network changed.
    pub(super) fn clear(&self) {
        self.state.lock().spares.clear();
    }

    /// Refills until none was taken for a while.
    async fn refill(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let (missing, wake) = {
                let mut state = self.state.lock();
                state.spares.retain(|spare| now < spare.created + MAX_AGE);
                let last_use = state.last_use;
                if last_use.is_none_or(|last| now >= last + KEEP_AFTER_USE) {
                    state.spares.clear();
                    state.refilling = false;
                    return;
                }
                let oldest = state.spares.iter().map(|spare| spare.created).min();
                let missing = WANTED.saturating_sub(state.spares.len());
                (missing, oldest.unwrap_or(now) + MAX_AGE)
            };
            let mut added = true;
            for _ in 0..missing {
                added &= self.add().await;
            }
            if added && missing > 0 {
                continue;
            }
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.taken.notified() => {}
            }
        }
    }

    async fn add(&self) -> bool {
        let Ok(credentials) = self.server.credentials.credentials(None).await else {
            return false;
        };
        let tls = credentials.tls.clone();
        let Ok(upstream) = Upstream::connect(&self.server, tls).await else {
            return false;
        };
        self.state.lock().spares.push(Spare {
            upstream,
            generation: credentials.generation,
            created: Instant::now(),
        });
        true
    }
}
