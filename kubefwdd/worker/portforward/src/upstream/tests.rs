//! TLS over an in-memory pipe, against rustls as the server.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsAcceptor;

use super::*;

fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["api.example".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(client), Arc::new(server))
}

fn name(name: &'static str) -> ServerName<'static> {
    ServerName::try_from(name).unwrap()
}

/// The far side sends everything back until it is closed.
async fn echo(server: Arc<ServerConfig>, io: tokio::io::DuplexStream) -> Vec<u8> {
    let mut stream = TlsAcceptor::from(server).accept(io).await.unwrap();
    let alpn = stream
        .get_ref()
        .1
        .alpn_protocol()
        .unwrap_or_default()
        .to_vec();
    let mut buffer = vec![0; 50_000];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return alpn,
            Ok(read) => stream.write_all(&buffer[..read]).await.unwrap(),
        }
        stream.flush().await.unwrap();
    }
}

#[tokio::test]
async fn bytes_come_back_whole_whatever_the_pipe_cuts() {
    let (client, server) = configs();
    // A pipe smaller than a record cuts every record.
    let (ours, theirs) = duplex(5000);
    let far = tokio::spawn(echo(server, theirs));
    let mut upstream = Upstream::tls(Box::new(ours), client, name("api.example"))
        .await
        .unwrap();
    let sent: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
    let mut back = Vec::new();
    for piece in sent.chunks(3000) {
        upstream.write_all(piece).await.unwrap();
        let expected = back.len() + piece.len();
        while back.len() < expected {
            upstream.read(&mut back).await.unwrap();
        }
    }
    assert!(back == sent);
    upstream.close().await;
    assert_eq!(far.await.unwrap(), b"http/1.1");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (client, server) = configs();
    let (ours, theirs) = duplex(50_000);
    let far = tokio::spawn(async move {
        let accepted = TlsAcceptor::from(server).accept(theirs).await;
        accepted.is_err()
    });
    let result = Upstream::tls(Box::new(ours), client, name("other.example")).await;
    let error = result.err().unwrap();
    assert!(
        error.to_string().contains("NotValidForName")
            || error.to_string().contains("not valid for name"),
        "{error}"
    );
    assert!(far.await.unwrap());
}

#[tokio::test]
async fn an_end_in_the_middle_is_an_end() {
    let (client, server) = configs();
    let (ours, theirs) = duplex(50_000);
    let far = tokio::spawn(async move { TlsAcceptor::from(server).accept(theirs).await.map(drop) });
    let mut upstream = Upstream::tls(Box::new(ours), client, name("api.example"))
        .await
        .unwrap();
    far.await.unwrap().unwrap();
    let error = upstream.read(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
