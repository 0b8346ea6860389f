//! The cluster's certificate authority: server certificate, client certificates, and the TLS configuration of the API
//! server.
//!
//! Like the real API server, TLS asks for a client certificate but accepts any: whether it is one of ours and still valid
//! is decided per request by the authenticator, so that an expired certificate is answered with 401 and not with a TLS
//! alert.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName as WireName, ServerConfig,
    SignatureScheme, SupportedCipherSuite,
};

use crate::auth::Identity;

/// Why certificates or the TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate could not be generated.
    #[error("cannot generate a certificate for the simulated cluster: {0}")]
    Generate(#[from] rcgen::Error),
    /// rustls refused the certificate or key.
    #[error("cannot set up TLS for the simulated API server: {0}")]
    Tls(#[from] rustls::Error),
}

/// A client certificate with its key, both as PEM.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

struct Issued {
    identity: Identity,
    not_after: SystemTime,
}

/// Issues certificates and remembers whom each one names.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: Mutex<HashMap<Vec<u8>, Issued>>,
}

impl Authority {
    /// A fresh authority with a self-signed root.
    pub(crate) fn new() -> Result<Self, PkiError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name = common_name("simulated-cluster-ca");
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            issued: Mutex::default(),
        })
    }

    /// The root certificate as PEM, for `certificate-authority-data`.
    pub(crate) fn root_pem(&self) -> String {
        self.issuer.pem()
    }

    /// The TLS configuration of the API server for the given address.
    pub(crate) fn server_config(&self, address: IpAddr) -> Result<Arc<ServerConfig>, PkiError> {
        let mut names = vec![
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default.svc".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        if !names.contains(&address.to_string()) {
            names.push(address.to_string());
        }
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name("kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;

        let mut provider = rustls::crypto::ring::default_provider();
        // A real API server is Go's, which takes AES-128 of all that a client offers, in whatever order.
        provider
            .cipher_suites
            .sort_by_key(|suite| !is_aes_128(*suite));
        let provider = Arc::new(provider);
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AskForAnyCertificate { algorithms }))
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        config.ignore_client_order = true;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A client certificate naming the user (CN) and groups (O), valid for `validity` from now. A zero validity
    /// gives one that has already expired.
    pub(crate) fn client(
        &self,
        identity: &Identity,
        validity: Duration,
    ) -> Result<ClientCertificate, PkiError> {
        let now = SystemTime::now();
        let not_after = now + validity;
        let mut params = CertificateParams::default();
        let mut subject = common_name(&identity.user);
        for group in &identity.groups {
            subject.push(DnType::OrganizationName, group.as_str());
        }
        params.distinguished_name = subject;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = (now - Duration::from_secs(3600)).into();
        params.not_after = not_after.into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        self.issued
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(
                certificate.der().to_vec(),
                Issued {
                    identity: identity.clone(),
                    not_after,
                },
            );
        Ok(ClientCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Whom a presented certificate names; `None` when it is not ours or no longer valid.
    pub(crate) fn identify(&self, certificate: &[u8]) -> Option<Identity> {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let found = issued.get(certificate)?;
        (found.not_after > SystemTime::now()).then(|| found.identity.clone())
    }
}

fn is_aes_128(suite: SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Asks for a client certificate and accepts whichever comes, as long as the peer holds its key.
#[derive(Debug)]
struct AskForAnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AskForAnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[WireName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
