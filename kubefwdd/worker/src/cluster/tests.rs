//! Clusters against small servers: TLS with what the kubeconfig says, 401 and what follows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use kubefwd_model::Reason;

use super::*;

const VERSION: &str = r#"{"major":"1","minor":"36","gitVersion":"v1.36.2","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;

/// Answers every request: 200 with the version where the token is good, else 401.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, token: &str, asked: &AtomicUsize) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        request.extend_from_slice(&chunk[..read]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let good = String::from_utf8_lossy(&request).contains(&format!("Bearer {token}\r\n"));
        let (status, body) = if good {
            ("200 OK", VERSION)
        } else {
            ("401 Unauthorized", "{}")
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        request.clear();
    }
}

struct Server {
    address: SocketAddr,
    authority: String,
    asked: Arc<AtomicUsize>,
}

/// A TLS server named `name` that takes `token`.
async fn server(name: &str, token: &'static str) -> Server {
    let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![pair.cert.der().clone()], key)
    .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, counter) = (acceptor.clone(), counter.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, token, &counter).await;
                }
            });
        }
    });
    Server {
        address,
        authority: pair.cert.pem(),
        asked,
    }
}

/// Writes a kubeconfig whose cluster and user have these further lines.
fn kubeconfig(folder: &Path, server: &Server, cluster: &str, user: &str) -> Vec<String> {
    std::fs::write(folder.join("ca.crt"), &server.authority).unwrap();
    let text = format!(
        "current-context: real\ncontexts: [{{name: real, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'https://{}', {cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n",
        server.address
    );
    let path = folder.join("config");
    std::fs::write(&path, text).unwrap();
    vec![path.display().to_string()]
}

async fn ask(clusters: &Clusters, files: &[String]) -> Result<String, Failure> {
    let cluster = clusters.get("", files).await?;
    let version = cluster.client.apiserver_version().await;
    version
        .map(|info| info.git_version)
        .map_err(|error| classify(&error))
}

#[tokio::test]
async fn a_cluster_is_reached_with_its_authority_and_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("127.0.0.1", "good").await;
    let files = kubeconfig(
        folder.path(),
        &server,
        "certificate-authority: ca.crt",
        "token: good",
    );
    let clusters = Clusters::new(Environment::new());
    assert_eq!(ask(&clusters, &files).await.unwrap(), "v1.36.2");

    let cluster = clusters.get("real", &files).await.unwrap();
    assert!(Arc::ptr_eq(
        &cluster,
        &clusters.get("", &files).await.unwrap()
    ));
    assert_eq!(
        cluster.api_server.url.to_string(),
        format!("https://{}/", server.address)
    );
    kubeconfig(
        folder.path(),
        &server,
        "certificate-authority: ca.crt",
        "token: other",
    );
    assert!(!Arc::ptr_eq(
        &cluster,
        &clusters.get("", &files).await.unwrap()
    ));
}

#[tokio::test]
async fn the_same_kubeconfig_is_the_same_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("127.0.0.1", "good").await;
    let user = "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [{name: A, value: b}]}";
    let files = kubeconfig(
        folder.path(),
        &server,
        "insecure-skip-tls-verify: true",
        user,
    );
    let clusters = Clusters::new(Environment::new());
    let first = clusters.get("", &files).await.unwrap();
    for _ in 0..20 {
        assert!(Arc::ptr_eq(
            &first,
            &clusters.get("", &files).await.unwrap()
        ));
    }
    clusters.replace_environment(Environment::from([("A".to_owned(), "b".to_owned())]));
    assert!(!Arc::ptr_eq(
        &first,
        &clusters.get("", &files).await.unwrap()
    ));
}

#[tokio::test]
async fn an_untrusted_server_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let real = server("127.0.0.1", "good").await;
    let other = server("elsewhere", "good").await;
    let clusters = Clusters::new(Environment::new());

    let wrong_authority = Server {
        address: real.address,
        ..server("x", "good").await
    };
    let files = kubeconfig(
        folder.path(),
        &wrong_authority,
        "certificate-authority: ca.crt",
        "token: good",
    );
    let failure = ask(&clusters, &files).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ClusterUntrusted, "{failure}");

    let files = kubeconfig(
        folder.path(),
        &other,
        "certificate-authority: ca.crt",
        "token: good",
    );
    let failure = ask(&clusters, &files).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ClusterUntrusted, "{failure}");
    assert!(failure.message.contains("elsewhere"), "{failure}");
    for lines in [
        "certificate-authority: ca.crt, tls-server-name: elsewhere",
        "insecure-skip-tls-verify: true",
    ] {
        let files = kubeconfig(folder.path(), &other, lines, "token: good");
        assert_eq!(ask(&clusters, &files).await.unwrap(), "v1.36.2", "{lines}");
    }
}

#[tokio::test]
async fn a_refused_plugin_is_asked_again_and_the_request_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("127.0.0.1", "good").await;
    let script = "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"'$(cat token)'\"}}'";
    let text = format!("cd {}\n{script}\n", folder.path().display());
    std::fs::write(folder.path().join("plugin"), text).unwrap();
    std::fs::write(folder.path().join("token"), "stale").unwrap();
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: ['{}'], env: [{{name: PATH, value: '/usr/bin:/bin'}}]}}",
        folder.path().join("plugin").display()
    );
    let files = kubeconfig(
        folder.path(),
        &server,
        "certificate-authority: ca.crt",
        &user,
    );
    let clusters = Clusters::new(Environment::new());
    // Asked again it prints the same: then it is left alone for a while, and the request is not repeated.
    let failure = ask(&clusters, &files).await.unwrap_err();
    assert_eq!(failure.reason, Reason::CredentialsNeeded, "{failure}");
    let text = "refused what the credential plugin printed";
    assert!(failure.message.contains(text), "{failure}");
    assert_eq!(server.asked.load(Ordering::Relaxed), 1);

    std::fs::write(folder.path().join("token"), "good").unwrap();
    let cluster = clusters.get("", &files).await.unwrap();
    cluster.try_credentials_again();
    assert_eq!(ask(&clusters, &files).await.unwrap(), "v1.36.2");
    assert_eq!(server.asked.load(Ordering::Relaxed), 3);
}

/// An HTTP proxy that lets in who gives this password, and the requests that it saw.
async fn proxy(login: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            if !head.contains(login) {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                client.write_all(refusal).await.unwrap();
                continue;
            }
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_cluster_is_reached_through_a_proxy_with_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("127.0.0.1", "good").await;
    // user:p@ss
    let (address, seen) = proxy("Basic dXNlcjpwQHNz").await;
    let ask_with = async |login: &str| {
        let lines = format!("certificate-authority: ca.crt, proxy-url: 'http://{login}@{address}'");
        let files = kubeconfig(folder.path(), &server, &lines, "token: good");
        ask(&Clusters::new(Environment::new()), &files).await
    };
    assert_eq!(ask_with("user:p%40ss").await.unwrap(), "v1.36.2");
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    let failure = ask_with("user:hunter2").await.unwrap_err();
    assert_eq!(failure.reason, Reason::ClusterUnreachable);
    assert!(
        failure.message.contains(&format!("the proxy {address}")),
        "{failure}"
    );
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
}

#[tokio::test]
async fn a_rotated_token_file_is_noticed_by_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("127.0.0.1", "good").await;
    std::fs::write(folder.path().join("token"), "stale").unwrap();
    let files = kubeconfig(
        folder.path(),
        &server,
        "certificate-authority: ca.crt",
        "tokenFile: token",
    );
    let clusters = Clusters::new(Environment::new());
    let cluster = clusters.get("", &files).await.unwrap();
    cluster
        .api_server
        .credentials
        .credentials(None)
        .await
        .unwrap();
    cluster
        .credentials
        .make_older(jiff::SignedDuration::from_secs(30));
    std::fs::write(folder.path().join("token"), "good").unwrap();
    assert_eq!(ask(&clusters, &files).await.unwrap(), "v1.36.2");
    assert_eq!(server.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_refused_connection_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let server = Server {
        address,
        ..server("x", "good").await
    };
    let files = kubeconfig(
        folder.path(),
        &server,
        "insecure-skip-tls-verify: true",
        "token: t",
    );
    let failure = ask(&Clusters::new(Environment::new()), &files)
        .await
        .unwrap_err();
    assert!(
        failure
            .message
            .contains(&format!("nothing is listening on {address}")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_name_without_an_address_is_reported() {
    let context = Context {
        name: "real".to_owned(),
        namespace: "default".to_owned(),
        user_name: String::new(),
        cluster: kube::config::Cluster {
            server: Some("no-such-host.invalid:6443/prefix/?x=1".to_owned()),
            ..Default::default()
        },
        user: Default::default(),
        files: Vec::new(),
    };
    let cluster = Cluster::new(context, &Environment::new()).unwrap();
    let server = cluster.api_server.url.to_string();
    assert_eq!(server, "https://no-such-host.invalid:6443/prefix/");
    let error = cluster.client.apiserver_version().await.unwrap_err();
    let failure = classify(&error);
    assert_eq!(failure.reason, Reason::ClusterUnreachable);
    assert!(
        failure
            .message
            .contains("cannot resolve the API server's name no-such-host.invalid"),
        "{failure}"
    );
}
