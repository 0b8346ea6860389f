//! An API server with a container runtime behind it, as little of both as the tests need: the pod's name says how its ports
//! behave.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use kubefwd_model::Failure;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};

use crate::api_server::{ApiServer, CredentialSource, Credentials};
use crate::transport::websocket;
use crate::{Backend, Backends, Settings, Tunnels};

/// What the fake cluster has seen and is told to do.
pub(crate) struct Cluster {
    pub(super) seen: Mutex<Vec<String>>,
    pub(super) upgrades: AtomicUsize,
    /// Lets pods called `hold` answer.
    pub(super) release: Notify,
    /// Ends all upgraded connections.
    pub(super) kill: watch::Sender<usize>,
    refuse: fn(&str) -> Option<&'static str>,
    address: String,
    grants: Arc<AtomicUsize>,
}

impl Cluster {
    /// Starts one; `refuse` may answer a request head with another response.
    pub(crate) async fn start(refuse: fn(&str) -> Option<&'static str>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = Arc::new(Self {
            seen: Mutex::default(),
            upgrades: AtomicUsize::new(0),
            release: Notify::new(),
            kill: watch::channel(0).0,
            refuse,
            address: listener.local_addr().unwrap().to_string(),
            grants: Arc::default(),
        });
        let served = Arc::clone(&cluster);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                tokio::spawn(Arc::clone(&served).serve(tcp));
            }
        });
        cluster
    }

    pub(crate) fn tunnels(&self, change: impl FnOnce(&mut Settings)) -> Arc<Tunnels> {
        let mut settings = Settings::default();
        change(&mut settings);
        let server = ApiServer {
            url: format!("http://{}", self.address).parse().unwrap(),
            tls_server_name: None,
            proxy: None,
            credentials: Arc::new(Grants(Arc::clone(&self.grants))),
        };
        Tunnels::new(Arc::new(server), settings)
    }

    pub(super) fn saw(&self, what: &str) -> usize {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.contains(what))
            .count()
    }

    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }

    async fn serve(self: Arc<Self>, mut tcp: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = tcp.read_u8().await else {
                return;
            };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        self.note(head.lines().next().unwrap().to_owned());
        if let Some(answer) = (self.refuse)(&head) {
            let _ = tcp.write_all(answer.as_bytes()).await;
            return;
        }
        let number = self.upgrades.fetch_add(1, Ordering::SeqCst);
        let pod = head.split('/').nth(6).unwrap().to_owned();
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let answer = match key {
            None => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n".to_owned(),
            Some(key) => {
                let protocol = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: {}\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    protocol.unwrap(),
                    websocket::accept(key)
                )
            }
        };
        tcp.write_all(answer.as_bytes()).await.unwrap();
        let (read, mut write) = tcp.into_split();
        let (out, mut frames) = mpsc::channel::<Vec<u8>>(64);
        let wrapped = key.is_some();
        let single = head.contains("v4.channel.k8s.io");
        let mut kill = self.kill.subscribe();
        let writer = tokio::spawn(async move {
            loop {
                tokio::select! {
                    frame = frames.recv() => {
                        let Some(frame) = frame else { return };
                        let bytes = if wrapped { server_messages(&frame, single) } else { frame };
                        if write.write_all(&bytes).await.is_err() { return }
                    }
                    _ = kill.changed() => return,
                }
            }
        });
        let mut killed = self.kill.subscribe();
        tokio::select! {
            () = async {
                if single {
                    self.channel(Input { read, wrapped, have: Vec::new() }, out).await;
                } else {
                    self.runtime(pod, number, Input { read, wrapped, have: Vec::new() }, out).await;
                }
            } => {}
            _ = killed.changed() => {}
        }
        let _ = writer.await;
    }

    /// Both channels' ports, then an echo.
    async fn channel(&self, mut input: Input<impl AsyncRead + Unpin>, out: mpsc::Sender<Vec<u8>>) {
        out.send(vec![0, 80, 0]).await.unwrap();
        out.send(vec![1, 80, 0]).await.unwrap();
        while let Some(message) = input.message().await {
            if out.send(message).await.is_err() {
                return;
            }
        }
    }

    async fn runtime(
        self: &Arc<Self>,
        pod: String,
        number: usize,
        mut input: Input<impl AsyncRead + Unpin>,
        out: mpsc::Sender<Vec<u8>>,
    ) {
        let mut streams: HashMap<u32, mpsc::Sender<Option<Vec<u8>>>> = HashMap::new();
        let mut pings = 0;
        // One of five workers of the first connection to a `wedged` pod serves nothing.
        let stuck = |id: u32| pod == "wedged" && number == 0 && id % 5 == 3;
        while let Some(header) = input.take(8).await {
            let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
            let Some(payload) = input.take(length).await else {
                return;
            };
            let word = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            if word >> 31 == 0 {
                if stuck(word) {
                    continue;
                }
                let fin = header[4] & 1 == 1;
                if let Some(stream) = streams.get(&word) {
                    if !payload.is_empty() {
                        let _ = stream.send(Some(payload)).await;
                    }
                    if fin {
                        self.note(format!("fin {word}"));
                        let _ = stream.send(None).await;
                    }
                }
                continue;
            }
            let id = payload
                .get(..4)
                .map(|id| u32::from_be_bytes(id.try_into().unwrap()));
            match (word & 0xffff, id) {
                (1, Some(id)) if !stuck(id) => {
                    let text = String::from_utf8_lossy(&payload).into_owned();
                    let reply = [&[0x80, 3, 0, 2, 0, 0, 0, 4], &id.to_be_bytes()[..]].concat();
                    let _ = out.send(reply).await;
                    if text.contains("data") {
                        let (sender, data) = mpsc::channel(1024);
                        streams.insert(id, sender);
                        let cluster = Arc::clone(self);
                        let program = Program {
                            pod: pod.clone(),
                            id,
                            out: out.clone(),
                        };
                        tokio::spawn(program.run(cluster, data));
                    }
                }
                (3, Some(id)) => {
                    self.note(format!("rst {id}"));
                    streams.remove(&id);
                }
                (6, Some(id)) => {
                    pings += 1;
                    if !stuck(pings) {
                        let pong = [&[0x80, 3, 0, 6, 0, 0, 0, 4], &id.to_be_bytes()[..]].concat();
                        let _ = out.send(pong).await;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The program behind a port.
struct Program {
    pod: String,
    id: u32,
    out: mpsc::Sender<Vec<u8>>,
}

impl Program {
    async fn run(self, cluster: Arc<Cluster>, mut data: mpsc::Receiver<Option<Vec<u8>>>) {
        match self.pod.as_str() {
            "refuse" => {
                self.send(self.id, 1, b"").await;
                self.send(
                    self.id - 2,
                    0,
                    b"failed to connect to localhost:80: connection refused",
                )
                .await;
                let reset = [0x80, 3, 0, 3, 0, 0, 0, 8];
                let _ = self
                    .out
                    .send([&reset[..], &(self.id - 2).to_be_bytes(), &[0, 0, 0, 5]].concat())
                    .await;
            }
            "break" => {
                let _ = data.recv().await;
                self.send(self.id, 0, b"half").await;
                self.send(self.id - 2, 0, b"error copying: connection reset by peer")
                    .await;
            }
            "mute" => while data.recv().await.is_some() {},
            "source" => {
                let block: Vec<u8> = (0..32 * 1024u32).map(|i| (i % 251) as u8).collect();
                for _ in 0..128 {
                    self.send(self.id, 0, &block).await;
                }
                self.end().await;
            }
            "hold" => {
                let got = data.recv().await.flatten().unwrap_or_default();
                cluster.note(format!("held {}", String::from_utf8_lossy(&got)));
                cluster.release.notified().await;
                let early = matches!(data.try_recv(), Ok(None));
                cluster.note(format!("answered, client end known: {early}"));
                self.send(self.id, 0, b"answer to ").await;
                self.send(self.id, 0, &got).await;
                self.end().await;
            }
            _ => {
                while let Some(Some(bytes)) = data.recv().await {
                    self.send(self.id, 0, &bytes).await;
                }
                self.end().await;
            }
        }
    }

    async fn end(&self) {
        self.send(self.id, 1, b"").await;
        self.send(self.id - 2, 1, b"").await;
    }

    async fn send(&self, id: u32, flags: u8, bytes: &[u8]) {
        let [_, l0, l1, l2] = (bytes.len() as u32).to_be_bytes();
        let frame = [&id.to_be_bytes()[..], &[flags, l0, l1, l2], bytes].concat();
        let _ = self.out.send(frame).await;
    }
}

/// What the client sends, out of its WebSocket messages where it sends such.
struct Input<R> {
    read: R,
    wrapped: bool,
    have: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Input<R> {
    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.have.len() < count {
            if self.wrapped {
                let message = self.message().await?;
                self.have.extend_from_slice(&message);
            } else if self.read.read_buf(&mut self.have).await.ok()? == 0 {
                return None;
            }
        }
        let rest = self.have.split_off(count);
        Some(std::mem::replace(&mut self.have, rest))
    }

    async fn message(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 2];
        self.read.read_exact(&mut head).await.ok()?;
        assert_eq!(head[1] & 0x80, 0x80, "clients mask");
        let length = match head[1] & 0x7f {
            126 => u64::from(self.read.read_u16().await.ok()?),
            127 => self.read.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut key = [0; 4];
        self.read.read_exact(&mut key).await.ok()?;
        let mut payload = vec![0; length as usize];
        self.read.read_exact(&mut payload).await.ok()?;
        websocket::mask(&mut payload, key);
        (head[0] & 0x0f == 2).then_some(payload)
    }
}

/// The bytes as a server sends them: in fragments, except where a message is a unit.
fn server_messages(bytes: &[u8], unit: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let cut = if unit { bytes.len() } else { bytes.len() / 3 };
    let pieces = [(0x02, &bytes[..cut]), (0x80, &bytes[cut..])];
    for (first, piece) in pieces {
        out.push(first);
        match piece.len() {
            short @ 0..126 => out.push(short as u8),
            long => {
                out.push(127);
                out.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(piece);
    }
    out
}

struct Grants(Arc<AtomicUsize>);

impl CredentialSource for Grants {
    fn credentials(&self, rejected: Option<u64>) -> BoxFuture<'_, Result<Credentials, Failure>> {
        if rejected.is_some() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        let generation = self.0.load(Ordering::SeqCst) as u64;
        let mut headers = HeaderMap::new();
        headers.insert(
            "authorization",
            format!("Bearer {generation}").parse().unwrap(),
        );
        async move {
            Ok(Credentials {
                generation,
                headers,
                tls: None,
            })
        }
        .boxed()
    }
}

/// The ready pods of a service, as a test says.
pub(crate) struct Pods(watch::Sender<Vec<&'static str>>);

impl Pods {
    pub(crate) fn new(pods: &[&'static str]) -> Arc<Self> {
        Arc::new(Self(watch::channel(pods.to_vec()).0))
    }

    pub(crate) fn set(&self, pods: &[&'static str]) {
        self.0.send_replace(pods.to_vec());
    }
}

impl Backends for Pods {
    fn pick(&self, tried: &[String]) -> Option<Backend> {
        let pods = self.0.borrow();
        let pod = pods
            .iter()
            .find(|pod| !tried.iter().any(|tried| tried == *pod))?;
        Some(Backend {
            namespace: "demo".to_owned(),
            pod: (*pod).to_owned(),
            pod_uid: (*pod).to_owned(),
            port: 80,
        })
    }

    fn is_ready(&self, tried: &[String]) -> bool {
        let pods = self.0.borrow();
        pods.iter()
            .any(|pod| !tried.iter().any(|tried| tried == pod))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let mut pods = self.0.subscribe();
        async move {
            let _ = pods.changed().await;
        }
        .boxed()
    }
}
