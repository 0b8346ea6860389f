//! Opens tunnels to the pods of one cluster: which transport, how many at once, when to retry.

mod backoff;
mod negotiate;
mod spare;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api_server::{ApiServer, Credentials};
use crate::backend::Backend;
use crate::error::OpenError;
use crate::settings::Settings;
use crate::transport::Transport;
use crate::transport::upgrade::{Request, UpgradeError, Upgraded, upgrade};
use crate::transport_cache::TransportCache;
use crate::upstream::Upstream;
use backoff::Backoff;
use spare::SpareConnections;

/// Upgrades at a time.
const CONCURRENT_UPGRADES: usize = 8;

/// Opens tunnels of one cluster.
pub(crate) struct Opener {
    server: Arc<ApiServer>,
    /// Bounds concurrent upgrades: each makes the API server authorize, read two objects and dial the kubelet.
    upgrades: Semaphore,
    backoff: Backoff,
    spares: Arc<SpareConnections>,
    /// What the cluster accepted last.
    transport: Mutex<Option<Transport>>,
    transport_cache: Option<Arc<TransportCache>>,
    timeout: Duration,
}

impl Opener {
    pub(crate) fn new(server: Arc<ApiServer>, settings: &Settings) -> Self {
        let cached = || {
            let cache = settings.transport_cache.as_ref()?;
            cache.get(&server.url.to_string())
        };
        Self {
            upgrades: Semaphore::new(CONCURRENT_UPGRADES),
            backoff: Backoff::default(),
            spares: SpareConnections::new(Arc::clone(&server)),
            transport: Mutex::new(settings.transport.or_else(cached)),
            transport_cache: settings.transport_cache.clone(),
            timeout: settings.open_timeout,
            server,
        }
    }

    /// The transport that the cluster accepted last, if any did.
    pub(crate) fn transport(&self) -> Option<Transport> {
        *self.transport.lock()
    }

    /// The next attempt starts at once and tries the better transports again: the network may be a different one.
    pub(crate) fn network_changed(&self) {
        let mut known = self.transport.lock();
        *known = known.filter(|transport| *transport != Transport::Channel);
        drop(known);
        self.backoff.reset();
        self.spares.clear();
    }

    /// Opens a tunnel to a pod. `port` matters only where a tunnel serves one port.
    ///
    /// # Errors
    /// [`OpenError`], after one attempt with everything that may succeed now.
    pub(crate) async fn open(&self, pod: &Backend, port: u16) -> Result<Upgraded, OpenError> {
        self.backoff.wait().await;
        let Ok(_permit) = self.upgrades.acquire().await else {
            unreachable!("the semaphore is never closed");
        };
        let opened = timeout(self.timeout, self.negotiate(pod, port)).await;
        let opened = opened.unwrap_or_else(|_| {
            let server = self.server.url.to_string();
            Err(OpenError::Timeout { server })
        });
        match &opened {
            Ok(upgraded) => {
                self.backoff.reset();
                self.set_transport(upgraded.transport);
            }
            Err(error) if error.is_transient() => self.backoff.failed(),
            Err(_) => {}
        }
        opened
    }

    fn set_transport(&self, transport: Transport) {
        let mut known = self.transport.lock();
        if *known != Some(transport) {
            tracing::debug!(server = %self.server.url, %transport, "transport chosen");
            *known = Some(transport);
            if let Some(cache) = self.transport_cache.clone() {
                let url = self.server.url.to_string();
                tokio::task::spawn_blocking(move || cache.set(&url, transport));
            }
        }
    }

    /// One upgrade with one transport. Rejected credentials are refreshed once; a spare connection that turns out to be
    /// closed is replaced by a new one.
    async fn attempt(
        &self,
        transport: Transport,
        pod: &Backend,
        port: u16,
    ) -> Result<Upgraded, AttemptError> {
        let mut credentials = self.credentials(None).await?;
        let mut renewed = false;
        loop {
            let (upstream, is_spare) = self.upstream(&credentials).await?;
            let request = Request {
                server: &self.server.url,
                pod,
                port,
                headers: &credentials.headers,
            };
            match upgrade(upstream, transport, &request).await {
                Ok(upgraded) => return Ok(upgraded),
                Err(UpgradeError::Io(_)) if is_spare => {}
                Err(UpgradeError::Refused { status, .. }) if status == 401 && !renewed => {
                    renewed = true;
                    credentials = self.credentials(Some(credentials.generation)).await?;
                }
                Err(error) => return Err(AttemptError::Upgrade(error)),
            }
        }
    }

    async fn credentials(&self, rejected: Option<u64>) -> Result<Credentials, OpenError> {
        let credentials = self.server.credentials.credentials(rejected).await;
        credentials.map_err(OpenError::Credentials)
    }

    /// A connection that has sent no request, and whether it is a spare one.
    async fn upstream(&self, credentials: &Credentials) -> Result<(Upstream, bool), OpenError> {
        if let Some(upstream) = self.spares.take(credentials.generation) {
            return Ok((upstream, true));
        }
        let upstream = Upstream::connect(&self.server, credentials.tls.clone()).await?;
        Ok((upstream, false))
    }
}

/// Why one attempt with one transport failed.
enum AttemptError {
    /// Before the upgrade: no transport could have done better.
    Before(OpenError),
    Upgrade(UpgradeError),
}

impl From<OpenError> for AttemptError {
    fn from(error: OpenError) -> Self {
        Self::Before(error)
    }
}
