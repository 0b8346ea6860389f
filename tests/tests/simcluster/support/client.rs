//! A raw client of the API server: TLS, HTTP/1.1 by hand, and whatever follows an upgrade.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use kubefwd_tests::{ClientCertificate, Cluster};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to the API server.
pub(crate) struct Client {
    tls: TlsStream<TcpStream>,
    pub(crate) buffer: BytesMut,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status line without the HTTP version.
    pub(crate) status: String,
    /// Headers with lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Head {
    pub(crate) fn code(&self) -> u16 {
        self.status[..3].parse().unwrap()
    }

    /// Reads a head without its empty line.
    pub(crate) fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let status = lines.next().unwrap();
        let status = status.strip_prefix("HTTP/1.1 ").unwrap().trim().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status, headers }
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            let text = String::from_utf8_lossy(&self.body);
            panic!("no JSON ({error}): {text}")
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn config(cluster: &Cluster, certificate: Option<&ClientCertificate>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(cluster.root_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap(),
            )
            .unwrap(),
    }
}

impl Client {
    /// Connects without a certificate.
    pub(crate) async fn anonymous(cluster: &Cluster) -> Self {
        Self::connect(cluster, None).await
    }

    /// Connects with a certificate of the user.
    pub(crate) async fn of(cluster: &Cluster, user: &str) -> Self {
        let life = std::time::Duration::from_secs(3600);
        let certificate = cluster.client_certificate(user, life).unwrap();
        Self::connect(cluster, Some(&certificate)).await
    }

    pub(crate) async fn admin(cluster: &Cluster) -> Self {
        Self::of(cluster, "admin").await
    }

    pub(crate) async fn connect(
        cluster: &Cluster,
        certificate: Option<&ClientCertificate>,
    ) -> Self {
        let tcp = TcpStream::connect(cluster.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let connector = TlsConnector::from(Arc::new(config(cluster, certificate)));
        let name = ServerName::try_from("localhost").unwrap();
        let tls = connector.connect(name, tcp).await.unwrap();
        Self {
            tls,
            buffer: BytesMut::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).await.unwrap();
        self.tls.flush().await.unwrap();
    }

    /// Reads more into the buffer; false at the end of the connection, however it comes.
    pub(crate) async fn fill(&mut self) -> bool {
        matches!(self.tls.read_buf(&mut self.buffer).await, Ok(n) if n > 0)
    }

    /// Sends a GET and reads the answer.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, "").await
    }

    /// Sends a GET with further header lines (each with its line end) and reads the answer.
    pub(crate) async fn get_with(&mut self, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: sim\r\n{headers}\r\n");
        self.send(request.as_bytes()).await;
        self.answer().await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes()).await;
        self.answer().await
    }

    /// Reads the head of an answer.
    pub(crate) async fn head(&mut self) -> Head {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let text = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                self.buffer.advance(end + 4);
                return Head::parse(&text);
            }
            assert!(self.fill().await, "the connection ended before an answer");
        }
    }

    /// Reads a whole answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let mut body = Vec::new();
        if let Some(length) = head.headers.get("content-length") {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.fill().await, "the body is cut off");
            }
            body.extend_from_slice(&self.buffer.split_to(length));
        } else if head.headers.contains_key("transfer-encoding") {
            while let Some(chunk) = self.chunk().await {
                body.extend_from_slice(&chunk);
            }
        }
        Answer { head, body }
    }

    /// The next chunk of a chunked body; `None` at its end and when the connection ends.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                let digits = std::str::from_utf8(&line[..end]).unwrap();
                break usize::from_str_radix(digits, 16).unwrap();
            }
            if !self.fill().await {
                return None;
            }
        };
        while self.buffer.len() < length + 2 {
            if !self.fill().await {
                return None;
            }
        }
        let chunk = self.buffer.split_to(length).to_vec();
        self.buffer.advance(2);
        (length > 0).then_some(chunk)
    }
}

/// The events of a watch, one JSON value after the other.
pub(crate) struct Watch {
    client: Client,
    text: Vec<u8>,
}

impl Watch {
    /// Begins a watch as admin; the path has its query.
    pub(crate) async fn begin(cluster: &Cluster, path: &str) -> Self {
        Self::begin_with(cluster, path, "").await
    }

    pub(crate) async fn begin_with(cluster: &Cluster, path: &str, headers: &str) -> Self {
        let mut client = Client::admin(cluster).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: sim\r\n{headers}\r\n");
        client.send(request.as_bytes()).await;
        let head = client.head().await;
        assert_eq!(head.code(), 200, "{path}");
        Self {
            client,
            text: Vec::new(),
        }
    }

    /// The next event; `None` when the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = self.client.chunk().await?;
            self.text.extend_from_slice(&chunk);
        }
    }

    /// Type and name of the next event.
    pub(crate) async fn named(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}
