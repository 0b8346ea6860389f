//! Where an API server is and what to present to it: the seam between credentials and tunnels.
//!
//! [`Access`] is implemented by the credentials of a kubeconfig user; the tunnels and the Kubernetes client only ask it
//! for the current [`Grant`] and tell it when the API server refused one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Uri};
use kubefwd_proto::Failure;

/// The address of one API server, as one kubeconfig context names it.
pub struct Endpoint {
    /// `https://host:port/prefix`; the prefix is kept in front of every path (Rancher and other gateways use one).
    pub server: Uri,
    /// The name to verify the certificate against, where it differs from the host of `server`.
    pub tls_server_name: Option<String>,
    /// `http://`, `https://` or `socks5://` proxy to connect through, from the kubeconfig or the environment.
    pub proxy: Option<Uri>,
    /// What to present to the server.
    pub access: Arc<dyn Access>,
}

/// Credentials that are good now.
#[derive(Clone)]
pub struct Grant {
    /// Grows with every refresh, so that a refusal names the grant that was refused.
    pub generation: u64,
    /// `Authorization` and impersonation headers.
    pub headers: HeaderMap,
    /// Trust roots and client certificate, shared by every connection so that TLS sessions resume; its ALPN list is empty.
    /// `None` only for a plain `http://` server.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// A source of [`Grant`]s: inline values, files that are read again, or a credential plugin.
pub trait Access: Send + Sync + 'static {
    /// The grant to use now, refreshed when it is about to expire.
    ///
    /// `refused` is the generation that the API server answered 401 to; the source then fetches a new one (once for
    /// all callers that were refused with the same generation).
    ///
    /// # Errors
    /// A [`Failure`] that names the credential, why it could not be had and what the user can do.
    fn grant(&self, refused: Option<u64>) -> BoxFuture<'_, Result<Grant, Failure>>;
}
