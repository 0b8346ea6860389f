//! The daemon's end of the channel: starts the real worker, tells it what is wanted, keeps what it says.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kubefwd_proto::channel::{Accepts, Receiver, Sender, channel};
use kubefwd_proto::common::v1::Selection;
use kubefwd_proto::worker::PROTOCOL;
use kubefwd_proto::worker::v1::from_worker::Frame;
use kubefwd_proto::worker::v1::to_worker::Frame as Order;
use kubefwd_proto::worker::v1::{
    Answer, Desired, DesiredContext, DesiredNamespace, DesiredService, ForwardReport, FromWorker,
    Grant, HttpExchange, NamespacePhase, NamespaceReport, ObservedService, Revoke, ServiceRef,
    ServicesReport, ToWorker, Traffic, Tuning, Welcome,
};
use kubefwd_tests::Kubeconfig;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tempfile::TempDir;

pub(crate) const CONTEXT: &str = "sim";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Daemon {
    sender: Sender<ToWorker>,
    receiver: Receiver<FromWorker>,
    /// None once it is somebody else's.
    pub(crate) worker: Option<Child>,
    folder: TempDir,
    desired: BTreeMap<String, DesiredNamespace>,
    listeners: u64,
    pub(crate) known: Known,
}

/// What the worker said, as the daemon would keep it.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) namespaces: BTreeMap<String, NamespaceReport>,
    pub(crate) services: BTreeMap<(String, String), ObservedService>,
    pub(crate) listed: BTreeMap<String, u32>,
    pub(crate) held: HashMap<u64, String>,
    pub(crate) forwards: HashMap<u64, ForwardReport>,
    pub(crate) traffic: HashMap<u64, Traffic>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) logs: Vec<String>,
    pub(crate) requests: Vec<HttpExchange>,
}

/// A listener that the worker accepts from; the daemon keeps its own copy, as the real one does.
pub(crate) struct Granted {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    _kept: TcpListener,
}

impl Daemon {
    /// Starts a worker that reaches a cluster by this kubeconfig.
    pub(crate) async fn start(kubeconfig: &Kubeconfig) -> Self {
        Self::start_with(kubeconfig, Tuning::default()).await
    }

    pub(crate) async fn start_with(kubeconfig: &Kubeconfig, tuning: Tuning) -> Self {
        Self::start_trusting(kubeconfig, tuning, None).await
    }

    /// Starts a worker on a system whose only trusted root is this certificate.
    pub(crate) async fn start_trusting(
        kubeconfig: &Kubeconfig,
        tuning: Tuning,
        root: Option<&str>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = kubeconfig.clone().context(CONTEXT);
        kubeconfig.write(&folder.path().join("config")).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubefwd-worker"));
        command
            .arg("--channel-fd")
            .arg(theirs.as_raw_fd().to_string())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder.path())
            .stdin(Stdio::null());
        if let Some(root) = root {
            let path = folder.path().join("system-roots.pem");
            std::fs::write(&path, root).unwrap();
            command.env("SSL_CERT_FILE", path);
        }
        if let Some(level) = std::env::var_os("KUBEFWD_WORKER_LOG") {
            command.env("KUBEFWD_WORKER_LOG", level);
        }
        if nix::unistd::getuid().is_root() {
            command.arg("--allow-root");
        }
        let worker = command.spawn().unwrap();
        drop(theirs);
        let (sender, receiver) = channel(ours, Accepts::Frames).unwrap();
        let mut daemon = Self {
            sender,
            receiver,
            worker: Some(worker),
            folder,
            desired: BTreeMap::new(),
            listeners: 0,
            known: Known::default(),
        };
        let welcome = Welcome {
            protocol: PROTOCOL,
            tuning: Some(tuning),
        };
        daemon.order(Order::Welcome(welcome)).await;
        let first = daemon.receive().await;
        assert!(
            matches!(&first, Frame::Hello(hello) if hello.protocol == PROTOCOL),
            "{first:?}"
        );
        daemon
    }

    pub(crate) fn kubeconfig(&self) -> Vec<String> {
        vec![self.folder.path().join("config").display().to_string()]
    }

    pub(crate) async fn order(&mut self, order: Order) {
        let frame = ToWorker { frame: Some(order) };
        self.sender.send(&frame, None).await.unwrap();
    }

    /// Wants every service of a namespace.
    pub(crate) async fn want(&mut self, namespace: &str) {
        self.want_some(namespace, Some(Selection::default()), &[])
            .await;
    }

    pub(crate) async fn want_some(
        &mut self,
        namespace: &str,
        selection: Option<Selection>,
        services: &[&str],
    ) {
        let wanted = DesiredNamespace {
            name: namespace.to_owned(),
            selection,
            services: services
                .iter()
                .map(|name| DesiredService {
                    name: (*name).to_owned(),
                    ..DesiredService::default()
                })
                .collect(),
            ..DesiredNamespace::default()
        };
        self.desired.insert(namespace.to_owned(), wanted);
        self.send_desired().await;
    }

    pub(crate) async fn unwant(&mut self, namespace: &str) {
        self.desired.remove(namespace);
        self.send_desired().await;
    }

    async fn send_desired(&mut self) {
        let context = DesiredContext {
            name: CONTEXT.to_owned(),
            kubeconfig: self.kubeconfig(),
            namespaces: self.desired.values().cloned().collect(),
        };
        let desired = Desired {
            contexts: vec![context],
        };
        self.order(Order::Desired(desired)).await;
    }

    /// Opens a listener for a port of a service, or of one of its pods, and waits until the worker holds it.
    pub(crate) async fn grant(
        &mut self,
        namespace: &str,
        service: &str,
        pod: &str,
        port: u16,
    ) -> Granted {
        let granted = self.offer(namespace, service, pod, port).await;
        self.until(|known| known.held.contains_key(&granted.id).then_some(()))
            .await;
        assert_eq!(self.known.held[&granted.id], "");
        granted
    }

    /// As [`Self::grant`], without waiting.
    pub(crate) async fn offer(
        &mut self,
        namespace: &str,
        service: &str,
        pod: &str,
        port: u16,
    ) -> Granted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.listeners += 1;
        let grant = Grant {
            listener: self.listeners,
            service: Some(ServiceRef {
                context: CONTEXT.to_owned(),
                namespace: namespace.to_owned(),
                service: service.to_owned(),
            }),
            pod: pod.to_owned(),
            service_port: port.into(),
        };
        let frame = ToWorker {
            frame: Some(Order::Grant(grant)),
        };
        self.sender
            .send(&frame, Some(listener.as_fd()))
            .await
            .unwrap();
        Granted {
            id: self.listeners,
            address: listener.local_addr().unwrap(),
            _kept: listener,
        }
    }

    pub(crate) async fn revoke(&mut self, granted: &Granted) {
        let listener = granted.id;
        self.order(Order::Revoke(Revoke { listener })).await;
    }

    /// Takes frames until what is known is as wanted.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(&Known) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.known) {
                return found;
            }
            let frame = self.receive().await;
            self.known.take(frame);
        }
    }

    /// Waits until a namespace is watched and everything in it was told.
    pub(crate) async fn watching(&mut self, namespace: &str) {
        self.until(|known| {
            (known.phase(namespace) == Some(NamespacePhase::Watching)
                && known.listed.contains_key(namespace))
            .then_some(())
        })
        .await;
    }

    /// Waits until the worker has closed the channel; takes what it says before.
    pub(crate) async fn ended(&mut self) {
        let end = async {
            while let Ok(Some((frame, _))) = self.receiver.receive().await {
                self.known.take(frame.frame.unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, end).await.unwrap();
    }

    /// What the worker holds in memory, KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident(&self) -> usize {
        let id = self.worker.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The daemon dies; its worker is left.
    pub(crate) fn abandon(mut self) -> Child {
        self.worker.take().unwrap()
    }

    async fn receive(&mut self) -> Frame {
        let received = tokio::time::timeout(PATIENCE, self.receiver.receive()).await;
        let Ok(received) = received else {
            panic!("nothing new from the worker; {}", self.known.summary());
        };
        let (frame, _) = received.unwrap().expect("the worker is there");
        frame.frame.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(worker) = &mut self.worker {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

impl Known {
    pub(crate) fn phase(&self, namespace: &str) -> Option<NamespacePhase> {
        self.namespaces.get(namespace).map(NamespaceReport::phase)
    }

    pub(crate) fn service(&self, namespace: &str, service: &str) -> Option<&ObservedService> {
        self.services
            .get(&(namespace.to_owned(), service.to_owned()))
    }

    pub(crate) fn names(&self, namespace: &str) -> Vec<&str> {
        let services = self.services.keys();
        services
            .filter(|(n, _)| n == namespace)
            .map(|(_, name)| name.as_str())
            .collect()
    }

    fn summary(&self) -> String {
        format!(
            "namespaces {:?}, {} services, forwards {:?}, logs {:?}",
            self.namespaces,
            self.services.len(),
            self.forwards,
            self.logs
        )
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Hello(_) => panic!("a second hello"),
            Frame::Namespace(report) => {
                self.namespaces.insert(report.namespace.clone(), report);
            }
            Frame::Services(report) => self.take_services(report),
            Frame::Held(held) => {
                self.held.insert(held.listener, held.error);
            }
            Frame::Forward(report) => {
                let before = self.forwards.insert(report.listener, report.clone());
                assert_ne!(before.as_ref(), Some(&report), "said twice");
            }
            Frame::Traffic(report) => {
                for traffic in report.traffic {
                    self.traffic.insert(traffic.listener, traffic);
                }
            }
            Frame::Answer(answer) => self.answers.push(answer),
            Frame::Log(log) => self.logs.push(log.message),
            Frame::Http(report) => self.requests.extend(report.exchanges),
            Frame::Reconnected(_) | Frame::Refused(_) => {}
        }
    }

    fn take_services(&mut self, report: ServicesReport) {
        let namespace = report.namespace;
        if report.first {
            self.services.retain(|(n, _), _| *n != namespace);
        }
        for service in report.services {
            let key = (namespace.clone(), service.name.clone());
            self.services.insert(key, service);
        }
        for name in report.removed {
            assert!(self.services.remove(&(namespace.clone(), name)).is_some());
        }
        if report.complete {
            *self.listed.entry(namespace).or_default() += 1;
        }
    }
}
