//! An API server's address and the credentials to present to it: the seam between credentials and tunnels.
//!
//! Tunnels and the Kubernetes client ask a [`CredentialSource`] for the current [`Credentials`], and tell it when the API
//! server rejected them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Uri};
use kubefwd_model::Failure;

/// One API server, as a kubeconfig context describes it.
pub struct ApiServer {
    /// `https://host:port/prefix`; the prefix is kept in front of every path (Rancher and other gateways use one).
    pub url: Uri,
    /// The name to verify the certificate against, where it differs from the host of `url`.
    pub tls_server_name: Option<String>,
    /// `http://`, `https://` or `socks5://` proxy to connect through, from the kubeconfig or the environment.
    pub proxy: Option<Uri>,
    /// What to present to the server.
    pub credentials: Arc<dyn CredentialSource>,
}

/// Credentials that are valid now.
#[derive(Clone)]
pub struct Credentials {
    /// Grows with every refresh, so that a rejection names the credentials that were rejected.
    pub generation: u64,
    /// `Authorization` and impersonation headers.
    pub headers: HeaderMap,
    /// Trust roots and client certificate, shared by every connection so that TLS sessions resume; its ALPN list is empty.
    /// `None` only for a plain `http://` server.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// A source of [`Credentials`]: inline values, files that are read again, or a credential plugin.
pub trait CredentialSource: Send + Sync + 'static {
    /// The credentials to use now, refreshed when they are about to expire.
    ///
    /// `rejected` is the generation that the API server answered 401 to; the source then fetches new ones (once for
    /// all callers whose credentials of the same generation were rejected).
    ///
    /// # Errors
    /// A [`Failure`] that names the credential, why it is not available and what the user can do.
    fn credentials(&self, rejected: Option<u64>) -> BoxFuture<'_, Result<Credentials, Failure>>;
}
