//! Tunnels to a simulated cluster: credentials, a list of ready pods that the test writes, and clients.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use kubefwd_model::Failure;
use kubefwd_portforward::api_server::{ApiServer, CredentialSource, Credentials};
use kubefwd_portforward::{Backend, Backends, Counters, Settings, Tunnels};
use kubefwd_tests::{Behaviour, Cluster, ClusterBuilder, Namespace, Workload};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const ECHO: u16 = 7000;
pub(crate) const SOURCE: u16 = 7001;
pub(crate) const SINK: u16 = 7002;
pub(crate) const NEVER_READS: u16 = 7003;
pub(crate) const RESETS: u16 = 7004;
pub(crate) const BYE: u16 = 7005;
pub(crate) const ENDLESS: u16 = 7006;
pub(crate) const CLOSED: u16 = 7999;
/// What `SOURCE` sends.
pub(crate) const SOURCE_BYTES: u64 = 3 * 1024 * 1024 + 17;

/// A cluster with the pods `one` and `two`.
pub(crate) fn cluster() -> ClusterBuilder {
    Cluster::builder().namespace(
        Namespace::new("demo")
            .workload(pod("one"))
            .workload(pod("two")),
    )
}

pub(crate) fn pod(name: &str) -> Workload {
    Workload::pod(name)
        .listen("echo", ECHO, Behaviour::Echo)
        .listen("source", SOURCE, Behaviour::Source(Some(SOURCE_BYTES)))
        .listen("sink", SINK, Behaviour::Sink)
        .listen("never", NEVER_READS, Behaviour::NeverRead)
        .listen("resets", RESETS, Behaviour::ResetAfter(10))
        .listen("bye", BYE, Behaviour::Bye("bye\n".to_owned()))
        .listen("endless", ENDLESS, Behaviour::Source(None))
}

/// Tokens of the cluster's administrator; a rejected one is replaced.
struct Tokens {
    cluster: Arc<Cluster>,
    tls: Arc<ClientConfig>,
    current: Mutex<(u64, String)>,
}

impl CredentialSource for Tokens {
    fn credentials(&self, rejected: Option<u64>) -> BoxFuture<'_, Result<Credentials, Failure>> {
        async move {
            let mut current = self.current.lock().await;
            if rejected == Some(current.0) {
                let token = self.cluster.token("admin", None).unwrap();
                *current = (current.0 + 1, token);
            }
            let mut headers = HeaderMap::new();
            headers.insert(
                AUTHORIZATION,
                format!("Bearer {}", current.1).parse().unwrap(),
            );
            Ok(Credentials {
                generation: current.0,
                headers,
                tls: Some(Arc::clone(&self.tls)),
            })
        }
        .boxed()
    }
}

/// A simulated cluster and tunnels into it.
pub(crate) struct Site {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) pods: Arc<Pods>,
    pub(crate) token: String,
}

impl Site {
    pub(crate) async fn start(builder: ClusterBuilder, change: impl FnOnce(&mut Settings)) -> Self {
        Self::behind(builder, None, change).await
    }

    /// The same through a proxy.
    pub(crate) async fn behind(
        builder: ClusterBuilder,
        proxy: Option<&str>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let cluster = Arc::new(builder.start().await.unwrap());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(cluster.root_pem().as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let token = cluster.token("admin", None).unwrap();
        let server = ApiServer {
            url: cluster.url().parse().unwrap(),
            tls_server_name: None,
            proxy: proxy.map(|proxy| proxy.parse().unwrap()),
            credentials: Arc::new(Tokens {
                cluster: Arc::clone(&cluster),
                tls: Arc::new(tls),
                current: Mutex::new((1, token.clone())),
            }),
        };
        let mut settings = Settings::default();
        change(&mut settings);
        Self {
            tunnels: Tunnels::new(Arc::new(server), settings),
            cluster,
            pods: Arc::new(Pods(watch::channel(vec!["one".to_owned()]).0)),
            token,
        }
    }

    pub(crate) async fn connect(&self, port: u16) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (local, _) = listener.accept().await.unwrap();
        let tunnels = Arc::clone(&self.tunnels);
        let ports = Ports {
            pods: Arc::clone(&self.pods),
            port,
        };
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        let outcome =
            tokio::spawn(async move { tunnels.forward(local, &ports, &counted, None).await });
        Client {
            tcp,
            counters,
            outcome,
        }
    }

    /// A connection that works now.
    pub(crate) async fn good(&self) -> Client {
        let mut client = self.connect(ECHO).await;
        client.echo(b"are you there?").await;
        client
    }
}

/// The ready pods.
pub(crate) struct Pods(watch::Sender<Vec<String>>);

impl Pods {
    pub(crate) fn set(&self, pods: &[&str]) {
        self.0
            .send_replace(pods.iter().map(|pod| (*pod).to_owned()).collect());
    }
}

struct Ports {
    pods: Arc<Pods>,
    port: u16,
}

impl Backends for Ports {
    fn pick(&self, tried: &[String]) -> Option<Backend> {
        let pods = self.pods.0.borrow();
        let pod = pods.iter().find(|pod| !tried.contains(pod))?;
        Some(Backend {
            namespace: "demo".to_owned(),
            pod: pod.clone(),
            pod_uid: pod.clone(),
            port: self.port,
        })
    }

    fn is_ready(&self, tried: &[String]) -> bool {
        let pods = self.pods.0.borrow();
        pods.iter().any(|pod| !tried.contains(pod))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let mut pods = self.pods.0.subscribe();
        async move {
            let _ = pods.changed().await;
        }
        .boxed()
    }
}

/// A client's end of a forwarded connection.
pub(crate) struct Client {
    pub(crate) tcp: TcpStream,
    pub(crate) counters: Arc<Counters>,
    pub(crate) outcome: JoinHandle<Result<(), Failure>>,
}

impl Client {
    pub(crate) async fn echo(&mut self, bytes: &[u8]) {
        soon(async {
            self.tcp.write_all(bytes).await.unwrap();
            let mut back = vec![0; bytes.len()];
            self.tcp.read_exact(&mut back).await.unwrap();
            assert!(back == bytes, "other bytes came back");
        })
        .await;
    }

    pub(crate) async fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        soon(self.tcp.read_to_end(&mut rest)).await.map(|_| rest)
    }

    pub(crate) async fn failure(self) -> Failure {
        match soon(self.outcome).await.unwrap() {
            Err(failure) => failure,
            Ok(()) => panic!("ended well"),
        }
    }
}

/// No test waits for ever.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work)
        .await
        .expect("not in time")
}

pub(crate) async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
