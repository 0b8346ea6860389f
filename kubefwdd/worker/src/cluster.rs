//! One cluster as one kubeconfig context reaches it: where it is ([`ApiServer`]), with what credentials, and a Kubernetes
//! client that uses both.
//!
//! [`Clusters`] hands them out, so that a user's programs, watches and questions share credentials and connections: a
//! credential plugin runs once for all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use kubefwd_model::discovery::Contexts;
use kubefwd_model::{Failure, failure};
use kubefwd_portforward::api_server::ApiServer;
use parking_lot::Mutex;
use serde_json::Value;

use crate::auth::ContextCredentials;
use crate::auth::kubeconfig::{Context, Environment, Merged};
use transport::Transport;

pub use classify::{classify, classify_status};

mod bounded;
mod classify;
mod proxy;
mod transport;

/// How many clusters are kept; contexts beyond that are built each time.
const REMEMBERED: usize = 64;

/// One cluster, as one context reaches it.
pub struct Cluster {
    /// The context that reaches it.
    pub context: Context,
    /// What tunnels connect to.
    pub api_server: Arc<ApiServer>,
    /// The Kubernetes client. It does not repeat failed requests, except once after a 401 with new credentials.
    pub client: kube::Client,
    credentials: ContextCredentials,
    transport: Transport,
}

impl Cluster {
    /// Builds what is needed to reach the cluster; nothing is connected or run yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// The context says something that cannot be used.
    pub fn new(context: Context, environment: &Environment) -> Result<Self, Failure> {
        let url = server_url(&context)?;
        let proxy = proxy::choose(&context.cluster, &url, environment)?;
        let credentials = ContextCredentials::new(&context, environment)?;
        let name = context.cluster.tls_server_name.clone();
        let api_server = Arc::new(ApiServer {
            url,
            tls_server_name: name.filter(|name| !name.is_empty()),
            proxy,
            credentials: Arc::new(credentials.clone()),
        });
        let transport = Transport::new(api_server.clone());
        let client = transport.client(&context.namespace);
        Ok(Self {
            context,
            api_server,
            credentials,
            transport,
            client,
        })
    }

    /// Retries credentials that failed a moment ago: the user may have logged in.
    pub fn try_credentials_again(&self) {
        self.credentials.try_again();
    }

    /// Opens new connections from now on: the machine woke up or its network changed.
    pub fn reconnect(&self) {
        self.transport.reconnect();
    }
}

/// The clusters that are in use, by context and the kubeconfig files that define it.
pub struct Clusters {
    state: Mutex<State>,
}

struct State {
    environment: Arc<Environment>,
    known: BTreeMap<(String, Vec<PathBuf>), Known>,
}

struct Known {
    /// Cluster and user as the kubeconfig had them. Not as text: parts of it are maps, whose order differs each time.
    content: Value,
    cluster: Arc<Cluster>,
}

impl Clusters {
    /// Without clusters.
    pub fn new(environment: Environment) -> Self {
        Self {
            state: Mutex::new(State {
                environment: Arc::new(environment),
                known: BTreeMap::new(),
            }),
        }
    }

    /// Uses the user's new environment from now on.
    pub fn replace_environment(&self, environment: Environment) {
        let mut state = self.state.lock();
        if *state.environment != environment {
            state.environment = Arc::new(environment);
            state.known.clear();
        }
    }

    /// The user's environment.
    pub fn environment(&self) -> Arc<Environment> {
        self.state.lock().environment.clone()
    }

    /// The cluster of a context (the current one for an empty name) in these kubeconfig files (empty: as `KUBECONFIG` or
    /// the default says). The files are read each time; the same cluster is returned while they say the same of it.
    ///
    /// # Errors
    /// The kubeconfig or the context cannot be used.
    pub async fn get(&self, context: &str, kubeconfig: &[String]) -> Result<Arc<Cluster>, Failure> {
        let environment = self.environment();
        let merged = Merged::load(kubeconfig, &environment).await?;
        let context = merged.context(context)?;
        let content = content(&context)?;
        let key = (context.name.clone(), context.files.clone());

        let mut state = self.state.lock();
        if let Some(known) = state.known.get(&key)
            && known.content == content
        {
            return Ok(known.cluster.clone());
        }
        let cluster = Arc::new(Cluster::new(context, &environment)?);
        let is_current = Arc::ptr_eq(&environment, &state.environment);
        if is_current && (state.known.len() < REMEMBERED || state.known.contains_key(&key)) {
            let cluster = cluster.clone();
            state.known.insert(key, Known { content, cluster });
        }
        Ok(cluster)
    }

    /// The current context and every context of the kubeconfig.
    ///
    /// # Errors
    /// The kubeconfig cannot be read.
    pub async fn contexts(&self, kubeconfig: &[String]) -> Result<Contexts, Failure> {
        let merged = Merged::load(kubeconfig, &self.environment()).await?;
        Ok(merged.contexts())
    }

    /// Opens new connections to all clusters from now on.
    pub fn reconnect(&self) {
        for known in self.state.lock().known.values() {
            known.cluster.reconnect();
        }
    }
}

fn content(context: &Context) -> Result<Value, Failure> {
    let parts = (
        &context.namespace,
        &context.user_name,
        &context.cluster,
        &context.user,
    );
    serde_json::to_value(parts).map_err(|error| {
        failure!(
            KubeconfigInvalid,
            "context {:?} is invalid: {error}",
            context.name
        )
    })
}

/// The address of the API server. Without a scheme it is `https://`, as for kubectl once any TLS setting is there.
fn server_url(context: &Context) -> Result<Uri, Failure> {
    let text = context.cluster.server.as_deref().unwrap_or_default().trim();
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let invalid = |why: String| {
        failure!(
            KubeconfigInvalid,
            "invalid server {text:?} of context {:?}: {why}",
            context.name
        )
        .hint("it must be https://host:port")
    };
    let uri: Uri = with_scheme
        .parse()
        .map_err(|error| invalid(format!("{error}")))?;
    if uri.scheme() != Some(&Scheme::HTTPS) && uri.scheme() != Some(&Scheme::HTTP) {
        return Err(invalid("it is neither https:// nor http://".to_owned()));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("it has no host".to_owned()));
    }
    let prefix = uri.path().parse::<PathAndQuery>();
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(prefix.map_err(|error| invalid(format!("{error}")))?);
    Uri::from_parts(parts).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
