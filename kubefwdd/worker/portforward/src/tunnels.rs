//! The tunnels to all pods of one cluster.

use std::collections::HashMap;
use std::sync::Arc;

use kubefwd_model::Failure;
use parking_lot::Mutex;

use crate::api_server::ApiServer;
use crate::backend::Backend;
use crate::connection::{Budget, ConnectionConfig};
use crate::opener::Opener;
use crate::pod::{ConnectionStatus, PodTunnel};
use crate::settings::Settings;
use crate::transport::Transport;

/// Bytes waiting for all clients of the cluster.
const BACKLOG_TOTAL: usize = 64 * 1024 * 1024;

/// The tunnels of one cluster and user, one for each pod that was used.
pub struct Tunnels {
    opener: Arc<Opener>,
    pub(crate) config: ConnectionConfig,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    by_uid: HashMap<String, Arc<PodTunnel>>,
    /// Unused pods are removed once there are this many.
    sweep_at: usize,
}

impl Tunnels {
    /// Tunnels through `api_server`. Nothing is connected before it is needed.
    pub fn new(api_server: Arc<ApiServer>, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            opener: Arc::new(Opener::new(api_server, &settings)),
            config: ConnectionConfig {
                budget: Arc::new(Budget::new(BACKLOG_TOTAL)),
                settings: Arc::new(settings),
            },
            used: Mutex::default(),
        })
    }

    /// The pod no longer exists (not: it is terminating). Connections that it has not answered move to other pods; those
    /// that it has answered run to their end.
    pub fn pod_gone(&self, pod_uid: &str) {
        let removed = self.used.lock().by_uid.remove(pod_uid);
        if let Some(pod) = removed {
            pod.pod_gone();
        }
    }

    /// The machine slept, or its network changed: finds out within a second which connections are still alive, and lets
    /// everything that waits for the cluster retry at once.
    pub fn probe_all(&self) {
        self.opener.network_changed();
        for pod in self.all() {
            pod.probe();
        }
    }

    /// Opens new connections to these pods; the present ones close when their streams have ended. Pods without
    /// connections are left alone.
    ///
    /// # Errors
    /// The first failure; the other pods are reconnected all the same.
    pub async fn reconnect(&self, pod_uids: &[String]) -> Result<(), Failure> {
        let mut result = Ok(());
        for uid in pod_uids {
            let pod = self.used.lock().by_uid.get(uid).cloned();
            if let Some(pod) = pod
                && let Err(error) = pod.reconnect().await
            {
                result = result.and(Err(error.failure()));
            }
        }
        result
    }

    /// The transport that the cluster accepted last.
    pub fn transport(&self) -> Option<Transport> {
        self.opener.transport()
    }

    /// The open connections to all pods, in no order of the pods.
    pub fn connections(&self) -> Vec<ConnectionStatus> {
        let pods = self.all().into_iter();
        pods.flat_map(|pod| pod.connections()).collect()
    }

    /// The tunnel to the pod of `backend`.
    pub(crate) fn tunnel(&self, backend: &Backend) -> Arc<PodTunnel> {
        const LEAST: usize = 64;
        let mut used = self.used.lock();
        if let Some(pod) = used.by_uid.get(&backend.pod_uid) {
            return Arc::clone(pod);
        }
        if used.by_uid.len() >= used.sweep_at.max(LEAST) {
            used.by_uid.retain(|_, pod| !pod.is_unused());
            used.sweep_at = used.by_uid.len() * 2;
        }
        let (opener, config) = (Arc::clone(&self.opener), self.config.clone());
        let pod = Arc::new(PodTunnel::new(backend.clone(), opener, config));
        let uid = backend.pod_uid.clone();
        used.by_uid.insert(uid, Arc::clone(&pod));
        pod
    }

    fn all(&self) -> Vec<Arc<PodTunnel>> {
        self.used.lock().by_uid.values().cloned().collect()
    }
}
