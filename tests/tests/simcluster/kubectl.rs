//! The real `kubectl` as judge: whatever of it is there (`tools/kubectl.sh`), over both transports.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use kubefwd_tests::{
    Behaviour, Cluster, Credential, Namespace, PatternCheck, Service, ServicePort, Workload, demo,
    pattern, write_exec_plugin,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// The kubectl programs of this machine. In CI there must be one; elsewhere the tests say that they judge nothing.
#[expect(clippy::print_stderr, reason = "a test that judges nothing says so")]
fn programs() -> &'static [PathBuf] {
    static PROGRAMS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/kubectl.sh");
        let output = std::process::Command::new(script).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
        if found.is_empty() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                std::env::var_os("CI").is_none(),
                "no kubectl to judge with: {why}"
            );
            eprintln!("SKIPPED: no kubectl to judge with: {why}");
        }
        found
    })
}

/// A kubectl with a kubeconfig and caches of its own.
struct Kubectl {
    program: PathBuf,
    directory: TempDir,
}

impl Kubectl {
    fn new(program: &std::path::Path, cluster: &Cluster) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let this = Self {
            program: program.to_owned(),
            directory,
        };
        let config = cluster.kubeconfig("admin").unwrap().namespace("demo");
        config.write(&this.kubeconfig()).unwrap();
        this
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.directory.path())
            .args(arguments)
            .kill_on_drop(true);
        command
    }

    /// Runs it; gives whether it succeeded, and both outputs.
    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments).await;
        assert!(success, "{} {arguments:?}: {text}", self.program.display());
        text
    }

    /// Starts a port-forward to a free local port.
    async fn forward(&self, target: &str, port: u16, websocket: bool) -> Forward {
        let remote = format!(":{port}");
        let mut child = self
            .command(&["port-forward", "--address=127.0.0.1", target, &remote])
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = output.next_line().await.unwrap().expect("kubectl forwards");
        // "Forwarding from 127.0.0.1:12345 -> 8080"
        let local = line.split([':', ' ']).nth(3).unwrap().parse().unwrap();
        Forward {
            child,
            _output: output,
            local,
        }
    }
}

/// A running port-forward. Its output stays open: kubectl dies when it cannot write there.
struct Forward {
    child: Child,
    _output: Lines<BufReader<ChildStdout>>,
    local: u16,
}

impl Forward {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.local)).await.unwrap()
    }

    async fn end(mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn each(cluster: &Cluster, mut judge: impl AsyncFnMut(Kubectl)) {
    for program in programs() {
        judge(Kubectl::new(program, cluster)).await;
    }
}

#[tokio::test]
async fn get_prints_tables_json_and_yaml() {
    let cluster = demo::cluster(0).start().await.unwrap();
    each(&cluster, async |kubectl| {
        let table = kubectl.ok(&["get", "pods", "-A"]).await;
        assert!(
            table.lines().next().unwrap().starts_with("NAMESPACE"),
            "{table}"
        );
        assert!(table.contains("CrashLoopBackOff"), "{table}");
        let wide = kubectl.ok(&["get", "svc", "-o", "wide"]).await;
        assert!(wide.contains("80/TCP,9090/TCP"), "{wide}");
        let pods = kubectl
            .ok(&["get", "pods", "-l", "app=store", "-o", "json"])
            .await;
        let pods: Value = serde_json::from_str(&pods).unwrap();
        assert_eq!(pods["items"].as_array().unwrap().len(), 3);
        let yaml = kubectl.ok(&["get", "svc", "store", "-o", "yaml"]).await;
        let service: Value = yaml_serde::from_str(&yaml).unwrap();
        assert_eq!(service["spec"]["clusterIP"], "None");
        let all = kubectl.ok(&["get", "all,endpointslices,ns,nodes"]).await;
        assert!(
            all.contains("service/grafana") && all.contains("node/"),
            "{all}"
        );
        let (found, text) = kubectl.run(&["get", "pod", "nope"]).await;
        assert!(!found);
        assert_eq!(
            text,
            "Error from server (NotFound): pods \"nope\" not found\n"
        );
        let version = kubectl.ok(&["version", "-o", "json"]).await;
        let version: Value = serde_json::from_str(
            &version[version.find('{').unwrap()..=version.rfind('}').unwrap()],
        )
        .unwrap();
        assert_eq!(version["serverVersion"]["minor"], "36");
    })
    .await;
}

#[tokio::test]
async fn get_watch_prints_every_change() {
    let cluster = demo::cluster(0).start().await.unwrap();
    each(&cluster, async |kubectl| {
        cluster.delete_service("demo", "fresh");
        let mut child = kubectl
            .command(&["get", "svc", "-w", "--output-watch-events"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut until = async |start: &str, name: &str| {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.starts_with(start) && line.contains(name) {
                    return;
                }
            }
            panic!("the watch ended before {start} {name}");
        };
        until("ADDED", "web ").await;
        cluster.put_service("demo", Service::new("fresh").port(ServicePort::tcp(1)));
        until("ADDED", "fresh").await;
        cluster.put_service("demo", Service::new("fresh").port(ServicePort::tcp(2)));
        until("MODIFIED", "2/TCP").await;
        cluster.delete_service("demo", "fresh");
        until("DELETED", "fresh").await;
        child.kill().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn logs_with_tail_and_follow() {
    let cluster = demo::cluster(0).start().await.unwrap();
    let pod = cluster.pods("demo", "web")[0].clone();
    each(&cluster, async |kubectl| {
        let log = kubectl.ok(&["logs", &pod, "--tail=1"]).await;
        assert!(log.ends_with('\n') && log.lines().count() == 1, "{log}");
        let mut child = kubectl
            .command(&["logs", "-f", "--tail=0", &pod])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = std::pin::pin!(lines.next_line());
        // The line is written again until the follower is there to see it.
        let line = loop {
            cluster.log("demo", &pod, "followed");
            match tokio::time::timeout(Duration::from_millis(50), &mut next).await {
                Ok(line) => break line.unwrap().unwrap(),
                Err(_) => assert!(child.try_wait().unwrap().is_none(), "kubectl ended"),
            }
        };
        assert_eq!(line, "followed");
        child.kill().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn auth_can_i() {
    let cluster = demo::cluster(0).start().await.unwrap();
    each(&cluster, async |kubectl| {
        let question = ["auth", "can-i", "create", "pods/portforward"];
        assert_eq!(kubectl.ok(&question).await, "yes\n");
        let viewer = cluster
            .kubeconfig("system:serviceaccount:demo:viewer")
            .unwrap();
        viewer
            .namespace("demo")
            .write(&kubectl.kubeconfig())
            .unwrap();
        let (allowed, text) = kubectl.run(&question).await;
        assert!(!allowed && text.starts_with("no\n"), "{text}");
        assert_eq!(
            kubectl.ok(&["auth", "can-i", "list", "pods"]).await,
            "yes\n"
        );
        kubectl.ok(&["auth", "can-i", "--list"]).await;
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_credential() {
    let cluster = demo::cluster(0).start().await.unwrap();
    each(&cluster, async |kubectl| {
        let directory = kubectl.directory.path();
        let token = cluster.token("admin", None).unwrap();
        let file = directory.join("token");
        std::fs::write(&file, &token).unwrap();
        let hour = Some(Duration::from_secs(3600));
        let plugin = write_exec_plugin(&directory.join("plugin"), &token, hour).unwrap();
        for credential in [
            Credential::Token(token),
            Credential::TokenFile(file),
            plugin,
        ] {
            let shown = format!("{credential:?}");
            let config = cluster.kubeconfig_with(credential).namespace("demo");
            config.write(&kubectl.kubeconfig()).unwrap();
            let pods = kubectl.ok(&["get", "pods", "-o", "name"]).await;
            assert!(pods.contains("pod/store-0"), "{shown}: {pods}");
        }
        let ran = std::fs::read_to_string(directory.join("plugin.log")).unwrap();
        assert!(
            ran.contains(&format!("HOME={}", directory.display())),
            "{ran}"
        );
        let anonymous = cluster.kubeconfig_with(Credential::Anonymous);
        anonymous.write(&kubectl.kubeconfig()).unwrap();
        let (success, _) = kubectl.run(&["get", "pods"]).await;
        assert!(!success);
    })
    .await;
}

#[tokio::test]
async fn writes() {
    let cluster = demo::cluster(0).start().await.unwrap();
    each(&cluster, async |kubectl| {
        let manifest = kubectl.directory.path().join("manifest.json");
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made"}});
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "made"},
            "spec": {"selector": {"app": "s"}, "ports": [{"port": 80, "targetPort": "http"}]},
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [namespace, service]});
        std::fs::write(&manifest, list.to_string()).unwrap();
        let manifest = manifest.to_str().unwrap();
        kubectl
            .ok(&["create", "--validate=false", "-f", manifest])
            .await;
        let port = "jsonpath={.spec.ports[0].targetPort}";
        let target = kubectl
            .ok(&["get", "svc", "s", "-n", "made", "-o", port])
            .await;
        assert_eq!(target, "http");
        kubectl.ok(&["delete", "service", "s", "-n", "made"]).await;
        kubectl.ok(&["delete", "namespace", "made"]).await;
        let (found, _) = kubectl.run(&["get", "namespace", "made"]).await;
        assert!(!found);
    })
    .await;
}

async fn forwarding_cluster() -> Cluster {
    let app = Workload::deployment("app")
        .listen("echo", 7000, Behaviour::Echo)
        .listen("source", 7001, Behaviour::Source(Some(20_000_000)))
        .listen("sink", 7002, Behaviour::Sink)
        .listen("http", 8080, Behaviour::Http);
    Cluster::builder()
        .timing(|timing| timing.close_grace = Duration::from_millis(20))
        .namespace(
            Namespace::new("demo").workload(app).service(
                Service::new("app").port(ServicePort::tcp(80).name("http").target("http")),
            ),
        )
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn port_forward_moves_bytes_over_both_transports() {
    let cluster = forwarding_cluster().await;
    let pod = cluster.pods("demo", "app")[0].clone();
    for websocket in [true, false] {
        each(&cluster, async |kubectl| {
            let forward = kubectl
                .forward(&format!("pod/{pod}"), 7001, websocket)
                .await;
            let mut tcp = forward.connect().await;
            let mut check = PatternCheck::default();
            let mut buffer = vec![0; 64 * 1024];
            while check.offset() < 20_000_000 {
                let length = tcp.read(&mut buffer).await.unwrap();
                assert!(length > 0, "ended at {}", check.offset());
                check.check(&buffer[..length]).unwrap();
            }
            forward.end().await;

            let forward = kubectl
                .forward(&format!("pod/{pod}"), 7002, websocket)
                .await;
            let mut tcp = forward.connect().await;
            let length = 20_000_000_u64;
            tcp.write_all(&length.to_be_bytes()).await.unwrap();
            let mut sent = 0;
            while sent < length {
                let chunk = pattern(sent, (length - sent) as usize);
                tcp.write_all(&chunk).await.unwrap();
                sent += chunk.len() as u64;
            }
            let mut verdict = String::new();
            BufReader::new(tcp).read_line(&mut verdict).await.unwrap();
            assert_eq!(verdict, "ok 20000000\n");
            forward.end().await;
        })
        .await;
    }
    let judges = programs().len() as u64;
    let counts = cluster.counts();
    assert_eq!(
        (counts.upgrades_tunnel, counts.upgrades_spdy),
        (2 * judges, 2 * judges)
    );
}

#[tokio::test]
async fn port_forward_to_a_service_by_name_and_many_connections() {
    let cluster = forwarding_cluster().await;
    for websocket in [true, false] {
        each(&cluster, async |kubectl| {
            let forward = kubectl.forward("service/app", 80, websocket).await;
            let request = async |n: usize| {
                let mut tcp = forward.connect().await;
                let text = format!("GET /{n} HTTP/1.0\r\n\r\n");
                tcp.write_all(text.as_bytes()).await.unwrap();
                let mut answer = String::new();
                tcp.read_to_string(&mut answer).await.unwrap();
                assert!(answer.contains(&format!("GET /{n}\n")), "{answer}");
            };
            futures_util::future::join_all((0..20).map(request)).await;
            forward.end().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_newer_kubectl_falls_back_where_there_is_no_tunnel() {
    let cluster = forwarding_cluster().await;
    let pod = cluster.pods("demo", "app")[0].clone();
    cluster.change_flavour(|flavour| flavour.websocket_tunnel = false);
    each(&cluster, async |kubectl| {
        let forward = kubectl.forward(&format!("pod/{pod}"), 7000, true).await;
        let mut tcp = forward.connect().await;
        tcp.write_all(b"echo").await.unwrap();
        let mut answer = [0; 4];
        tcp.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"echo");
        forward.end().await;
    })
    .await;
    assert_eq!(cluster.counts().upgrades_spdy, programs().len() as u64);
}
