//! What the tests begin with, and how they ask.

use std::time::{Duration, Instant};

use kubefwd_tests::harness::http::{Place, Reply, Request};
use kubefwd_tests::harness::sandbox::replace_text;
use kubefwd_tests::harness::{Options, PATIENCE, Sandbox, System, eventually};
use kubefwd_tests::{Behaviour, Cluster, Kubeconfig, Namespace, Service, ServicePort, Workload};
use serde_json::{Value, json};

/// Where the published page says that the interface is.
pub(crate) const HOST: &str = "kubefwd.internal";

/// A cluster, a daemon that serves REST on TCP, and a caller who never used the client: their kubeconfig is where the
/// user database says that their home is.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) system: System,
}

/// Services of every kind:
///
/// | service | port | leads to |
/// |---|---|---|
/// | `web` | 80 | two pods that answer HTTP with their name |
/// | `multi` | 80, 9090 | the same pods, 9090 by a named port |
/// | `echo` | 7000 | one pod that echoes |
/// | `peers` | 8080, headless | the two pods of a stateful set |
/// | `dns` | 53/UDP | nothing: it cannot be forwarded |
pub(crate) fn content(namespace: &str) -> Namespace {
    let http = || ServicePort::tcp(80).name("http").target("http");
    Namespace::new(namespace)
        .workload(
            Workload::deployment("web")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http)
                .listen("metrics", 9091, Behaviour::Http)
                .log_line("web says hello"),
        )
        .workload(Workload::deployment("echo").listen("echo", 7000, Behaviour::Echo))
        .workload(
            Workload::stateful_set("peers")
                .replicas(2)
                .listen("http", 8080, Behaviour::Http),
        )
        .service(Service::new("web").port(http()))
        .service(
            Service::new("multi")
                .selects("app", "web")
                .port(http())
                .port(ServicePort::tcp(9090).name("metrics").target("metrics")),
        )
        .service(Service::new("echo").port(ServicePort::tcp(7000)))
        .service(
            Service::new("peers")
                .headless()
                .port(ServicePort::tcp(8080).name("http").target("http")),
        )
        .service(
            Service::new("dns")
                .selects("app", "web")
                .port(ServicePort::udp(53)),
        )
}

/// The keys of [`content`] in `demo`, in the order of lists.
pub(crate) const KEYS: [&str; 5] = [
    "dns.demo.sim",
    "echo.demo.sim",
    "multi.demo.sim",
    "peers.demo.sim",
    "web.demo.sim",
];

/// The caller's kubeconfig, where their home is.
pub(crate) fn at_home(sandbox: &Sandbox, kubeconfig: &str) {
    let home = sandbox.path("home");
    std::fs::create_dir_all(home.join(".kube")).unwrap();
    std::fs::write(home.join(".kube/config"), kubeconfig).unwrap();
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let root = format!("root:x:0:0::{}:/bin/sh\n", home.display());
    let others = users.lines().filter(|line| !line.starts_with("root:"));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    replace_text(sandbox, "/etc/passwd", &(root + &others));
}

impl World {
    /// [`content`] in `demo` and `other`; nothing is forwarded yet.
    pub(crate) async fn start(sandbox: &Sandbox) -> Self {
        Self::configured(sandbox, "").await
    }

    /// The same with a configuration.
    pub(crate) async fn configured(sandbox: &Sandbox, config: &str) -> Self {
        Self::with(sandbox, config, |kubeconfig| kubeconfig).await
    }

    /// The same with another kubeconfig.
    pub(crate) async fn with(
        sandbox: &Sandbox,
        config: &str,
        kubeconfig: impl FnOnce(Kubeconfig) -> Kubeconfig,
    ) -> Self {
        let cluster = Cluster::builder()
            .namespace(content("demo"))
            .namespace(content("other"))
            .start()
            .await
            .unwrap();
        let yaml = kubeconfig(cluster.kubeconfig("admin").unwrap()).yaml();
        let system = Self::daemon(sandbox, &yaml, config);
        Self { cluster, system }
    }

    /// [`content`] in `demo` and a daemon with these options, of which nothing is waited for: it may not serve TCP.
    pub(crate) async fn bare(sandbox: &Sandbox, options: Options) -> Self {
        let cluster = Cluster::builder().namespace(content("demo")).start().await;
        let cluster = cluster.unwrap();
        let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
        at_home(sandbox, &kubeconfig);
        let options = Options {
            rest: true,
            ..options
        };
        let system = System::start_with(sandbox, &kubeconfig, options);
        Self { cluster, system }
    }

    /// A daemon that serves REST on TCP.
    pub(crate) fn daemon(sandbox: &Sandbox, kubeconfig: &str, config: &str) -> System {
        at_home(sandbox, kubeconfig);
        let options = Options {
            config: config.to_owned(),
            rest: true,
            ..Options::default()
        };
        let system = System::start_with(sandbox, kubeconfig, options);
        eventually("kubefwd.internal has its name", || tcp().connect().ok());
        system
    }

    /// Sends a request over TCP.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        call(&tcp(), method, path, body)
    }

    /// The data of a success.
    pub(crate) fn get(&self, path: &str) -> Value {
        data(&self.call("GET", path, None), 200)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let reply = self.call("POST", path, Some(body));
        let expected = if path.matches('/').count() == 3 {
            201
        } else {
            200
        };
        data(&reply, expected)
    }

    /// A POST without a body.
    pub(crate) fn act(&self, path: &str) -> Value {
        data(&self.call("POST", path, None), 200)
    }

    pub(crate) fn delete(&self, path: &str) -> Value {
        data(&self.call("DELETE", path, None), 200)
    }

    /// Forwards `demo` and waits for all of it.
    pub(crate) fn add(&self) -> Value {
        self.post(
            "/api/v1/namespaces",
            &json!({"namespace": "demo", "wait": true}),
        )
    }

    /// Looks at a route again until its data fits.
    pub(crate) fn until(&self, what: &str, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.get(path);
            if fits(&now) {
                return now;
            }
            assert!(
                Instant::now() < deadline,
                "this never happened: {what}; now {now}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The address of the published page.
pub(crate) fn tcp() -> Place {
    Place::Tcp(HOST.to_owned(), 80)
}

pub(crate) fn call(place: &Place, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let request = Request::new(method, path);
    match body {
        Some(body) => request.json(body),
        None => request,
    }
    .send(place)
}

/// The data of a success in its envelope.
pub(crate) fn data(reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{reply}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let envelope = reply.json();
    assert_eq!(envelope["success"], true, "{reply}");
    assert!(envelope["error"].is_null(), "{reply}");
    is_time(&envelope["meta"]["timestamp"]);
    envelope["data"].clone()
}

/// The error of a refusal in its envelope.
pub(crate) fn refusal(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{reply}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let envelope = reply.json();
    let shape = (&envelope["success"], &envelope["data"]);
    assert_eq!(shape, (&json!(false), &Value::Null), "{reply}");
    is_time(&envelope["meta"]["timestamp"]);
    let error = envelope["error"].clone();
    assert_eq!(error["code"], code, "{reply}");
    assert!(!text(&error["message"]).is_empty(), "{reply}");
    error
}

pub(crate) fn text(value: &Value) -> &str {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("no text: {value}"))
}

pub(crate) fn number(value: &Value) -> u64 {
    let number = value.as_u64();
    number.unwrap_or_else(|| panic!("no number: {value}"))
}

pub(crate) fn list(value: &Value) -> &Vec<Value> {
    let list = value.as_array();
    list.unwrap_or_else(|| panic!("no list: {value}"))
}

/// One text of each item.
pub(crate) fn each<'a>(items: &'a Value, field: &str) -> Vec<&'a str> {
    list(items).iter().map(|item| text(&item[field])).collect()
}

/// One number of each item.
pub(crate) fn numbers(items: &Value, field: &str) -> Vec<u64> {
    list(items)
        .iter()
        .map(|item| number(&item[field]))
        .collect()
}

/// A time as RFC 3339 writes it, in UTC.
pub(crate) fn is_time(value: &Value) {
    let time: Result<jiff::Timestamp, _> = text(value).parse();
    assert!(time.is_ok() && text(value).ends_with('Z'), "{value}");
}

/// Exactly these fields, or an optional one of the second list.
pub(crate) fn has_fields(value: &Value, always: &[&str], maybe: &[&str]) {
    let object = value.as_object();
    let object = object.unwrap_or_else(|| panic!("no object: {value}"));
    for name in always {
        assert!(object.contains_key(*name), "{name} is missing: {value}");
    }
    for name in object.keys() {
        let known = always.contains(&name.as_str()) || maybe.contains(&name.as_str());
        assert!(known, "{name} is not of the contract: {value}");
    }
}

/// Says by name what is skipped and why.
#[expect(clippy::print_stderr, reason = "a skipped test says so by name")]
pub(crate) fn skip(name: &str, why: &str) {
    eprintln!("skipped: {name}: {why}");
}
