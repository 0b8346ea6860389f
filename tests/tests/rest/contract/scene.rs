//! The scene: services of every kind and in every state, with traffic of known size.

use std::net::TcpListener;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kubefwd_tests::harness::http::{Place, Request};
use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::bind_over;
use kubefwd_tests::harness::{Options, Sandbox, System, eventually};
use kubefwd_tests::{Cluster, Namespace, Rule};
use serde_json::json;

use super::cluster::{demo, other, service};
use crate::support::{World, at_home, each, list, tcp, text};

/// Requests are captured, one address is reserved.
const CONFIG: &str =
    "[http]\ncapture = true\n\n[addresses.reserve]\n\"echo.demo.sim\" = \"127.7.7.7\"\n";
/// Another program's hosts file: `printer` is taken.
const HOSTS: &str = "127.0.0.1 localhost\n10.1.2.3 printer\n";

/// The services of the scene and the status each comes to.
const STATUSES: [(&str, &str); 14] = [
    ("blocked.demo.sim", "error"),
    ("dns.demo.sim", "unsupported"),
    ("echo.demo.sim", "active"),
    ("ext.demo.sim", "unsupported"),
    ("idle.demo.sim", "pending"),
    ("multi.demo.sim", "active"),
    ("nopods.demo.sim", "pending"),
    ("peers.demo.sim", "active"),
    ("printer.demo.sim", "active"),
    ("shut.demo.sim", "active"),
    ("taken.demo.sim", "error"),
    ("web.demo.sim", "active"),
    ("shop-api.other.sim", "active"),
    ("single.other.sim", "active"),
];

/// Those in error, once they were used.
const FAILED: [(&str, &str); 3] = [
    ("blocked.demo.sim", "error"),
    ("shut.demo.sim", "error"),
    ("taken.demo.sim", "error"),
];

/// A daemon that forwards `demo`, part of `other`, and `closed`, which it may not read.
pub(crate) struct Scene {
    world: World,
    /// The caller's kubeconfig, for whoever asks.
    pub(crate) kubeconfig: PathBuf,
    /// Another program, on two ports that services want.
    _taken: [TcpListener; 2],
}

impl Deref for Scene {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Scene {
    /// Waits until what fails has failed again, after it was told to reconnect.
    pub(crate) fn fails_again(&self) {
        reach(&self.world, &FAILED);
    }
}

/// Waits until services have these statuses.
fn reach(world: &World, statuses: &[(&str, &str)]) {
    world.until("services are as expected", "/api/v1/services", |found| {
        statuses.iter().all(|(key, status)| {
            let mut services = list(&found["services"]).iter();
            services.any(|service| service["key"] == *key && service["status"] == *status)
        })
    });
}

pub(crate) async fn start(sandbox: &Sandbox) -> Scene {
    let taken = ["0.0.0.0:7001", "0.0.0.0:7002"].map(|port| TcpListener::bind(port).unwrap());
    let cluster = Cluster::builder()
        .address(([127, 0, 0, 1], 6443).into())
        .namespace(demo())
        .namespace(other())
        .namespace(Namespace::new("closed").service(service("web")))
        .start()
        .await
        .unwrap();
    cluster.deny(Rule::new(["list", "watch"], ["services"]).in_namespace("closed"));
    let kubeconfig = cluster.kubeconfig("admin").unwrap().namespace("demo");
    let system = daemon(sandbox, &kubeconfig.yaml());
    let world = World { cluster, system };
    let kubeconfig = sandbox.path("home/.kube/config");
    forward(&world, &kubeconfig);
    let expected = exchange(&world);
    reconnect(&world);
    settle(&world, expected);
    Scene {
        world,
        kubeconfig,
        _taken: taken,
    }
}

/// A daemon whose hosts file is the sandbox's own place of `/etc/hosts`: what other daemons leave in `/etc` is not seen.
fn daemon(sandbox: &Sandbox, kubeconfig: &str) -> System {
    let hosts = sandbox.path("etc-hosts");
    std::fs::write(&hosts, HOSTS).unwrap();
    // It is written in place then, and stays the file that the resolver reads.
    bind_over(&hosts, &hosts);
    at_home(sandbox, kubeconfig);
    let options = Options {
        hosts_file: Some(hosts),
        config: CONFIG.to_owned(),
        rest: true,
        ..Options::default()
    };
    let system = System::start_with(sandbox, kubeconfig, options);
    eventually("kubefwd.internal has its name", || tcp().connect().ok());
    system
}

/// One step after the other, so that events come in the same order in every run.
fn forward(world: &World, kubeconfig: &Path) {
    let demo = json!({"namespace": "demo"});
    world.post("/api/v1/namespaces", &demo);
    reach(world, &STATUSES[..12]);
    let selected = json!({
        "namespace": "other", "selector": "tier=front", "include": ["shop*"], "exclude": ["*-test"],
    });
    world.post("/api/v1/namespaces", &selected);
    reach(world, &STATUSES[..13]);
    let single = json!({
        "namespace": "other", "serviceName": "single", "ports": ["80:8088"], "localIP": "127.8.8.8",
    });
    world.post("/api/v1/services", &single);
    reach(world, &STATUSES);
    let closed = ["ns", "add", "closed", "--defer"];
    let _said = world.system.ctl_with(kubeconfig, &closed).ok();
    world.until(
        "closed is refused",
        "/api/v1/namespaces/closed.sim",
        |found| found["error"].is_string(),
    );
    let keep = ["reserve", "add", "late.demo.sim", "127.9.9.9"];
    let _said = world.system.ctl(&keep).ok();
}

/// Traffic of known size; returns how many requests were captured.
fn exchange(world: &World) -> u64 {
    for size in [1_000, 234] {
        echo(&mut connect("echo", 7000), &vec![1; size]);
    }
    let web = Place::Tcp("web".to_owned(), 80);
    let asked = [
        Request::new("GET", "/orders?token=secret"),
        Request::new("GET", "/orders"),
        Request::new("POST", "/upload").body("0123456789"),
        Request::new("GET", "/status/404"),
        Request::new("GET", "/status/503"),
    ];
    for (count, request) in (1..).zip(&asked) {
        let _answer = request.send(&web);
        captured(world, count);
    }
    let peer = Place::Tcp("peers-1.peers".to_owned(), 8080);
    let _answer = Request::new("GET", "/who").send(&peer);
    let _refused = Request::new("GET", "/").try_send(&Place::Tcp("shut".to_owned(), 80));
    asked.len() as u64
}

/// Waits until that many requests to `web` are recorded: reports come in their order.
fn captured(world: &World, count: u64) {
    let path = "/api/v1/services/web.demo.sim/http";
    world.until("requests are captured", path, |found| {
        found["summary"]["totalRequests"] == count
    });
}

fn reconnect(world: &World) {
    world.act("/api/v1/services/web.demo.sim/reconnect");
    let path = "/api/v1/services/web.demo.sim/history/reconnections";
    world.until("web has reconnected", path, |all| {
        list(all).iter().any(|one| one["trigger"] == "manual")
    });
}

/// Waits until everything is counted and no connection is left.
fn settle(world: &World, requests: u64) {
    captured(world, requests);
    let peers = "/api/v1/services/peers.demo.sim/http";
    world.until("the peer's request is captured", peers, |found| {
        found["summary"]["totalRequests"] == 1
    });
    reach(world, &FAILED);
    let opened = json!({"echo": 2, "peers": 1, "shut": 1, "web": requests});
    world.until("connections are closed", "/api/v1/forwards", |found| {
        let mut counts = json!({});
        for forward in list(&found["forwards"]) {
            let (name, count) = (text(&forward["serviceName"]), &forward["totalConnections"]);
            if *count != 0 {
                counts[name] = count.clone();
            }
        }
        let mut forwards = list(&found["forwards"]).iter();
        counts == opened && forwards.all(|forward| forward["connections"] == 0)
    });
    let sums = |world: &World| {
        let found = world.get("/api/v1/metrics");
        [
            found["totalBytesIn"].clone(),
            found["totalBytesOut"].clone(),
        ]
    };
    // Bytes are reported once a second.
    let mut before = sums(world);
    eventually("all bytes are counted", || {
        std::thread::sleep(Duration::from_millis(2_500));
        let now = sums(world);
        let done = now == before;
        before = now;
        done.then_some(())
    });
    let keys = world.get("/api/v1/services");
    assert_eq!(
        each(&keys["services"], "key").len(),
        STATUSES.len(),
        "{keys}"
    );
}
