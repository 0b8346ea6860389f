//! What happens to clusters, credentials and machines in the course of a day.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::service;
use crate::harness::system::signal;
use crate::harness::{PATIENCE, Sandbox};
use crate::{Cluster, Credential, write_exec_plugin};

/// How long a token is announced to be good for.
const LIFETIME: Duration = Duration::from_secs(20);
/// A token that was handed out is good for longer than was announced.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(25);
/// Services that go or come at once.
const CHURN: usize = 20;

/// A credential plugin whose tokens expire and are revoked.
#[derive(Debug)]
pub(super) struct Credentials {
    plugin: PathBuf,
    kind: Credential,
    token: String,
    before: Option<String>,
    renewed: Instant,
}

impl Credentials {
    pub(super) fn new(sandbox: &Sandbox, cluster: &Cluster) -> Self {
        let plugin = sandbox.path("plugin");
        let token = cluster.token("admin", None);
        let token = token.expect("a cluster has an admin");
        let kind = write_exec_plugin(&plugin, &token, Some(LIFETIME));
        Self {
            kind: kind.expect("the sandbox is writable"),
            plugin,
            token,
            before: None,
            renewed: Instant::now(),
        }
    }

    pub(super) fn kind(&self) -> Credential {
        self.kind.clone()
    }

    /// Hands out another token from now on. The one before the last is refused: it has expired.
    fn renew(&mut self, cluster: &Cluster) {
        let token = cluster.token("admin", None);
        let token = token.expect("a cluster has an admin");
        let new = self.plugin.with_extension("new");
        write_exec_plugin(&new, &token, Some(LIFETIME)).expect("the sandbox is writable");
        fs::rename(&new, &self.plugin).expect("the sandbox is writable");
        let last = std::mem::replace(&mut self.token, token);
        if let Some(expired) = self.before.replace(last) {
            cluster.revoke_token(&expired);
        }
        self.renewed = Instant::now();
    }
}

/// A cluster, and what has happened to it.
pub(super) struct Trouble {
    cluster: Arc<Cluster>,
    credentials: Credentials,
    runtime: Handle,
    /// One at a time: a person waits for the last one too.
    rollout: Option<JoinHandle<bool>>,
    /// Names, and how many services each has when all are there.
    pub(super) namespaces: Vec<(String, usize)>,
    /// Services that were deleted, by namespace and number.
    missing: BTreeSet<(usize, usize)>,
    pub(super) happened: BTreeMap<&'static str, u64>,
}

impl Trouble {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        credentials: Credentials,
        namespaces: Vec<(String, usize)>,
    ) -> Self {
        Self {
            cluster,
            credentials,
            runtime: Handle::current(),
            rollout: None,
            namespaces,
            missing: BTreeSet::new(),
            happened: BTreeMap::new(),
        }
    }

    /// Lets something happen, and says what.
    pub(super) fn next(&mut self, rng: &mut StdRng, worker: u32) -> &'static str {
        let at = rng.random_range(0..self.namespaces.len());
        let event = match rng.random_range(0..100) {
            0..50 => self.churn(at, rng),
            50..60 if self.rollout.as_ref().is_none_or(JoinHandle::is_finished) => {
                let (cluster, name) = (self.cluster.clone(), self.namespaces[at].0.clone());
                let rollout = async move { cluster.rollout(&name, "echo").await };
                self.rollout = Some(self.runtime.spawn(rollout));
                "rollout"
            }
            66..72 if self.credentials.renewed.elapsed() > BETWEEN_RENEWALS => {
                self.credentials.renew(&self.cluster);
                "token expired"
            }
            50..78 => {
                self.cluster.cut_watches();
                "watches cut"
            }
            78..82 => {
                self.cluster.compact();
                self.cluster.end_watches();
                "history lost"
            }
            82..86 => {
                self.cluster.cut_connections();
                "connections cut"
            }
            86..90 => {
                self.cluster.lose_runtime();
                "runtime lost"
            }
            90..94 => {
                self.cluster.restart_kubelet();
                "kubelet restarted"
            }
            94..97 => {
                self.restart_api_server(Duration::from_millis(rng.random_range(100..2_000)));
                "API server restarted"
            }
            _ => {
                // What a machine that sleeps does to a process: time goes on without it.
                signal(worker, Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(rng.random_range(500..4_000)));
                signal(worker, Signal::SIGCONT);
                "worker suspended"
            }
        };
        *self.happened.entry(event).or_default() += 1;
        event
    }

    /// Some services go, those that are missing come back. The first of each namespace stays.
    fn churn(&mut self, at: usize, rng: &mut StdRng) -> &'static str {
        let (name, services) = self.namespaces[at].clone();
        for _ in 0..rng.random_range(1..=CHURN) {
            let number = rng.random_range(0..services.max(2)).max(1);
            if number >= services {
                break;
            }
            if self.missing.remove(&(at, number)) {
                self.cluster.put_service(&name, service(number));
            } else {
                self.cluster.delete_service(&name, &format!("s{number}"));
                self.missing.insert((at, number));
            }
        }
        "services changed"
    }

    fn restart_api_server(&self, away: Duration) {
        let cluster = self.cluster.clone();
        let (done, is_done) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            cluster.stop_api_server().await;
            tokio::time::sleep(away).await;
            let _nobody_waits = done.send(cluster.start_api_server().await);
        });
        let started = is_done.recv_timeout(PATIENCE);
        let started = started.expect("the API server stops and starts within minutes");
        started.expect("the API server's address stays free");
    }

    /// All services are there again; returns how many.
    pub(super) fn restore(&mut self) -> usize {
        for (at, number) in std::mem::take(&mut self.missing) {
            self.cluster
                .put_service(&self.namespaces[at].0, service(number));
        }
        self.namespaces.iter().map(|(_, services)| services).sum()
    }
}
