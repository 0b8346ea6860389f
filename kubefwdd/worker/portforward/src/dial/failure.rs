//! What a failed connection means for the user, and what to do about it.

use std::io;

use kubefwd_model::{Failure, Reason, failure};
use rustls::{AlertDescription, CertificateError};

use super::DialError;

impl DialError {
    /// The failure to show to the user.
    pub fn failure(&self) -> Failure {
        let unreachable = |text| Failure::new(Reason::ClusterUnreachable, text);
        match self {
            Self::Resolve { host, source } => unreachable(format!(
                "cannot resolve the API server's name {host}: {source}"
            ))
            .hint("is a VPN needed, or the name in the kubeconfig wrong?"),
            Self::Connect { target, source } => match source.kind() {
                io::ErrorKind::ConnectionRefused => unreachable(format!(
                    "nothing is listening on {target} (connection refused)"
                ))
                .hint(
                    "is the cluster running, and is its address in the kubeconfig still correct?",
                ),
                _ => unreachable(format!(
                    "the API server {target} cannot be reached: {source}"
                ))
                .hint("is the network up? is a VPN needed?"),
            },
            Self::Proxy {
                proxy,
                target,
                source,
            } => unreachable(format!(
                "the proxy {proxy} does not connect to {target}: {source}"
            ))
            .hint("check proxy-url in the kubeconfig, HTTPS_PROXY and NO_PROXY"),
            Self::Timeout { .. } => unreachable(format!("the API server {self}"))
                .hint("is the network up? is a VPN needed?"),
            Self::Address(_) | Self::ServerName(_) => {
                Failure::new(Reason::KubeconfigInvalid, self.to_string())
                    .hint("correct server, proxy-url or tls-server-name in the kubeconfig")
            }
            Self::Tls { target, source } => match rustls_error(source) {
                Some(error) => tls_failure(target, error),
                None => unreachable(format!("{target} ended the TLS handshake: {source}"))
                    .hint("is it an API server, and not something else on its port?"),
            },
        }
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What a TLS error of a connection to `target` means for the user.
pub fn tls_failure(target: &str, error: &rustls::Error) -> Failure {
    let untrusted = |why: String| {
        failure!(
            ClusterUntrusted,
            "the certificate of {target} is not trusted: {why}"
        )
    };
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                untrusted(format!("it expired ({error})"))
                    .hint("it must be renewed in the cluster; check this machine's clock too")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                untrusted(format!("it is not valid yet ({error})"))
                    .hint("check this machine's clock")
            }
            CertificateError::UnknownIssuer => untrusted(
                "it is not signed by the certificate authority of the kubeconfig".to_owned(),
            )
            .hint("the cluster may have been recreated: fetch the kubeconfig again"),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                untrusted(format!("it is for other names ({error})")).hint(
                    "use one of its names as server in the kubeconfig, or set tls-server-name",
                )
            }
            other => untrusted(other.to_string()).hint("download the kubeconfig again"),
        },
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => failure!(
            CredentialsNeeded,
            "{target} rejected the client certificate: {error}"
        )
        .hint("download the kubeconfig again, or log in again"),
        rustls::Error::InvalidMessage(_) => {
            failure!(ClusterUnreachable, "{target} does not speak TLS")
                .hint("should the kubeconfig's server start with http://, or have another port?")
        }
        other => failure!(ClusterUnreachable, "TLS with {target} failed: {other}"),
    }
}
