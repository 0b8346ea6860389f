//! Connections that are connected and encrypted but have not sent a request: the next pod, whichever it is, takes one and
//! saves the round trips of TCP and TLS.
//!
//! An API server closes a connection that sends nothing for 32 s, so they are replaced earlier; and they are kept only while
//! tunnels of the cluster are being opened, so that an idle cluster sees none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::endpoint::Endpoint;
use crate::tunnel::dial::dial;
use crate::tunnel::link::Link;

/// When a spare is replaced.
const LIFE: Duration = Duration::from_secs(25);
/// How long after the last use spares are still kept.
const INTEREST: Duration = Duration::from_secs(60);
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The spare connections of one cluster.
pub(super) struct Spares {
    endpoint: Arc<Endpoint>,
    wanted: usize,
    state: Mutex<State>,
    taken: Notify,
}

#[derive(Default)]
struct State {
    spares: Vec<Spare>,
    last_use: Option<Instant>,
    keeper_runs: bool,
}

struct Spare {
    link: Link,
    generation: u64,
    born: Instant,
}

impl Spares {
    pub(super) fn new(endpoint: Arc<Endpoint>, wanted: usize) -> Self {
        Self {
            endpoint,
            wanted,
            state: Mutex::default(),
            taken: Notify::new(),
        }
    }

    /// A spare that was made with this grant, if there is one; more are made for later.
    pub(super) fn take(self: &Arc<Self>, generation: u64) -> Option<Link> {
        if self.wanted == 0 {
            return None;
        }
        let now = Instant::now();
        let mut state = self.lock();
        state.last_use = Some(now);
        state
            .spares
            .retain(|spare| spare.generation == generation && now < spare.born + LIFE);
        let taken = state.spares.pop();
        let start = !std::mem::replace(&mut state.keeper_runs, true);
        drop(state);
        if start {
            tokio::spawn(Arc::clone(self).keep());
        } else {
            self.taken.notify_one();
        }
        taken.map(|spare| spare.link)
    }

    /// Drops them all: the network changed under them.
    pub(super) fn clear(&self) {
        self.lock().spares.clear();
    }

    /// Keeps the number up until nobody has taken one for a while.
    async fn keep(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let (missing, wake) = {
                let mut state = self.lock();
                state.spares.retain(|spare| now < spare.born + LIFE);
                let bored = state.last_use.is_none_or(|last| now >= last + INTEREST);
                if bored {
                    state.spares.clear();
                    state.keeper_runs = false;
                    return;
                }
                let oldest = state.spares.iter().map(|spare| spare.born).min();
                let missing = self.wanted.saturating_sub(state.spares.len());
                (missing, oldest.unwrap_or(now) + LIFE)
            };
            let mut made = true;
            for _ in 0..missing {
                made &= self.make().await;
            }
            if made && missing > 0 {
                continue;
            }
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.taken.notified() => {}
            }
        }
    }

    async fn make(&self) -> bool {
        let Ok(grant) = self.endpoint.access.grant(None).await else {
            return false;
        };
        let dialled = timeout(DIAL_TIMEOUT, dial(&self.endpoint, grant.tls.clone())).await;
        let Ok(Ok(link)) = dialled else {
            return false;
        };
        self.lock().spares.push(Spare {
            link,
            generation: grant.generation,
            born: Instant::now(),
        });
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
