//! Trust roots, client certificate and token of a kubeconfig, inline or as files. Files are read again, because tokens and
//! certificates are rotated.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster};
use kubefwd_model::{Failure, Reason, failure};
use secrecy::ExposeSecret;

use super::kubeconfig::user_name;

/// Bytes from the kubeconfig itself or from a file that it names.
#[derive(Clone)]
enum Blob {
    Inline(Vec<u8>),
    File(PathBuf),
}

/// Where trust and credentials come from.
#[derive(Clone)]
pub(crate) struct Material {
    authority: Option<Blob>,
    certificate: Option<(Blob, Blob)>,
    token: Option<Blob>,
    /// A token of the kubeconfig, for when the token file cannot be read.
    inline_token: Option<Vec<u8>>,
}

/// The content of all of it at one moment.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Loaded {
    /// PEM of the trust roots; `None` means those of the system.
    pub(crate) authority: Option<Vec<u8>>,
    /// PEM of the client certificate and of its key.
    pub(crate) certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) token: Option<String>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

impl Material {
    /// Reads trust and credentials of a kubeconfig; reads no file yet.
    pub(crate) fn new(cluster: &Cluster, user: &AuthInfo) -> Result<Self, Failure> {
        let authority = blob(
            "certificate-authority-data",
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
        )?;
        let certificate = blob(
            "client-certificate-data",
            user.client_certificate_data.as_deref(),
            user.client_certificate.as_deref(),
        )?;
        let key = blob(
            "client-key-data",
            user.client_key_data
                .as_ref()
                .map(|data| data.expose_secret()),
            user.client_key.as_deref(),
        )?;
        let certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(half("client-certificate", "client-key")),
            (None, Some(_)) => return Err(half("client-key", "client-certificate")),
        };
        let inline_token = user
            .token
            .as_ref()
            .map(|token| token.expose_secret().as_bytes().to_vec())
            .filter(|token| !token.is_empty());
        let file = user.token_file.as_deref().filter(|path| !path.is_empty());
        Ok(Self {
            authority,
            certificate,
            // The file wins over the token, since it is the one that is rotated (client-go's rest.Config does so too).
            token: file
                .map(|path| Blob::File(path.into()))
                .or_else(|| inline_token.clone().map(Blob::Inline)),
            inline_token,
        })
    }

    /// Whether any of it can change.
    pub(crate) fn has_files(&self) -> bool {
        let pair = self
            .certificate
            .iter()
            .flat_map(|(one, other)| [one, other]);
        let mut blobs = pair.chain(&self.authority).chain(&self.token);
        blobs.any(|blob| matches!(blob, Blob::File(_)))
    }

    /// Whether there is a token.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Reads everything; blocks on files.
    pub(crate) fn read(&self) -> Result<Loaded, Failure> {
        let pair = |(certificate, key): &(Blob, Blob)| {
            let certificate = certificate.read("the client certificate")?;
            Ok::<_, Failure>((certificate, key.read("the client key")?))
        };
        let authority = |blob: &Blob| blob.read("the cluster's certificate authority");
        Ok(Loaded {
            authority: self.authority.as_ref().map(authority).transpose()?,
            certificate: self.certificate.as_ref().map(pair).transpose()?,
            token: self.read_token()?,
        })
    }

    fn read_token(&self) -> Result<Option<String>, Failure> {
        let Some(blob) = &self.token else {
            return Ok(None);
        };
        let bytes = match (blob.read("the token file"), &self.inline_token) {
            (Ok(bytes), _) => bytes,
            (Err(_), Some(inline)) => inline.clone(),
            (Err(failure), None) => return Err(failure),
        };
        let token = String::from_utf8(bytes).unwrap_or_default();
        let token = token.trim();
        if token.is_empty() {
            let place = match blob {
                Blob::File(path) => format!("token file {} is empty", path.display()),
                Blob::Inline(_) => "the kubeconfig's token is empty".to_owned(),
            };
            return Err(Failure::new(Reason::CredentialsNeeded, place)
                .hint("log in again to have it rewritten"));
        }
        Ok(Some(token.to_owned()))
    }
}

impl Blob {
    fn read(&self, what: &str) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::File(path) => std::fs::read(path).map_err(|error| {
                failure!(
                    CredentialsNeeded,
                    "cannot read {what} {} as user {}: {error}",
                    path.display(),
                    user_name()
                )
                .hint("the kubeconfig refers to this file; fix the path or its permissions")
            }),
        }
    }
}

/// Data wins over a file (kubeconfig v1 API).
fn blob(field: &str, data: Option<&str>, file: Option<&str>) -> Result<Option<Blob>, Failure> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let compact: String = data.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(compact).map_err(|error| {
            failure!(
                KubeconfigInvalid,
                "{field} in the kubeconfig is not base64: {error}"
            )
            .hint("it must be a base64-encoded PEM file")
        })?;
        return Ok(Some(Blob::Inline(bytes)));
    }
    Ok(file
        .filter(|path| !path.is_empty())
        .map(|path| Blob::File(path.into())))
}

fn half(there: &str, missing: &str) -> Failure {
    failure!(
        KubeconfigInvalid,
        "the kubeconfig user has a {there} but no {missing}"
    )
    .hint(format!("add {missing} or {missing}-data"))
}

#[cfg(test)]
mod tests;
