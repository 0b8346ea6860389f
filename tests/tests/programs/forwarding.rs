//! The main job: services answer by their names and ports, for any program, with every byte right.

use std::io::{Read, Write};

use kubefwd_tests::{Behaviour, Namespace, PatternCheck, Service, ServicePort, Workload};

use crate::net::{connect, echo, fill, get};
use crate::target::{Sim, Target};
use crate::{Case, Needs, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "forwarding::services_answer_by_name_and_leave_no_trace",
        Needs::AnyCluster,
        main_job,
    ),
    case(
        "forwarding::pods_of_a_headless_service_have_names",
        Needs::AnyCluster,
        headless,
    ),
    case(
        "forwarding::many_connections_keep_their_bytes",
        Needs::AnyCluster,
        many_connections,
    ),
    case(
        "forwarding::large_transfers_keep_every_byte",
        Needs::Simulated,
        transfers,
    ),
    case(
        "forwarding::a_server_may_speak_first_and_close",
        Needs::Simulated,
        server_first,
    ),
    case(
        "forwarding::what_cannot_be_forwarded_is_listed_with_the_reason",
        Needs::Simulated,
        unsupported,
    ),
    case(
        "forwarding::services_by_name_ports_and_address",
        Needs::Simulated,
        single_services,
    ),
    case(
        "forwarding::selectors_and_globs_choose",
        Needs::Simulated,
        selection,
    ),
    case(
        "forwarding::a_thousand_services_are_few_writes",
        Needs::Simulated,
        thousand,
    ),
];

fn main_job() {
    let target = Target::start();
    let mut system = target.system();
    let before = system.original_hosts().to_vec();
    target.add(&system);
    let namespace = target.namespace();
    for name in [
        "web",
        &format!("web.{namespace}"),
        &format!("web.{namespace}.svc.cluster.local"),
    ] {
        assert!(get(name, 80, "/").contains("pod: "), "{name}");
    }
    echo("echo", 7, 100_000);
    let listing = system.ok(&["svc", "ls"]);
    assert!(
        listing.contains("web") && listing.contains("active"),
        "{listing}"
    );
    let key = format!("{namespace}.{}", target.context());
    assert_eq!(
        system.ok(&["ns", "rm", namespace]),
        format!("{key} removed\n")
    );
    system.until("names are gone", |system| !system.hosts_have("web"));
    target.add(&system);
    system.stop_daemon();
    assert_eq!(
        system.hosts(),
        before,
        "the hosts file is as it was, byte for byte"
    );
}

fn headless() {
    let target = Target::start();
    let system = target.system();
    target.add(&system);
    for pod in ["store-0", "store-1"] {
        let name = format!("{pod}.store.{}.svc", target.namespace());
        assert!(
            get(&name, 8080, "/").contains(&format!("pod: {pod}")),
            "{name}"
        );
    }
    assert!(get("store", 8080, "/").contains("pod: store-"));
}

fn many_connections() {
    let target = Target::start();
    let system = target.system();
    target.add(&system);
    std::thread::scope(|scope| {
        for n in 0..32_usize {
            scope.spawn(move || {
                for round in 0..4 {
                    echo("echo", 7, 1 + n * 997 + round * 40_009);
                }
            });
        }
    });
    // Counters follow once a second.
    system.until("connections are counted", |system| {
        let forwards = system
            .service("echo")
            .map(|echo| echo["forwards"].clone())
            .unwrap_or_default();
        forwards[0]["totalConnections"].as_u64() >= Some(128)
    });
}

fn transfers() {
    const LENGTH: usize = 32 * 1024 * 1024;
    let namespace = Namespace::new("demo")
        .workload(
            Workload::deployment("bulk")
                .listen("source", 1, Behaviour::Source(Some(LENGTH as u64)))
                .listen("sink", 2, Behaviour::Sink),
        )
        .service(
            Service::new("bulk")
                .port(ServicePort::tcp(1).name("source"))
                .port(ServicePort::tcp(2).name("sink")),
        );
    let sim = Sim::with([namespace]);
    let _system = sim.forwarding();
    let mut check = PatternCheck::default();
    let mut source = connect("bulk", 1);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let bytes = source.read(&mut buffer).unwrap();
        if bytes == 0 {
            break;
        }
        check.check(&buffer[..bytes]).unwrap();
    }
    assert_eq!(check.offset(), LENGTH as u64);

    let mut sink = connect("bulk", 2);
    let mut bytes = vec![0; LENGTH];
    fill(&mut bytes);
    sink.write_all(&(LENGTH as u64).to_be_bytes()).unwrap();
    sink.write_all(&bytes).unwrap();
    let mut verdict = [0; 3];
    sink.read_exact(&mut verdict).unwrap();
    assert_eq!(&verdict, b"ok ", "the pod found every byte right");
}

fn server_first() {
    let namespace = Namespace::new("demo")
        .workload(Workload::deployment("hello").listen(
            "hi",
            25,
            Behaviour::Bye("220 ready\r\n".into()),
        ))
        .service(Service::new("hello").port(ServicePort::tcp(25)));
    let sim = Sim::with([namespace]);
    let _system = sim.forwarding();
    let mut text = String::new();
    connect("hello", 25).read_to_string(&mut text).unwrap();
    assert_eq!(text, "220 ready\r\n");
}

fn unsupported() {
    let namespace = demo_and(|n| {
        n.service(Service::new("alias").external_name("db.example.org"))
            .service(
                Service::new("legacy")
                    .port(ServicePort::tcp(80))
                    .without_selector([]),
            )
            .workload(Workload::deployment("dns").udp("dns", 53))
            .service(Service::new("dns").port(ServicePort::udp(53)))
    });
    let sim = Sim::with([namespace]);
    let system = sim.forwarding();
    for (name, why) in [
        ("alias", "ExternalName"),
        ("legacy", "no selector"),
        ("dns", "UDP"),
    ] {
        let service = system.service(name).unwrap();
        assert_eq!(service["status"], "unsupported", "{service}");
        assert!(
            service["statusReason"].as_str().unwrap().contains(why),
            "{service}"
        );
    }
}

fn single_services() {
    let sim = Sim::demo();
    let system = crate::system::System::start(&sim.kubeconfig());
    system.ok(&[
        "svc",
        "add",
        "demo/web",
        "--local-ip",
        "127.9.8.7",
        "--port-map",
        "80:8888",
        "--wait",
    ]);
    assert_eq!(system.service("web").unwrap()["localIP"], "127.9.8.7");
    assert!(get("web", 8888, "/").contains("pod: web-"));
    assert!(system.service("echo").is_none(), "only what was asked for");
    system.fails(
        &["svc", "add", "demo/web"],
        1,
        &["is forwarded already", "remove it first"],
    );
    assert_eq!(system.ok(&["svc", "rm", "web"]), "web.demo.sim removed\n");
    system.until("the service is gone", |system| !system.hosts_have("web"));
}

fn selection() {
    let namespace = demo_and(|n| {
        n.service(
            Service::new("web-canary")
                .label("track", "canary")
                .selects("app", "web")
                .port(ServicePort::tcp(80).target("http")),
        )
    });
    let sim = Sim::with([namespace]);
    let system = crate::system::System::start(&sim.kubeconfig());
    let names = |system: &crate::system::System| {
        let mut names: Vec<String> = system
            .ok(&["svc", "ls", "-o", "name"])
            .lines()
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    system.ok(&[
        "ns",
        "add",
        "demo",
        "--include",
        "web*",
        "--exclude",
        "*-canary",
        "--wait",
    ]);
    assert_eq!(names(&system), ["web.demo.sim"]);
    system.ok(&["ns", "rm", "demo"]);
    system.ok(&["ns", "add", "demo", "-l", "track=canary", "--wait"]);
    assert_eq!(names(&system), ["web-canary.demo.sim"]);
}

fn thousand() {
    let sim = Sim::with([Namespace::new("demo").generate_services(1000)]);
    let system = sim.forwarding();
    let status: serde_json::Value =
        serde_json::from_str(&system.ok(&["status", "-o", "json"])).unwrap();
    let text = status.to_string();
    let hosts = find(&status, "writes").unwrap_or_else(|| panic!("no writes in {text}"));
    assert!(hosts <= 10, "{hosts} writes");
    let listing = system.ok(&["svc", "ls", "-o", "name"]);
    assert_eq!(listing.lines().count(), 1000);
    let hosts = system.hosts();
    let lines = String::from_utf8(hosts)
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("127.1"))
        .count();
    assert!(lines >= 1000, "{lines} lines");
}

/// A number by its key, wherever it stands.
fn find(value: &serde_json::Value, key: &str) -> Option<u64> {
    match value {
        serde_json::Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if name == key {
                value.as_u64()
            } else {
                find(value, key)
            }
        }),
        _ => None,
    }
}

fn demo_and(more: impl FnOnce(Namespace) -> Namespace) -> Namespace {
    more(crate::target::demo())
}
