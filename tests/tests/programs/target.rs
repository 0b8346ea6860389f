//! The cluster that a test runs against: a simulated one of its own, or a namespace of its own on a real one.

use std::process::{Command, Stdio};

use kubefwd_tests::{Behaviour, Cluster, Namespace, Service, ServicePort, Workload};
use tokio::runtime::Runtime;

use crate::system::System;
use crate::{Case, Needs, case};

pub(crate) const CASES: &[Case] = &[case(
    "target::what_a_real_cluster_is_given_can_be_read",
    Needs::Simulated,
    readable,
)];

const KUBECONFIG: &str = "KUBEFWD_TEST_KUBECONFIG";
const CONTEXT: &str = "KUBEFWD_TEST_CONTEXT";
const IMAGE: &str = "KUBEFWD_TEST_IMAGE";

/// Whether a real cluster was named.
pub(crate) fn is_real() -> bool {
    std::env::var_os(KUBECONFIG).is_some()
}

/// A simulated cluster with a runtime to run in.
pub(crate) struct Sim {
    pub(crate) cluster: Cluster,
    pub(crate) runtime: Runtime,
}

// === impl Sim ===

impl Sim {
    /// A cluster with these namespaces.
    pub(crate) fn with(namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        let runtime = Runtime::new().unwrap();
        let builder = namespaces
            .into_iter()
            .fold(Cluster::builder(), |b, n| b.namespace(n));
        let cluster = runtime.block_on(builder.start()).unwrap();
        Self { cluster, runtime }
    }

    /// The workloads that every test of the main job uses.
    pub(crate) fn demo() -> Self {
        Self::with([demo()])
    }

    pub(crate) fn kubeconfig(&self) -> String {
        self.cluster.kubeconfig("admin").unwrap().yaml()
    }

    /// A daemon that forwards `demo`.
    pub(crate) fn forwarding(&self) -> System {
        let system = System::start(&self.kubeconfig());
        system.ok(&["ns", "add", "demo", "--wait"]);
        system
    }
}

/// `web` (HTTP, 2 pods), `echo`, and the headless `store` with two pods.
pub(crate) fn demo() -> Namespace {
    Namespace::new("demo")
        .workload(
            Workload::deployment("web")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http),
        )
        .service(Service::new("web").port(ServicePort::tcp(80).target("http")))
        .workload(Workload::deployment("echo").listen("echo", 7000, Behaviour::Echo))
        .service(Service::new("echo").port(ServicePort::tcp(7).target("echo")))
        .workload(
            Workload::stateful_set("store")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http),
        )
        .service(
            Service::new("store")
                .headless()
                .port(ServicePort::tcp(8080).target("http")),
        )
}

/// The same workloads on whatever cluster this run is for.
pub(crate) enum Target {
    Sim(Sim),
    Real {
        kubeconfig: String,
        context: String,
        namespace: String,
    },
}

// === impl Target ===

impl Target {
    pub(crate) fn start() -> Self {
        if !is_real() {
            return Self::Sim(Sim::demo());
        }
        let kubeconfig = std::env::var(KUBECONFIG).unwrap();
        let context = std::env::var(CONTEXT).expect("KUBEFWD_TEST_CONTEXT names the context");
        let namespace = format!("kubefwd-test-{}", std::process::id());
        let target = Self::Real {
            kubeconfig,
            context,
            namespace,
        };
        target.kubectl(&["create", "namespace", target.namespace()], None);
        target.kubectl(&["apply", "-f", "-"], Some(&manifest()));
        for workload in ["deployment/web", "deployment/echo", "statefulset/store"] {
            target.kubectl(&["rollout", "status", workload, "--timeout=180s"], None);
        }
        target
    }

    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Sim(_) => "demo",
            Self::Real { namespace, .. } => namespace,
        }
    }

    pub(crate) fn context(&self) -> &str {
        match self {
            Self::Sim(_) => "sim",
            Self::Real { context, .. } => context,
        }
    }

    pub(crate) fn system(&self) -> System {
        match self {
            Self::Sim(sim) => System::start(&sim.kubeconfig()),
            Self::Real { kubeconfig, .. } => {
                System::start(&std::fs::read_to_string(kubeconfig).unwrap())
            }
        }
    }

    /// Adds the namespace and waits until everything is up.
    pub(crate) fn add(&self, system: &System) {
        system.ok(&[
            "ns",
            "add",
            self.namespace(),
            "--context",
            self.context(),
            "--wait=120s",
        ]);
    }

    /// Deletes a pod; its workload makes another.
    pub(crate) fn delete_pod(&self, pod: &str) {
        match self {
            Self::Sim(sim) => {
                assert!(sim.runtime.block_on(sim.cluster.delete_pod("demo", pod)));
            }
            Self::Real { .. } => {
                self.kubectl(&["delete", "pod", pod, "--wait=false"], None);
            }
        }
    }

    fn kubectl(&self, arguments: &[&str], input: Option<&str>) {
        let Self::Real {
            kubeconfig,
            context,
            namespace,
        } = self
        else {
            return;
        };
        let mut child = Command::new("kubectl")
            .args([
                "--kubeconfig",
                kubeconfig,
                "--context",
                context,
                "-n",
                namespace,
            ])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("kubectl runs");
        let mut stdin = child.stdin.take().unwrap();
        if let Some(input) = input {
            std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
        }
        drop(stdin);
        assert!(child.wait().unwrap().success(), "kubectl {arguments:?}");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::Real { namespace, .. } = self {
            let namespace = namespace.clone();
            self.kubectl(&["delete", "namespace", &namespace, "--wait=false"], None);
        }
    }
}

/// What the simulated workloads do, with nothing but busybox.
fn manifest() -> String {
    let image = std::env::var(IMAGE).unwrap_or_else(|_| "busybox".to_owned());
    let http = "mkdir /www; echo pod: $HOSTNAME > /www/index.html; exec httpd -f -p 8080 -h /www";
    let echo = "exec nc -lk -p 7000 -e cat";
    let workload = |kind: &str, name: &str, replicas: u32, port: u16, script: &str| {
        let service = if kind == "StatefulSet" {
            format!("\n  serviceName: {name}")
        } else {
            String::new()
        };
        format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}{service}\n  \
             selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
             spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - name: main\n        image: {image}\n        \
             command: [sh, -c, \"{script}\"]\n        ports: [{{name: main, containerPort: {port}}}]\n        \
             readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}\n---\n"
        )
    };
    let service = |name: &str, port: u16, extra: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {name}}}\n  \
             ports: [{{port: {port}, targetPort: main}}]\n{extra}---\n"
        )
    };
    [
        workload("Deployment", "web", 2, 8080, http),
        workload("Deployment", "echo", 1, 7000, echo),
        workload("StatefulSet", "store", 2, 8080, http),
        service("web", 80, ""),
        service("echo", 7, ""),
        service("store", 8080, "  clusterIP: None\n"),
    ]
    .concat()
}

fn readable() {
    let text = manifest();
    let objects: Vec<serde_json::Value> = text
        .split("---\n")
        .filter(|object| !object.is_empty())
        .map(|object| serde_yaml_ng::from_str(object).unwrap())
        .collect();
    assert_eq!(objects.len(), 6);
    let container = &objects[0]["spec"]["template"]["spec"]["containers"][0];
    let script = container["command"][2].as_str().unwrap();
    assert!(
        script.contains("pod: $HOSTNAME > /www/index.html"),
        "{script}"
    );
    assert_eq!(objects[5]["spec"]["clusterIP"], "None");
}
