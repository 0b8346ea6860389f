//! The one trust policy: the system's roots, for proxies and for clusters without a certificate authority of their own.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};

/// The cryptography of all TLS connections.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(ring::default_provider()))
        .clone()
}

/// The system's trusted roots, read once: on some systems that takes a tenth of a second.
pub fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "cannot read a system root certificate");
            }
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            Arc::new(roots)
        })
        .clone()
}

/// TLS with an `https://` proxy. The cluster's own roots and client certificate are not for proxies.
pub(super) fn proxy_config() -> io::Result<Arc<ClientConfig>> {
    let verifier = WebPkiServerVerifier::builder_with_provider(system_roots(), provider())
        .build()
        .map_err(|_| io::Error::other("this system has no trusted root certificates"))?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
