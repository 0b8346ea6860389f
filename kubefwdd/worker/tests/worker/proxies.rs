//! Requests and tunnels go through the same proxy, and trust the same certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kubefwd_proto::worker::v1::Tuning;
use kubefwd_tests::demo;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::daemon::Daemon;
use super::forwarding::echo;

/// An `https://` proxy to anywhere.
struct Proxy {
    url: String,
    /// Its certificate, as PEM.
    certificate: String,
    connects: Arc<AtomicUsize>,
}

async fn proxy() -> Proxy {
    let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let connects = Arc::new(AtomicUsize::new(0));
    let counter = connects.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, acceptor.clone(), counter.clone()));
        }
    });
    Proxy {
        url,
        certificate: pair.cert.pem(),
        connects,
    }
}

async fn serve(client: TcpStream, acceptor: TlsAcceptor, connects: Arc<AtomicUsize>) {
    // A client that does not trust the certificate ends the handshake.
    let Ok(mut client) = acceptor.accept(client).await else {
        return;
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").unwrap();
    let target = target.split(' ').next().unwrap().to_owned();
    let mut server = TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    connects.fetch_add(1, Ordering::Relaxed);
    let _ended = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn requests_and_tunnels_trust_a_proxy_whose_root_the_system_trusts() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let proxy = proxy().await;
    let kubeconfig = cluster.kubeconfig("admin").unwrap().proxy_url(&proxy.url);
    let root = Some(proxy.certificate.as_str());
    let mut daemon = Daemon::start_trusting(&kubeconfig, Tuning::default(), root).await;
    daemon.want("demo").await;
    daemon.watching("demo").await;
    let requests = proxy.connects.load(Ordering::Relaxed);
    let db = daemon.grant("demo", "db", "", 5432).await;
    echo(db.address, b"through the proxy").await;
    assert!(requests > 0 && proxy.connects.load(Ordering::Relaxed) > requests);
}

#[tokio::test]
async fn a_proxy_that_the_system_does_not_trust_is_not_used() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let (used, trusted) = (proxy().await, proxy().await);
    let kubeconfig = cluster.kubeconfig("admin").unwrap().proxy_url(&used.url);
    let root = Some(trusted.certificate.as_str());
    let mut daemon = Daemon::start_trusting(&kubeconfig, Tuning::default(), root).await;
    daemon.want("demo").await;
    let message = daemon
        .until(|known| {
            let failure = known.namespaces.get("demo")?.failure.as_ref()?;
            Some(failure.message.clone())
        })
        .await;
    assert!(
        message.contains("proxy") && message.contains("certificate"),
        "{message}"
    );
    assert_eq!(used.connects.load(Ordering::Relaxed), 0);
}
