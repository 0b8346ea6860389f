//! The cluster that a test forwards from: a simulated one of its own, or namespaces of its own on a real one.
//!
//! A real one is named by `KUBEFWD_TEST_KUBECONFIG` and `KUBEFWD_TEST_CONTEXT`; it is changed by `kubectl`, and what was
//! made there is deleted in the end. Both are described by the same [`Namespace`].

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, PATIENCE, Sandbox, eventually, manifest, sandbox};
use crate::builder::Namespace;
use crate::cluster::Cluster;
use crate::pods::behaviour::Behaviour;
use crate::spec::{Service, ServicePort, Workload};

/// Names the context of that kubeconfig.
pub const REAL_CONTEXT: &str = "KUBEFWD_TEST_CONTEXT";
const IMAGE: &str = "KUBEFWD_TEST_IMAGE";

/// A namespace on a simulated or real cluster. Its context is `sim` in any case.
#[derive(Debug)]
pub struct Target {
    place: Place,
    namespace: String,
}

#[derive(Debug, Clone)]
enum Place {
    Simulated(Arc<Cluster>),
    Real(Arc<Kubectl>),
}

#[derive(Debug)]
struct Kubectl {
    kubeconfig: PathBuf,
    yaml: String,
    image: String,
}

/// Services on pods that answer HTTP with a line `pod: NAME` (and `namespace: NAME`), or echo:
///
/// | service | port | leads to |
/// |---|---|---|
/// | `web` | 80 | two pods |
/// | `multi` | 80, 9090 | the same pods, 9090 by a named port |
/// | `echo` | 7000 | one pod that echoes |
/// | `store` | 8080 | headless, over the two pods of a StatefulSet |
#[must_use]
pub fn content(namespace: &str) -> Namespace {
    Namespace::new(namespace)
        .workload(
            Workload::deployment("web")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http)
                .listen("metrics", 9091, Behaviour::Http),
        )
        .workload(Workload::deployment("echo").listen("echo", 7000, Behaviour::Echo))
        .workload(
            Workload::stateful_set("store")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http),
        )
        .service(Service::new("web").port(http(80)))
        .service(
            Service::new("multi")
                .selects("app", "web")
                .port(http(80))
                .port(ServicePort::tcp(9090).name("metrics").target("metrics")),
        )
        .service(Service::new("echo").port(ServicePort::tcp(7000)))
        .service(Service::new("store").headless().port(http(8080)))
}

/// A service port that leads to the pods' port `http`.
#[must_use]
pub fn http(port: u16) -> ServicePort {
    ServicePort::tcp(port).name("http").target("http")
}

impl Target {
    /// A namespace with this in it. Its name is that of the description on a simulated cluster, and one that nobody else
    /// uses on a real one. Returns when all pods are ready.
    ///
    /// # Panics
    /// When the cluster does not do as it is told.
    pub async fn start(sandbox: &Sandbox, content: Namespace) -> Self {
        if !sandbox::is_real() {
            let namespace = content.name.clone();
            let cluster = Cluster::builder().namespace(content).start().await;
            let cluster = cluster.expect("the simulated cluster starts");
            return Self {
                place: Place::Simulated(Arc::new(cluster)),
                namespace,
            };
        }
        let unique = format!("{}-{:04x}", std::process::id(), rand::random::<u16>());
        let target = Self {
            namespace: format!("kubefwd-test-{unique}"),
            place: Place::Real(Arc::new(Kubectl::new(sandbox))),
        };
        target.create(content);
        target
    }

    /// Another namespace on the same cluster, which does not exist until [`Self::create`].
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self {
            namespace: match &self.place {
                Place::Simulated(_) => name.to_owned(),
                Place::Real(_) => format!("{}-{name}", self.namespace),
            },
            place: self.place.clone(),
        }
    }

    /// The namespace's name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The key of a service: `NAME.NAMESPACE.CONTEXT`.
    #[must_use]
    pub fn key(&self, service: &str) -> String {
        format!("{service}.{}.sim", self.namespace)
    }

    /// A name of a service that has its namespace in it: `NAME.NAMESPACE`.
    #[must_use]
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}", self.namespace)
    }

    /// The kubeconfig for whoever forwards.
    ///
    /// # Panics
    /// When the certificate cannot be made.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        match &self.place {
            Place::Simulated(cluster) => {
                let admin = cluster.kubeconfig("admin");
                admin.expect("a cluster has an admin").yaml()
            }
            Place::Real(kubectl) => kubectl.yaml.clone(),
        }
    }

    /// Creates the namespace with the content of a description, whatever that is called. Returns when all pods are ready.
    ///
    /// # Panics
    /// When the cluster does not do as it is told.
    pub fn create(&self, content: Namespace) {
        match &self.place {
            Place::Simulated(cluster) => cluster.create_namespace(&self.namespace),
            Place::Real(kubectl) => {
                let namespace = manifest::namespace(&self.namespace).to_string();
                let args = ["create", "--validate=ignore", "-f", "-"];
                let _said = kubectl.ok(&args, Some(&namespace));
            }
        }
        for service in content.services {
            self.put_service(service);
        }
        let ready: Vec<(String, usize)> = content
            .workloads
            .into_iter()
            .map(|workload| {
                let wanted = (workload.name.clone(), workload.replicas);
                self.put_workload(workload);
                wanted
            })
            .collect();
        for (name, replicas) in ready {
            self.wait_for_pods(&name, replicas);
        }
    }

    /// Deletes the namespace with all that is in it. Returns when it is gone.
    ///
    /// # Panics
    /// When the cluster does not do as it is told.
    pub fn delete(&self) {
        match &self.place {
            Place::Simulated(cluster) => cluster.delete_namespace(&self.namespace),
            Place::Real(kubectl) => {
                let _said = kubectl.ok(&["delete", "namespace", &self.namespace], None);
            }
        }
    }

    /// Creates or replaces a service.
    ///
    /// # Panics
    /// When the cluster does not do as it is told.
    pub fn put_service(&self, service: Service) {
        match &self.place {
            Place::Simulated(cluster) => cluster.put_service(&self.namespace, service),
            Place::Real(kubectl) => kubectl.apply(&manifest::service(&service, &self.namespace)),
        }
    }

    /// Deletes a service.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn delete_service(&self, name: &str) {
        match &self.place {
            Place::Simulated(cluster) => {
                assert!(cluster.delete_service(&self.namespace, name), "{name}");
            }
            Place::Real(kubectl) => {
                let _said = kubectl.ok(&["-n", &self.namespace, "delete", "service", name], None);
            }
        }
    }

    /// Creates a workload. Returns when its pods are ready.
    ///
    /// # Panics
    /// When the cluster does not do as it is told.
    pub fn create_workload(&self, workload: Workload) {
        let (name, replicas) = (workload.name.clone(), workload.replicas);
        self.put_workload(workload);
        self.wait_for_pods(&name, replicas);
    }

    fn put_workload(&self, workload: Workload) {
        match &self.place {
            Place::Simulated(cluster) => cluster.create_workload(&self.namespace, workload),
            Place::Real(kubectl) => kubectl.apply(&manifest::workload(
                &workload,
                &self.namespace,
                &kubectl.image,
            )),
        }
    }

    /// Brings a StatefulSet to that number of pods. Returns when that is so.
    ///
    /// # Panics
    /// When there is none of this name.
    pub async fn scale(&self, stateful_set: &str, replicas: usize) {
        match &self.place {
            Place::Simulated(cluster) => {
                let found = cluster.scale(&self.namespace, stateful_set, replicas).await;
                assert!(found, "{stateful_set}");
            }
            Place::Real(kubectl) => {
                let replicas = format!("--replicas={replicas}");
                let args = ["-n", &self.namespace, "scale", "statefulset", stateful_set];
                let _said = kubectl.ok(&[&args[..], &[&replicas]].concat(), None);
            }
        }
        self.wait_for_pods(stateful_set, replicas);
    }

    /// Deletes a pod gracefully; its workload makes another.
    ///
    /// # Panics
    /// When there is none of this name.
    pub async fn delete_pod(&self, pod: &str) {
        match &self.place {
            Place::Simulated(cluster) => {
                assert!(cluster.delete_pod(&self.namespace, pod).await, "{pod}");
            }
            Place::Real(kubectl) => {
                let args = ["-n", &self.namespace, "delete", "pod", pod, "--wait=false"];
                let _said = kubectl.ok(&args, None);
            }
        }
    }

    /// Pods of a real cluster take seconds to start, and the simulated ones are ready when they have been created.
    fn wait_for_pods(&self, workload: &str, replicas: usize) {
        let Place::Real(kubectl) = &self.place else {
            return;
        };
        let label = format!("app={workload}");
        let args = ["-n", &self.namespace, "get", "pods", "-o", "json", "-l"];
        eventually(&format!("{workload} has {replicas} ready pods"), || {
            let listed = kubectl.ok(&[&args[..], &[&label]].concat(), None);
            let listed: Value = serde_json::from_str(&listed).ok()?;
            let pods = listed["items"].as_array()?;
            (pods.len() == replicas && pods.iter().all(is_ready)).then_some(())
        });
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Place::Real(kubectl) = &self.place {
            // Nothing more can be done about a namespace that stays; its name says whose it was.
            let args = ["delete", "namespace", &self.namespace];
            let _left = kubectl.run(
                &[&args[..], &["--ignore-not-found", "--wait=false"]].concat(),
                None,
            );
        }
    }
}

impl Kubectl {
    /// Takes the named context out of the named kubeconfig, with certificates inside, and calls it as the simulated one.
    fn new(sandbox: &Sandbox) -> Self {
        let named = std::env::var_os(sandbox::REAL_KUBECONFIG).unwrap_or_default();
        let context = std::env::var(REAL_CONTEXT);
        let context = context.unwrap_or_else(|_| panic!("{REAL_CONTEXT} has to name a context"));
        let output = Command::new("kubectl")
            .args(["config", "view", "--raw", "--flatten", "--minify"])
            .args(["-o", "json", "--context", &context, "--kubeconfig"])
            .arg(&named)
            .output();
        let output = output.unwrap_or_else(|error| panic!("cannot run kubectl: {error}"));
        let view = Answer::new(format!("kubectl config view --context {context}"), &output);
        let mut config = view.json();
        config["contexts"][0]["name"] = json!("sim");
        config["current-context"] = json!("sim");
        let kubeconfig = sandbox.path("kubectl-config");
        // JSON is YAML.
        let yaml = config.to_string();
        fs::write(&kubeconfig, &yaml).expect("the sandbox is writable");
        Self {
            kubeconfig,
            yaml,
            image: std::env::var(IMAGE).unwrap_or_else(|_| "busybox".to_owned()),
        }
    }

    /// Server-side: the cluster itself takes away what an earlier manifest had and this one has not.
    fn apply(&self, object: &Value) {
        let args = ["apply", "--server-side", "--validate=ignore", "-f", "-"];
        let _said = self.ok(&args, Some(&object.to_string()));
    }

    fn ok(&self, args: &[&str], input: Option<&str>) -> String {
        self.run(args, input).ok()
    }

    fn run(&self, args: &[&str], input: Option<&str>) -> Answer {
        use std::io::Write as _;
        let timeout = format!("--request-timeout={}s", PATIENCE.as_secs());
        let mut child = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg(timeout)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run kubectl: {error}"));
        let mut stdin = child.stdin.take().expect("it is a pipe");
        // A kubectl that does not read says why.
        let _unread = stdin.write_all(input.unwrap_or_default().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it is our child");
        Answer::new(format!("kubectl {}", args.join(" ")), &output)
    }
}
