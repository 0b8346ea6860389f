//! The tunnels to all pods of one cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::api_server::ApiServer;
use crate::backend::Backend;
use crate::connection::{Budget, ConnectionConfig, Intervals, Limits, StreamConfig};
use crate::opener::{Opener, PodId};
use crate::pod::PodTunnel;
use crate::settings::Settings;
use crate::transport::Transport;

/// One [`PodTunnel`] for each pod that was used.
pub(crate) struct Pods {
    opener: Arc<Opener>,
    settings: Settings,
    config: ConnectionConfig,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    by_uid: HashMap<String, Arc<PodTunnel>>,
    /// Unused pods are removed once there are this many.
    sweep_at: usize,
}

impl Pods {
    pub(crate) fn new(api_server: Arc<ApiServer>, settings: Settings) -> Self {
        let config = ConnectionConfig {
            stream: StreamConfig {
                limits: Limits {
                    soft: settings.backlog_soft,
                    hard: settings.backlog_hard,
                },
                replay: settings.replay_limit,
                half_close_grace: settings.half_close_grace,
            },
            intervals: Intervals {
                busy: settings.ping_busy,
                idle: settings.ping_idle,
                timeout: settings.ping_timeout,
            },
            idle_close: settings.idle_close,
            budget: Arc::new(Budget::new(settings.backlog_total)),
        };
        Self {
            opener: Arc::new(Opener::new(api_server, &settings)),
            config,
            settings,
            used: Mutex::default(),
        }
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
        let id = PodId {
            namespace: backend.namespace.clone(),
            name: backend.pod.clone(),
        };
        let pod = Arc::new(PodTunnel::new(
            id,
            &backend.pod_uid,
            Arc::clone(&self.opener),
            self.config.clone(),
            &self.settings,
        ));
        used.by_uid
            .insert(backend.pod_uid.clone(), Arc::clone(&pod));
        pod
    }

    pub(crate) fn get(&self, uid: &str) -> Option<Arc<PodTunnel>> {
        self.used.lock().by_uid.get(uid).cloned()
    }

    pub(crate) fn remove(&self, uid: &str) -> Option<Arc<PodTunnel>> {
        self.used.lock().by_uid.remove(uid)
    }

    pub(crate) fn all(&self) -> Vec<Arc<PodTunnel>> {
        self.used.lock().by_uid.values().cloned().collect()
    }

    pub(crate) fn network_changed(&self) {
        self.opener.network_changed();
    }

    pub(crate) fn transport(&self) -> Option<Transport> {
        self.opener.transport()
    }

    pub(crate) fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    /// How long a connection waits for a ready pod.
    pub(crate) fn no_backend_wait(&self) -> Duration {
        self.settings.no_backend_wait
    }
}
