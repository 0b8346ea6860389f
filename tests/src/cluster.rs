//! The handle of a running cluster.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::auth::{Identity, Rule, User};
use crate::builder::ClusterBuilder;
use crate::controller;
use crate::counters::Counts;
use crate::faults::{NetworkFault, RequestEffect, RequestMatch, Scope};
use crate::ids;
use crate::kinds::Kind;
use crate::kubeconfig::{Credential, Kubeconfig};
use crate::pki::{ClientCertificate, PkiError};
use crate::server::ApiServer;
use crate::spec::{Service, Workload};
use crate::state::{Flavour, State};
use crate::store::Key;

/// How long the certificates of kubeconfigs are valid.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A user, workload, service or pod that the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the simulated cluster has no {kind} {name:?}")]
pub struct Unknown {
    kind: &'static str,
    name: String,
}

/// A running simulated cluster. It stops when the handle is dropped.
pub struct Cluster {
    state: Arc<State>,
    server: ApiServer,
    identities: Vec<Identity>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("address", &self.server.address())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Describes a cluster.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    pub(crate) fn new(state: Arc<State>, server: ApiServer, users: Vec<User>) -> Self {
        Self {
            state,
            server,
            identities: users.into_iter().map(|user| user.identity).collect(),
        }
    }

    /// Where the API server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// The certificate of the cluster's authority as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.state.authority.root_pem()
    }

    fn identity(&self, user: &str) -> Result<Identity, Unknown> {
        let found = self.identities.iter().find(|i| i.user == user);
        found.cloned().ok_or_else(|| Unknown {
            kind: "user",
            name: user.to_owned(),
        })
    }

    /// A kubeconfig for a user, with a client certificate; change it with the methods of [`Kubeconfig`].
    ///
    /// # Errors
    /// When there is no such user, or its certificate cannot be made.
    pub fn kubeconfig(&self, user: &str) -> io::Result<Kubeconfig> {
        let identity = self.identity(user).map_err(io::Error::other)?;
        let certificate = self
            .state
            .authority
            .client(&identity, CERTIFICATE_LIFE)
            .map_err(io::Error::other)?;
        Ok(self.kubeconfig_with(Credential::Certificate(certificate)))
    }

    /// A kubeconfig with a given credential.
    #[must_use]
    pub fn kubeconfig_with(&self, credential: Credential) -> Kubeconfig {
        Kubeconfig {
            server: self.url(),
            root_pem: self.root_pem(),
            credential,
            context: "sim".to_owned(),
            namespace: None,
            proxy_url: None,
        }
    }

    /// A client certificate for a user, valid so long from now; zero gives one that has expired.
    ///
    /// # Errors
    /// When there is no such user, or the certificate cannot be made.
    pub fn client_certificate(
        &self,
        user: &str,
        validity: Duration,
    ) -> Result<ClientCertificate, Box<dyn std::error::Error + Send + Sync>> {
        let identity = self.identity(user)?;
        let made: Result<_, PkiError> = self.state.authority.client(&identity, validity);
        Ok(made?)
    }

    /// A new bearer token for a user; without a validity it does not expire.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn token(&self, user: &str, validity: Option<Duration>) -> Result<String, Unknown> {
        let identity = self.identity(user)?;
        let token = format!("sim.{}", ids::uuid());
        let expires = validity.map(|validity| SystemTime::now() + validity);
        self.state
            .access
            .add_token(token.clone(), identity, expires);
        Ok(token)
    }

    /// Requests with the token are answered 401 from now on.
    pub fn revoke_token(&self, token: &str) {
        self.state.access.revoke_token(token);
    }

    /// Replaces what a user may do.
    pub fn set_rules(&self, user: &str, rules: impl IntoIterator<Item = Rule>) {
        self.state
            .access
            .set_rules(user, rules.into_iter().collect());
    }

    /// Forbids something to everyone, whatever they are allowed, until [`Self::clear_denials`].
    pub fn deny(&self, rule: Rule) {
        self.state.access.deny(None, rule);
    }

    /// Forbids something to one user, whatever they are allowed, until [`Self::clear_denials`].
    pub fn deny_user(&self, user: &str, rule: Rule) {
        self.state.access.deny(Some(user.to_owned()), rule);
    }

    /// Takes all denials back.
    pub fn clear_denials(&self) {
        self.state.access.clear_denials();
    }

    // What is in the cluster.

    /// Creates a namespace.
    pub fn create_namespace(&self, name: &str) {
        controller::create_namespace(&self.state, name);
    }

    /// Deletes a namespace with all that is in it.
    pub fn delete_namespace(&self, name: &str) {
        controller::delete_namespace(&self.state, name);
    }

    /// Creates or replaces a service.
    pub fn put_service(&self, namespace: &str, service: Service) {
        controller::put_service(&self.state, namespace, service);
    }

    /// Deletes a service; false when it is not there.
    pub fn delete_service(&self, namespace: &str, name: &str) -> bool {
        controller::delete_service(&self.state, &key(namespace, name))
    }

    /// Creates a workload; its pods are at once in the state they come into.
    pub fn create_workload(&self, namespace: &str, workload: Workload) {
        controller::create_workload(&self.state, namespace, workload);
    }

    /// The names of a workload's pods (its single pod, for one made by [`Workload::pod`]), in order.
    #[must_use]
    pub fn pods(&self, namespace: &str, workload: &str) -> Vec<String> {
        let world = self.state.world.lock();
        let key = key(namespace, workload);
        let mut names: Vec<String> = world
            .owned(&key)
            .into_iter()
            .map(|pod| pod.key.1.clone())
            .collect();
        if names.is_empty() && world.pods.contains_key(&key) {
            names.push(key.1);
        }
        names
    }

    /// The present resource version.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.state.store.version()
    }

    /// Changes with every change of a kind; for tests that wait for one.
    #[must_use]
    pub fn changes(&self, kind: Kind) -> watch::Receiver<u64> {
        self.state.store.subscribe(kind)
    }

    /// Appends a line to a pod's log; false when there is no such pod.
    pub fn log(&self, namespace: &str, pod: &str, line: &str) -> bool {
        let found = self.state.world.logs(namespace, pod);
        found.is_some_and(|(book, _)| {
            book.push(line);
            true
        })
    }

    // The life of pods.

    /// Lets a pod's readiness probe succeed or fail.
    pub fn set_ready(&self, namespace: &str, pod: &str, ready: bool) {
        controller::set_ready(&self.state, &key(namespace, pod), ready);
    }

    /// Replaces all pods of a Deployment or StatefulSet as its controller does, and returns when that is done. False when
    /// there is no such workload.
    pub async fn rollout(&self, namespace: &str, workload: &str) -> bool {
        controller::rollout(&self.state, &key(namespace, workload)).await
    }

    /// Changes the number of pods of a Deployment or StatefulSet and returns when that is done. False when there is no
    /// such workload.
    pub async fn scale(&self, namespace: &str, workload: &str, replicas: usize) -> bool {
        controller::scale(&self.state, &key(namespace, workload), replicas).await
    }

    /// Deletes a pod gracefully (terminating, then without process, then gone); its controller replaces it. Returns when
    /// both are done. False when there is no such pod.
    pub async fn delete_pod(&self, namespace: &str, pod: &str) -> bool {
        controller::replace_pod(&self.state, &key(namespace, pod)).await
    }

    /// Marks a pod as terminating; it keeps serving until [`Self::remove_pod`].
    pub fn terminate_pod(&self, namespace: &str, pod: &str) {
        controller::begin_deletion(&self.state, &key(namespace, pod));
    }

    /// Removes a pod at once, as a forced deletion does: connections end, its sandbox is gone, nothing replaces it. False
    /// when there is no such pod.
    pub fn remove_pod(&self, namespace: &str, pod: &str) -> bool {
        controller::remove_pod(&self.state, &key(namespace, pod))
    }

    /// Kills the process of a pod's container: connections end and new ones are refused until
    /// [`Self::start_container`].
    pub fn kill_container(&self, namespace: &str, pod: &str) {
        controller::kill_container(&self.state, &key(namespace, pod));
    }

    /// Starts the container of a killed pod again and lets it become ready.
    pub fn start_container(&self, namespace: &str, pod: &str) {
        let key = key(namespace, pod);
        controller::start(&self.state, &key);
        controller::set_ready(&self.state, &key, true);
    }

    // Faults.

    /// Sets the network fault of a scope, replacing the one set for exactly this scope before.
    pub fn set_network_fault(&self, scope: Scope, fault: NetworkFault) {
        self.state.network.set(scope, fault);
    }

    /// Takes all network faults back.
    pub fn clear_network_faults(&self) {
        self.state.network.clear();
    }

    /// Resets the open connections to applications in a scope's pods (its port is not looked at).
    pub fn reset_connections(&self, scope: &Scope) {
        for sandbox in self.state.world.sandboxes() {
            if scope.covers_pod(&sandbox.namespace, &sandbox.pod) {
                sandbox.reset_connections();
            }
        }
    }

    /// Makes matching requests fail; with `times` only so many of them.
    pub fn fail_requests(&self, matching: RequestMatch, effect: RequestEffect, times: Option<u32>) {
        self.state.requests.add(matching, effect, times);
    }

    /// Takes all request faults back.
    pub fn clear_request_faults(&self) {
        self.state.requests.clear();
    }

    /// The container runtime dies: classic port-forwards see EOF, tunnels fall silent until the client sends something.
    /// New ones work at once, as with a runtime that is restarted.
    pub fn lose_runtime(&self) {
        self.state.signal(|signals| signals.runtime += 1);
    }

    /// The kubelet restarts: all port-forwards see EOF.
    pub fn restart_kubelet(&self) {
        self.state.signal(|signals| signals.kubelet += 1);
    }

    /// Breaks all watches in the middle of their streams.
    pub fn cut_watches(&self) {
        self.state.signal(|signals| signals.watches += 1);
    }

    /// Ends all watches as their timeout does.
    pub fn end_watches(&self) {
        self.state.signal(|signals| signals.watch_timeouts += 1);
    }

    /// Forgets all history, as etcd's compaction: watches and lists of older versions are answered 410.
    pub fn compact(&self) {
        self.state.store.compact();
    }

    /// Cuts all connections to the API server; new ones are accepted.
    pub fn cut_connections(&self) {
        self.server.cut_connections();
    }

    /// Stops the API server: connections are cut, new ones refused. Returns when that is so.
    pub async fn stop_api_server(&self) {
        self.server.stop().await;
    }

    /// Starts the API server again at its address.
    ///
    /// # Errors
    /// When the address is taken meanwhile.
    pub async fn start_api_server(&self) -> io::Result<()> {
        self.server.resume().await
    }

    /// The present flavour.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.state.flavour.read()
    }

    /// Changes the flavour of what is answered from now on.
    pub fn change_flavour(&self, change: impl FnOnce(&mut Flavour)) {
        self.state.flavour.update(change);
    }

    // Counters.

    /// What the cluster has seen.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counters.snapshot()
    }

    /// Sets the counters to zero; what is open stays counted.
    pub fn reset_counters(&self) {
        self.state.counters.reset();
    }
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}
