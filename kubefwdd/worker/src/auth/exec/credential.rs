//! The input and output of a credential plugin: `ExecCredential`.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>

use std::fmt;

use jiff::Timestamp;
use kube::config::ExecAuthCluster;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const KIND: &str = "ExecCredential";
const QUOTED: usize = 160;

/// What a plugin handed out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) token: Option<String>,
    /// PEM of a client certificate and of its key.
    pub(crate) certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) expires: Option<Timestamp>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why an answer cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CredentialError {
    #[error("it printed nothing")]
    Empty,
    #[error("it printed something other than a credential: {0:?}")]
    Text(String),
    /// The text itself is kept out: it may hold a token.
    #[error("it printed JSON that is not an ExecCredential: {0}")]
    Json(serde_json::Error),
    #[error("it printed a {0}, not an ExecCredential")]
    Kind(String),
    #[error("it uses {found:?}, but the kubeconfig specifies {wanted:?}")]
    Version { found: String, wanted: String },
    #[error("its answer has neither a token nor a client certificate")]
    Nothing,
    #[error("its answer has a client certificate without a key, or a key without a certificate")]
    Half,
    #[error("its answer expires at {0:?}, which is not a valid time")]
    Time(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    kind: String,
    api_version: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// Reads what a plugin printed.
pub(crate) fn parse(output: &[u8], version: &str) -> Result<Credential, CredentialError> {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    if text.is_empty() {
        return Err(CredentialError::Empty);
    }
    if !text.starts_with('{') {
        let line = text.lines().next().unwrap_or_default();
        return Err(CredentialError::Text(line.chars().take(QUOTED).collect()));
    }
    let answer: Answer = serde_json::from_str(text).map_err(CredentialError::Json)?;
    if answer.kind != KIND {
        return Err(CredentialError::Kind(
            answer.kind.chars().take(QUOTED).collect(),
        ));
    }
    if answer.api_version != version {
        return Err(CredentialError::Version {
            found: answer.api_version,
            wanted: version.to_owned(),
        });
    }
    let status = answer.status.ok_or(CredentialError::Nothing)?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let certificate = match (
        filled(status.client_certificate_data),
        filled(status.client_key_data),
    ) {
        (Some(certificate), Some(key)) => Some((certificate.into_bytes(), key.into_bytes())),
        (None, None) => None,
        _ => return Err(CredentialError::Half),
    };
    let token = filled(status.token);
    if token.is_none() && certificate.is_none() {
        return Err(CredentialError::Nothing);
    }
    let expires = filled(status.expiration_timestamp);
    let expires = expires.map(|text| text.parse().map_err(|_| CredentialError::Time(text)));
    Ok(Credential {
        token,
        certificate,
        expires: expires.transpose()?,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    kind: &'static str,
    api_version: &'a str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ExecAuthCluster>,
    interactive: bool,
}

/// The value of `KUBERNETES_EXEC_INFO`.
///
/// # Errors
/// When the cluster's extension holds what JSON cannot express.
pub(crate) fn info(
    version: &str,
    cluster: Option<&ExecAuthCluster>,
) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Info {
        kind: KIND,
        api_version: version,
        spec: Spec {
            cluster,
            interactive: false,
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn parse_text(status: &str) -> Result<Credential, CredentialError> {
        let text =
            format!(r#"{{"kind":"ExecCredential","apiVersion":"{V1}","status":{{{status}}}}}"#);
        parse(text.as_bytes(), V1)
    }

    #[test]
    fn tokens_and_certificates_are_read() {
        let credential =
            parse_text(r#""token":"t","expirationTimestamp":"2026-11-23T10:00:00Z""#).unwrap();
        assert_eq!(credential.token.as_deref(), Some("t"));
        let expires = credential.expires.unwrap().to_string();
        assert_eq!(expires, "2026-11-23T10:00:00Z");
        let credential = parse_text(r#""clientCertificateData":"c","clientKeyData":"k""#).unwrap();
        assert_eq!(credential.certificate, Some((b"c".to_vec(), b"k".to_vec())));
    }

    #[test]
    fn rubbish_is_named_and_secrets_are_not_quoted() {
        let text = |output: &str| parse(output.as_bytes(), V1).unwrap_err().to_string();
        assert!(text(" \n").contains("nothing"));
        assert!(text("Please log in\nat …").contains("Please log in"));
        assert!(!text(r#"{"status":{"token":"s3cret"}"#).contains("s3cret"));
        assert!(text(r#"{"kind":"Pod"}"#).contains("Pod"));
        let other =
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}"#;
        assert!(text(other).contains("v1beta1"));
        assert!(matches!(parse_text(""), Err(CredentialError::Nothing)));
        assert!(matches!(
            parse_text(r#""clientKeyData":"k""#),
            Err(CredentialError::Half)
        ));
        let error = parse_text(r#""token":"t","expirationTimestamp":"soon""#);
        assert!(matches!(error, Err(CredentialError::Time(_))));
    }

    #[test]
    fn a_plugin_is_told_that_nobody_is_at_the_keyboard() {
        let info = info(V1, None).unwrap();
        assert_eq!(
            info,
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#
        );
    }

    proptest! {
        #[test]
        fn arbitrary_output_does_not_upset_the_parser(output in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&output, V1);
        }
    }
}
