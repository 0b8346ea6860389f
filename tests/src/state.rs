//! What all parts of a running cluster share.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::auth::Access;
use crate::counters::Counters;
use crate::faults::{NetworkFaults, RequestFaults, Signals};
use crate::pki::Authority;
use crate::store::Store;
use crate::world::World;

/// Which Kubernetes the cluster behaves like, and what stands between it and its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flavour {
    /// The minor version it reports (`1.minor`).
    pub minor: u32,
    /// Whether port-forward tunnels SPDY through WebSocket (since 1.31). Where not, the tunnel is answered with 400
    /// `query parameter "port" is required`.
    pub websocket_tunnel: bool,
    /// Whether WebSocket port-forwards need `create` on `pods/portforward` beside `get` (since 1.35).
    pub websocket_needs_create: bool,
    /// Whether the runtime resets both streams after an error text (streaming library of 1.32 and later). Older ones end
    /// the error stream and leave the data stream unread.
    pub resets_after_errors: bool,
    /// False behind a proxy that lets only WebSocket upgrades through: `Upgrade: SPDY/3.1` is answered 403.
    pub classic_spdy: bool,
    /// Whether a proxy in front keeps to itself every `Upgrade` that is not WebSocket's, as load balancers do: what arrives
    /// without it is answered 400 `Upgrade request required`.
    pub strips_upgrades: bool,
    /// False behind a proxy that knows no WebSocket: such upgrades are answered 403.
    pub websocket: bool,
    /// Whether tunnelled frames are cut into many small messages, as spdystream's separate writes can be.
    pub tunnel_fragments: bool,
    /// Whether the kubelet has just restarted and knows no pods yet: port-forwards are answered with a plain 404.
    pub kubelet_syncing: bool,
}

impl Default for Flavour {
    fn default() -> Self {
        Self::kubernetes(36)
    }
}

impl Flavour {
    /// Kubernetes 1.`minor` with its defaults and a runtime of the same age.
    #[must_use]
    pub fn kubernetes(minor: u32) -> Self {
        Self {
            minor,
            websocket_tunnel: minor >= 31,
            websocket_needs_create: minor >= 35,
            resets_after_errors: minor >= 32,
            classic_spdy: true,
            strips_upgrades: false,
            websocket: true,
            tunnel_fragments: false,
            kubelet_syncing: false,
        }
    }
}

/// The present [`Flavour`].
#[derive(Debug, Default)]
pub(crate) struct FlavourCell(RwLock<Flavour>);

impl FlavourCell {
    pub(crate) fn new(flavour: Flavour) -> Self {
        Self(RwLock::new(flavour))
    }

    pub(crate) fn read(&self) -> Flavour {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Flavour)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The durations of the server contract; a real cluster's by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// How long the runtime waits for the second direction after the first ended. 1 s.
    pub close_grace: Duration,
    /// How long an incomplete pair of streams may wait for the other. 30 s.
    pub pair_timeout: Duration,
    /// How often a quiet watch gets a bookmark. 60 s.
    pub bookmark_interval: Duration,
    /// How long a list of a future resource version waits for it. 3 s.
    pub future_version_wait: Duration,
    /// The pause between the steps of a pod's life in rollouts.
    pub pod_step: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            close_grace: Duration::from_secs(1),
            pair_timeout: Duration::from_secs(30),
            bookmark_interval: Duration::from_secs(60),
            future_version_wait: Duration::from_secs(3),
            pod_step: Duration::from_millis(100),
        }
    }
}

/// Everything that requests, forwards and the handle share.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) world: World,
    pub(crate) access: Access,
    pub(crate) authority: Authority,
    pub(crate) network: NetworkFaults,
    pub(crate) requests: RequestFaults,
    pub(crate) signals: watch::Sender<Signals>,
    pub(crate) counters: Counters,
    pub(crate) flavour: FlavourCell,
    pub(crate) timing: Timing,
}

impl State {
    pub(crate) fn signal(&self, change: impl FnOnce(&mut Signals)) {
        self.signals.send_modify(change);
    }
}
