//! TLS towards an API server: rustls with ring, the kubeconfig's trust roots or else those of the system.

use std::sync::Arc;

use kubefwd_model::{Failure, failure};
use kubefwd_portforward::dial::tls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::certificate::{self, Identity};

/// Builds the TLS side of credentials. The ALPN list is empty: the protocol is HTTP/1.1.
///
/// # Errors
/// The trust roots or the client certificate cannot be used.
pub(crate) fn client_config(
    authority: Option<&[u8]>,
    insecure: bool,
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, Failure> {
    let provider = tls::provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failure!(Internal, "cannot set up TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(authority, insecure, provider)?);
    let config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain, identity.key)
            .map_err(|error| {
                failure!(
                    CredentialsNeeded,
                    "invalid client certificate or key: {error}"
                )
                .hint("they must be a pair; download the kubeconfig again")
            })?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn verifier(
    authority: Option<&[u8]>,
    insecure: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    if insecure {
        return Ok(Arc::new(Unverified(
            provider.signature_verification_algorithms,
        )));
    }
    let roots = match authority {
        Some(pem) => Arc::new(roots(pem)?),
        None => tls::system_roots(),
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|_| {
            failure!(ClusterUntrusted, "the kubeconfig has no certificate-authority and this system has no trusted root certificates")
            .hint("install the ca-certificates package, or add certificate-authority to the kubeconfig")
        })?;
    Ok(verifier)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Failure> {
    let unusable = |why: String| {
        failure!(
            KubeconfigInvalid,
            "invalid certificate-authority of the cluster: {why}"
        )
        .hint("it must be PEM with at least one CA certificate; download the kubeconfig again")
    };
    let certificates =
        certificate::certificates(pem).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // A bundle may hold certificates that cannot be roots; one usable certificate is enough.
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(unusable("none of its certificates can be read".to_owned()));
    }
    Ok(roots)
}

/// `insecure-skip-tls-verify: true`: any certificate will do, but the server must hold its key.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use kubefwd_model::Reason;

    use super::*;

    #[test]
    fn an_invalid_authority_is_refused_with_the_reason() {
        let failure = client_config(Some(b"rubbish"), false, None).err().unwrap();
        assert_eq!(failure.reason, Reason::KubeconfigInvalid);
        assert!(failure.message.contains("no certificate"), "{failure}");
    }

    #[test]
    fn a_certificate_with_another_key_is_refused() {
        let pair = || rcgen::generate_simple_self_signed(vec!["user".to_owned()]).unwrap();
        let (one, other) = (pair(), pair());
        let pem = |key: &rcgen::KeyPair| key.serialize_pem();
        let identity =
            |key: String| Identity::from_pem(one.cert.pem().as_bytes(), key.as_bytes()).unwrap();
        assert!(client_config(None, true, Some(identity(pem(&one.signing_key)))).is_ok());
        let failure = client_config(None, true, Some(identity(pem(&other.signing_key))))
            .err()
            .unwrap();
        assert_eq!(failure.reason, Reason::CredentialsNeeded);
    }
}
