//! Tunnels to the pods of one cluster: which transport, how many at once, when to try again.

mod negotiate;
mod pace;
mod spares;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::dial::dial;
use super::error::OpenError;
use super::link::Link;
use super::memory::Memory;
use super::upgrade::{Request, Transport, UpgradeError, Upgraded, upgrade};
use super::{PodId, Settings};
use crate::endpoint::{Endpoint, Grant};
use pace::Pace;
use spares::Spares;

/// Opens tunnels of one cluster.
pub(super) struct Opener {
    endpoint: Arc<Endpoint>,
    /// Bounds the upgrades under way: each makes the API server authorize, read two objects and dial the kubelet.
    upgrades: Semaphore,
    pace: Pace,
    spares: Arc<Spares>,
    /// What the cluster accepted last.
    transport: Mutex<Option<Transport>>,
    memory: Option<Arc<Memory>>,
    timeout: Duration,
}

impl Opener {
    pub(super) fn new(endpoint: Arc<Endpoint>, settings: &Settings) -> Self {
        let remembered = || {
            settings
                .memory
                .as_ref()?
                .recall(&endpoint.server.to_string())
        };
        Self {
            upgrades: Semaphore::new(settings.concurrent_upgrades),
            pace: Pace::default(),
            spares: Arc::new(Spares::new(
                Arc::clone(&endpoint),
                settings.spare_connections,
            )),
            transport: Mutex::new(settings.transport.or_else(remembered)),
            memory: settings.memory.clone(),
            timeout: settings.open_timeout,
            endpoint,
        }
    }

    /// The transport that the cluster accepted last, if any did.
    pub(super) fn transport(&self) -> Option<Transport> {
        *self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next try start at once, and with the better transports again: the network may be another one.
    pub(super) fn network_changed(&self) {
        let mut known = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = known.filter(|transport| *transport != Transport::Channel);
        drop(known);
        self.pace.reset();
        self.spares.clear();
    }

    /// Opens a tunnel to a pod. `port` matters only where a tunnel serves one port.
    ///
    /// # Errors
    /// [`OpenError`], after one try of everything that could go well now.
    pub(super) async fn open(&self, pod: &PodId, port: u16) -> Result<Upgraded, OpenError> {
        self.pace.wait().await;
        let Ok(_permit) = self.upgrades.acquire().await else {
            unreachable!("the semaphore is never closed");
        };
        let opened = match timeout(self.timeout, self.negotiate(pod, port)).await {
            Ok(result) => result,
            Err(_) => Err(OpenError::Timeout {
                server: self.endpoint.server.to_string(),
            }),
        };
        match &opened {
            Ok(upgraded) => {
                self.pace.reset();
                self.remember(upgraded.transport);
            }
            Err(error) if error.is_transient() => self.pace.slow_down(),
            Err(_) => {}
        }
        opened
    }

    fn remember(&self, transport: Transport) {
        let mut known = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *known != Some(transport) {
            tracing::debug!(server = %self.endpoint.server, %transport, "transport chosen");
            *known = Some(transport);
            if let Some(memory) = self.memory.clone() {
                let server = self.endpoint.server.to_string();
                tokio::task::spawn_blocking(move || memory.remember(&server, transport));
            }
        }
    }

    /// One upgrade with one transport. A refused credential is fetched anew once; a spare connection that turns out to be
    /// closed is replaced by a new one.
    async fn attempt(
        &self,
        transport: Transport,
        pod: &PodId,
        port: u16,
    ) -> Result<Upgraded, AttemptError> {
        let mut grant = self.grant(None).await?;
        let mut renewed = false;
        loop {
            let (link, spare) = self.link(&grant).await?;
            let request = Request {
                server: &self.endpoint.server,
                namespace: &pod.namespace,
                pod: &pod.name,
                port,
                headers: &grant.headers,
            };
            match upgrade(link, transport, &request).await {
                Ok(upgraded) => return Ok(upgraded),
                Err(UpgradeError::Io(_)) if spare => {}
                Err(UpgradeError::Refused { status, .. }) if status == 401 && !renewed => {
                    renewed = true;
                    grant = self.grant(Some(grant.generation)).await?;
                }
                Err(error) => return Err(AttemptError::Upgrade(error)),
            }
        }
    }

    async fn grant(&self, refused: Option<u64>) -> Result<Grant, OpenError> {
        let grant = self.endpoint.access.grant(refused).await;
        grant.map_err(OpenError::Credentials)
    }

    /// A connection that has sent no request yet, and whether it has waited for its use.
    async fn link(&self, grant: &Grant) -> Result<(Link, bool), OpenError> {
        if let Some(link) = self.spares.take(grant.generation) {
            return Ok((link, true));
        }
        let link = dial(&self.endpoint, grant.tls.clone()).await?;
        Ok((link, false))
    }
}

/// Why one try with one transport failed.
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
