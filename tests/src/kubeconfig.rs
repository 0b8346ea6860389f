//! Kubeconfigs for the simulated cluster, with every kind of credential.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pki::ClientCertificate;

/// How a kubeconfig's user proves who they are.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A client certificate inside the kubeconfig.
    Certificate(ClientCertificate),
    /// A bearer token inside the kubeconfig.
    Token(String),
    /// A file with a bearer token.
    TokenFile(PathBuf),
    /// Files with a client certificate and its key.
    CertificateFiles {
        /// PEM file with the certificate.
        certificate: PathBuf,
        /// PEM file with the key.
        key: PathBuf,
    },
    /// A credential plugin.
    Exec {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Extra environment variables.
        env: Vec<(String, String)>,
    },
    /// None: requests are anonymous.
    Anonymous,
}

/// A kubeconfig being put together; from [`Cluster::kubeconfig`](crate::Cluster::kubeconfig).
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    pub(crate) server: String,
    pub(crate) root_pem: String,
    pub(crate) credential: Credential,
    pub(crate) context: String,
    pub(crate) namespace: Option<String>,
    pub(crate) proxy_url: Option<String>,
}

impl Kubeconfig {
    /// The name of the context, and of its cluster and user; `sim` by default.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = name.into();
        self
    }

    /// The context's default namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Replaces the credential.
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    /// Replaces the server's URL, for instance by that of a proxy in front of it.
    #[must_use]
    pub fn server(mut self, url: impl Into<String>) -> Self {
        self.server = url.into();
        self
    }

    /// Sets `proxy-url`.
    #[must_use]
    pub fn proxy_url(mut self, url: impl Into<String>) -> Self {
        self.proxy_url = Some(url.into());
        self
    }

    /// The kubeconfig as YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        yaml_serde::to_string(&self.value()).expect("a tree of strings is representable as YAML")
    }

    /// Writes the kubeconfig, readable only by its owner.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_private(path, self.yaml().as_bytes(), 0o600)
    }

    fn value(&self) -> Value {
        let name = &self.context;
        let mut cluster = json!({
            "server": self.server,
            "certificate-authority-data": STANDARD.encode(&self.root_pem),
        });
        if let Some(proxy) = &self.proxy_url {
            cluster["proxy-url"] = json!(proxy);
        }
        let mut context = json!({"cluster": name, "user": name});
        if let Some(namespace) = &self.namespace {
            context["namespace"] = json!(namespace);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": self.user()}],
            "contexts": [{"name": name, "context": context}],
            "current-context": name,
        })
    }

    fn user(&self) -> Value {
        match &self.credential {
            Credential::Certificate(certificate) => json!({
                "client-certificate-data": STANDARD.encode(&certificate.certificate_pem),
                "client-key-data": STANDARD.encode(&certificate.key_pem),
            }),
            Credential::Token(token) => json!({"token": token}),
            Credential::TokenFile(path) => json!({"tokenFile": path}),
            Credential::CertificateFiles { certificate, key } => {
                json!({"client-certificate": certificate, "client-key": key})
            }
            Credential::Exec { command, args, env } => json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": command,
                "args": args,
                "env": env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
                "interactiveMode": "Never",
                "provideClusterInfo": false,
            }}),
            Credential::Anonymous => json!({}),
        }
    }
}

/// Writes a credential plugin (a shell script) that prints the token, and returns the credential that runs it.
///
/// With `lifetime` the token is announced to expire that long after each run; without, it never does. Each run appends
/// a line with its uid, HOME and PATH to `PATH.log` beside the script.
///
/// # Errors
/// When the script cannot be written.
pub fn write_exec_plugin(
    path: &Path,
    token: &str,
    lifetime: Option<Duration>,
) -> io::Result<Credential> {
    let expiry = lifetime.map_or_else(String::new, |lifetime| {
        let date = format!(
            "$(date -u -d \"+{} seconds\" +%Y-%m-%dT%H:%M:%SZ)",
            lifetime.as_secs()
        );
        format!(",\\\"expirationTimestamp\\\":\\\"{date}\\\"")
    });
    let script = format!(
        "#!/bin/sh\n\
         echo \"uid=$(id -u) HOME=$HOME PATH=$PATH\" >> \"$0.log\" 2>/dev/null\n\
         echo \"{{\\\"apiVersion\\\":\\\"client.authentication.k8s.io/v1\\\",\\\"kind\\\":\\\"ExecCredential\\\",\
         \\\"status\\\":{{\\\"token\\\":\\\"{token}\\\"{expiry}}}}}\"\n"
    );
    write_private(path, script.as_bytes(), 0o755)?;
    Ok(Credential::Exec {
        command: path.display().to_string(),
        args: Vec::new(),
        env: Vec::new(),
    })
}

fn write_private(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    io::Write::write_all(&mut file, content)
}
